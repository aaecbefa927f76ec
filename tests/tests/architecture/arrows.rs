//! Who may import whom among our own crates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{cargo, none, root, text_of};

/// A crate, and which of ours it may import. What stands further down may import from further up:
/// `wire ← envelope`, `wire ← custody ← backends`, all of these `← server`, `{wire, envelope} ← image ←
/// registry ← client`. So a parser cannot reach a token, a backend cannot reach the policy, and the client cannot
/// reach either.
const ARROWS: [(&str, &[&str]); 13] = [
    ("holdfast-wire", &[]),
    ("holdfast-envelope", &["holdfast-wire"]),
    ("holdfast-custody", &["holdfast-wire"]),
    ("holdfast-pkcs11", &["holdfast-wire", "holdfast-custody"]),
    ("holdfast-tpm", &["holdfast-wire", "holdfast-custody"]),
    ("holdfast-kmip", &["holdfast-wire", "holdfast-custody"]),
    (
        "holdfastd",
        &[
            "holdfast-wire",
            "holdfast-envelope",
            "holdfast-custody",
            "holdfast-pkcs11",
            "holdfast-tpm",
            "holdfast-kmip",
        ],
    ),
    ("holdfast-image", &["holdfast-wire", "holdfast-envelope"]),
    ("holdfast-registry", &["holdfast-image"]),
    ("holdfast", &["holdfast-wire", "holdfast-envelope", "holdfast-image", "holdfast-registry"]),
    ("hsm-sim", &[]),
    ("hsm-sim-faulty-module", &[]),
    ("holdfast-e2e", &["holdfast-wire", "holdfast-envelope", "hsm-sim"]),
];

/// What only a crate's tests may import besides, and why.
const IN_TESTS: [(&str, &str, &str); 11] = [
    ("holdfast-custody", "holdfast-custody", "itself, with the fake and the contract suite"),
    ("holdfast-pkcs11", "holdfast-envelope", "opens real packets with a real token"),
    ("holdfast-pkcs11", "hsm-sim", "its token is SoftHSM2"),
    ("holdfast-pkcs11", "hsm-sim-faulty-module", "what its token does on a bad day"),
    ("holdfast-tpm", "holdfast-custody", "the contract suite"),
    ("holdfast-tpm", "hsm-sim", "its TPM is swtpm"),
    ("holdfast-kmip", "holdfast-custody", "the contract suite"),
    ("holdfast-kmip", "hsm-sim", "its server is PyKMIP"),
    ("holdfast-e2e", "hsm-sim-faulty-module", "likewise, to a whole daemon"),
    ("hsm-sim", "hsm-sim-faulty-module", "the tests of what it hands out"),
    ("holdfast-e2e", "holdfast-fuzz", "replays the fuzzer's corpora"),
];

/// A dependency of one of our crates on another.
struct Arrow {
    from: String,
    to: String,
    for_tests: bool,
}

#[test]
fn every_crate_imports_only_what_its_place_allows() {
    let wrong = arrows().into_iter().filter(|arrow| !allowed(arrow)).map(|Arrow { from, to, for_tests }| {
        let kind = if for_tests { "dev-dependency" } else { "dependency" };
        format!("{from} has the {kind} {to}, which its place forbids: move the code, or argue for the arrow in tests/tests/architecture/arrows.rs")
    });
    none(&wrong.collect::<Vec<_>>());
}

#[test]
fn every_exception_for_tests_is_needed() {
    let arrows = arrows();
    let needed = |from: &str, to: &str| {
        arrows.iter().any(|arrow| arrow.for_tests && arrow.from == from && arrow.to == to)
    };
    let idle = IN_TESTS.into_iter().filter(|(from, to, _)| !needed(from, to));
    none(
        &idle
            .map(|(from, to, _)| {
                format!("{from} no longer imports {to} in its tests: take it out of IN_TESTS")
            })
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_crate_has_its_place() {
    let placed: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found: BTreeSet<String> = packages().iter().map(|package| text(package, "name")).collect();
    assert_eq!(found, placed, "give a new crate its place in ARROWS, and take out one that is gone");
}

/// Crates that may have unsafe code, and why: there each piece of it has a reason of its own (`deny`, lifted
/// file by file) and says why it is sound.
const UNSAFE: [(&str, &str); 1] =
    [("hsm-sim-faulty-module", "it is a PKCS#11 module, which is a C ABI, and stands before another")];

#[test]
fn every_crate_forbids_unsafe_code() {
    let lints = text_of("Cargo.toml".as_ref());
    assert!(
        lints.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"),
        "the root Cargo.toml must begin [workspace.lints.rust] with: unsafe_code = \"forbid\""
    );
    let mut faults = Vec::new();
    for package in packages() {
        let manifest = text(&package, "manifest_path");
        let lints = text_of(manifest.as_ref());
        let forbids = lints.contains("\n[lints]\nworkspace = true\n");
        let denies = lints.contains("\n[lints.rust]\nunsafe_code = \"deny\"\n")
            && lints.contains("\nundocumented_unsafe_blocks = \"warn\"\n");
        match (forbids, UNSAFE.iter().any(|(name, _)| *name == text(&package, "name"))) {
            (true, true) => faults.push(format!("{manifest}: it forbids unsafe code: take it out of UNSAFE")),
            (false, true) if !denies => faults.push(format!(
                "{manifest}: begin [lints.rust] with unsafe_code = \"deny\", and have clippy's undocumented_unsafe_blocks"
            )),
            (false, false) => faults.push(format!("{manifest}: add [lints] workspace = true")),
            _ => {}
        }
    }
    none(&faults);
}

fn allowed(arrow: &Arrow) -> bool {
    let in_place = ARROWS.iter().any(|(from, to)| arrow.from == *from && to.contains(&arrow.to.as_str()));
    let in_tests = || IN_TESTS.iter().any(|(from, to, _)| arrow.from == *from && arrow.to == *to);
    in_place || (arrow.for_tests && in_tests())
}

/// All dependencies by path, whatever their kind, platform or feature: cargo resolves nothing here, so that
/// an optional one counts too.
fn arrows() -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for package in packages() {
        for dependency in list(&package, "dependencies").iter().filter(|one| one["path"].is_string()) {
            arrows.push(Arrow {
                from: text(&package, "name"),
                to: text(dependency, "name"),
                for_tests: dependency["kind"] == "dev",
            });
        }
    }
    assert!(arrows.len() > ARROWS.len(), "cargo metadata told of {} arrows only", arrows.len());
    arrows
}

fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    assert_eq!(metadata["workspace_root"].as_str(), root().to_str());
    list(&metadata, "packages")
}

fn list(value: &Value, name: &str) -> Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("cargo metadata without {name}")).clone()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("cargo metadata without {name}")).to_owned()
}
