//! `holdfastd check`, as an operator runs it.

use holdfast_e2e::house::{House, file};
use holdfast_e2e::{binary, must, must_fail};
use hsm_sim::KeyKind;
use std::process::Command;

#[test]
fn a_good_configuration_is_told_as_good_with_the_evidence_of_its_keys() {
    let house = House::new().key("images", KeyKind::Rsa3072);
    let said = must(&mut house.check(&["--tokens"]));
    for part in [
        "configuration: good: 1 token, 1 key, 1 rule",
        "images: RSA-3072, generated in the token, never extractable",
        "the token can do RSA-OAEP",
        "CKA_NEVER_EXTRACTABLE = true",
        "firmware version = ",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

#[test]
fn every_fault_has_its_line_and_the_daemon_does_not_start_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let bad = file(dir.path(), "bad.toml", "[listen]\nunixx = \"/x\"\n[[key]]\nalias = \"a\"\n");
    for arguments in [&["check"][..], &[]] {
        let said = must_fail(Command::new(binary("holdfastd")).args(arguments).arg("--config").arg(&bad));
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(lines.iter().all(|line| line.starts_with("holdfastd: ")), "{said}");
        assert!(lines[0].contains("bad.toml:2: unknown key \"unixx\" in [listen]"), "{said}");
        assert!(lines[1].contains("bad.toml:3: [[key]] needs uri"), "{said}");
    }
}

#[test]
fn a_missing_file_is_one_line() {
    let said = must_fail(Command::new(binary("holdfastd")).args(["--config", "/nonexistent.toml"]));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("cannot read /nonexistent.toml") && said.contains("--config"), "{said}");
}

#[test]
fn a_check_with_a_wrong_pin_tries_it_once() {
    let house = House::new().key("images", KeyKind::EcP256);
    let wrong = file(house.dir.path(), "wrong.pin", "000000");
    let house = house.pin_file(wrong);
    for _ in 0..2 {
        let said = must_fail(&mut house.check(&["--tokens"]));
        assert!(said.contains("PIN") && said.contains("[TROUBLE]"), "{said}");
        assert!(!said.contains("000000"), "{said}");
    }
    assert_eq!(std::fs::read_dir(house.dir.path().join("state")).unwrap().count(), 1);
}
