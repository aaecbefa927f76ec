//! What the fuzzer was given and what it found, tried again without it: every file of `fuzz/corpus` through
//! the same functions as there.

#![allow(clippy::expect_used)] // what fails here fails the test

use std::path::Path;

/// Runs one folder. A finding is told with the file that holds it.
fn replay(name: &str) {
    let target =
        holdfast_fuzz::TARGETS.iter().find(|(target, _)| *target == name).expect("a target of that name").1;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the target's corpus") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        let outcome = std::panic::catch_unwind(|| target(&bytes));
        assert!(
            outcome.is_ok(),
            "{} breaks a promise of the target {name}; its panic is above",
            path.display()
        );
        files += 1;
    }
    assert!(files > 0, "{} is empty: put at least one well-formed input there", folder.display());
}

#[test]
fn archives_of_strangers_are_read_or_refused() {
    replay("archive");
}

#[test]
fn configurations_are_read_or_refused_with_a_line() {
    replay("configuration");
}

#[test]
fn event_logs_are_read_or_refused() {
    replay("event_log");
}

#[test]
fn images_of_strangers_are_read_or_refused() {
    replay("image");
}

#[test]
fn key_uris_read_back_as_they_are_written() {
    replay("key_uri");
}

#[test]
fn messages_of_callers_are_read_or_refused() {
    replay("keyprovider_message");
}

#[test]
fn answers_of_kmip_servers_are_read_or_refused() {
    replay("kmip_answer");
}

#[test]
fn openpgp_messages_of_strangers_are_read_or_refused() {
    replay("openpgp");
}

#[test]
fn packets_of_strangers_are_read_or_refused() {
    replay("packet");
}

#[test]
fn pkcs7_packets_of_strangers_are_read_or_refused() {
    replay("packet_pkcs7");
}

#[test]
fn pkcs11_packets_of_strangers_are_read_or_refused() {
    replay("packet_pkcs11");
}

#[test]
fn payloads_and_manifests_of_strangers_are_read_or_refused() {
    replay("payload");
}

#[test]
fn public_keys_come_back_in_every_form() {
    replay("public_key");
}

#[test]
fn signed_policies_are_read_or_refused() {
    replay("signed_policies");
}

#[test]
fn key_files_of_tpms_come_back_as_they_are_written() {
    replay("tpm_key_file");
}

#[test]
fn every_folder_has_a_target_and_every_target_is_replayed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let names = |folder: &str, ending: &str| {
        let mut names: Vec<String> = std::fs::read_dir(root.join(folder))
            .expect("a folder of fuzz/")
            .map(|entry| {
                entry.expect("an entry").file_name().to_string_lossy().trim_end_matches(ending).to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let targets = holdfast_fuzz::TARGETS.map(|(name, _)| name);
    assert_eq!(names("corpus", ""), targets, "fuzz/corpus has one folder for each of TARGETS");
    assert_eq!(names("fuzz_targets", ".rs"), targets, "fuzz/fuzz_targets has one file for each of TARGETS");
    let here = include_str!("corpora.rs");
    for name in targets {
        assert!(here.contains(&format!("replay(\"{name}\")")), "add a test here that replays {name}");
    }
}
