//! What the released binaries are linked from.

use std::collections::BTreeSet;

use super::{cargo, none};

/// The binaries that are installed.
const RELEASED: [&str; 2] = ["holdfastd", "holdfast"];

/// Features of ours that are for tests: a custodian in memory gives its keys to whoever asks.
const TEST_FEATURES: [&str; 2] = ["fake", "contract"];

/// Crates that only tests may link.
const TEST_CRATES: [&str; 7] = [
    "hsm-sim",
    "hsm-sim-faulty-module",
    "holdfast-e2e",
    "holdfast-fuzz",
    "josekit",
    "libtest-mimic",
    "openssl",
];

/// A crate as a binary links it.
struct Linked {
    name: String,
    features: Vec<String>,
}

#[test]
fn no_released_binary_holds_a_fake_token() {
    for binary in RELEASED {
        let ours = linked(binary).into_iter().filter(|one| one.name.starts_with("holdfast"));
        let fakes =
            ours.filter(|one| one.features.iter().any(|feature| TEST_FEATURES.contains(&feature.as_str())));
        let faults = fakes.map(|one| {
            format!(
                "{binary} links {} with {}: enable it under [dev-dependencies] only",
                one.name,
                one.features.join(" and ")
            )
        });
        none(&faults.collect::<Vec<_>>());
    }
}

#[test]
fn no_released_binary_links_what_only_tests_need() {
    for binary in RELEASED {
        let wrong = linked(binary).into_iter().filter(|one| TEST_CRATES.contains(&one.name.as_str()));
        none(
            &wrong
                .map(|one| format!("{binary} links {}: it belongs under [dev-dependencies]", one.name))
                .collect::<Vec<_>>(),
        );
    }
}

#[test]
fn only_the_daemon_can_reach_a_token() {
    let backends =
        ["holdfast-custody", "holdfast-pkcs11", "cryptoki", "holdfast-tpm", "tss-esapi", "holdfast-kmip"];
    let wrong = linked("holdfast").into_iter().filter(|one| backends.contains(&one.name.as_str()));
    none(
        &wrong
            .map(|one| format!("the client links {}: it asks the daemon instead", one.name))
            .collect::<Vec<_>>(),
    );
}

/// All crates that `cargo build -p BINARY` links on this platform, build scripts and tests left out. cargo
/// tree resolves features as that build does; `cargo metadata` would unite them with those of the tests.
fn linked(binary: &str) -> Vec<Linked> {
    let tree = cargo(&[
        "tree",
        "--offline",
        "-p",
        binary,
        "-e",
        "normal",
        "--prefix",
        "none",
        "--no-dedupe",
        "-f",
        "{p}|{f}",
    ]);
    let once: BTreeSet<&str> = tree.lines().collect();
    let linked: Vec<Linked> = once
        .into_iter()
        .filter_map(|line| line.split_once('|'))
        .map(|(package, features)| Linked {
            name: package.split(' ').next().unwrap_or_default().to_owned(),
            features: features.split(',').filter(|feature| !feature.is_empty()).map(str::to_owned).collect(),
        })
        .collect();
    assert!(linked.iter().any(|one| one.name == "holdfast-wire"), "cargo tree told nothing of {binary}");
    linked
}
