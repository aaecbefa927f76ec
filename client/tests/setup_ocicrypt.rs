//! `holdfast setup ocicrypt`, the binary: a file that belongs to somebody else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use support::{Ran, run};
use tempfile::tempdir;

const SOCKET: &str = "/run/test/keyprovider.sock";

fn setup(file: &Path, more: &[&str]) -> Ran {
    let mut args = vec!["setup", "ocicrypt", "--file", file.to_str().unwrap()];
    args.extend(more);
    run(Path::new(SOCKET), args)
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn without_a_file_it_prints_what_it_would_write() {
    let ran = run(Path::new(SOCKET), ["setup", "ocicrypt"]);
    assert_eq!(ran.code, Some(0));
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(printed, json!({"key-providers": {"holdfast": {"grpc": format!("unix://{SOCKET}")}}}));
    assert!(ran.err.contains("OCICRYPT_KEYPROVIDER_CONFIG"), "{}", ran.err);
}

#[test]
fn twice_is_once_and_remove_takes_all_of_it_back() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("new/directory/ocicrypt.conf");
    let ran = setup(&file, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains(&format!("OCICRYPT_KEYPROVIDER_CONFIG={}", file.display())), "{}", ran.out);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let first = fs::read(&file).unwrap();
    let ran = setup(&file, &[]);
    assert!(ran.code == Some(0) && ran.out.contains("nothing was changed"), "{ran:?}");
    assert_eq!(fs::read(&file).unwrap(), first);
    let ran = setup(&file, &["--remove"]);
    assert!(ran.code == Some(0) && ran.out.contains("was taken out"), "{ran:?}");
    assert!(!file.exists());
    let ran = setup(&file, &["--remove"]);
    assert!(ran.code == Some(0) && ran.out.contains("nothing was changed"), "{ran:?}");
}

#[test]
fn other_providers_the_mode_and_a_link_stay() {
    let dir = tempdir().unwrap();
    let (file, link) = (dir.path().join("real.conf"), dir.path().join("ocicrypt.conf"));
    let theirs = json!({"key-providers": {"kp": {"grpc": "localhost:1"}}, "more": 7});
    fs::write(&file, theirs.to_string()).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(setup(&link, &["--name", "hsm"]).code, Some(0));
    let written = read(&file);
    assert_eq!(written["key-providers"]["kp"], theirs["key-providers"]["kp"]);
    assert_eq!(written["more"], 7);
    assert_eq!(written["key-providers"]["hsm"]["grpc"], format!("unix://{SOCKET}"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(setup(&link, &["--name", "hsm", "--remove"]).code, Some(0));
    assert_eq!(read(&file), theirs);
}

#[test]
fn the_bridge_is_this_program_by_its_full_path() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("ocicrypt.conf");
    assert_eq!(setup(&file, &["--bridge"]).code, Some(0));
    let command = &read(&file)["key-providers"]["holdfast"]["cmd"];
    assert_eq!(command["path"], env!("CARGO_BIN_EXE_holdfast"));
    assert_eq!(command["args"], json!(["bridge", "--socket", SOCKET]));
    // From one of its own forms to the other is no overwriting.
    assert_eq!(setup(&file, &[]).code, Some(0));
    assert!(read(&file)["key-providers"]["holdfast"]["cmd"].is_null());
}

#[test]
fn somebody_elses_entry_needs_force() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("ocicrypt.conf");
    let theirs = r#"{"key-providers":{"holdfast":{"grpc":"localhost:50051"}}}"#;
    for more in [&[][..], &["--bridge"], &["--remove"]] {
        fs::write(&file, theirs).unwrap();
        let ran = setup(&file, more);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{more:?}");
        assert!(ran.err.contains("or --force") && ran.err.lines().count() == 1, "{}", ran.err);
        assert_eq!(fs::read_to_string(&file).unwrap(), theirs);
        let forced = setup(&file, &[more, &["--force"]].concat());
        assert_eq!(forced.code, Some(0), "{}", forced.err);
    }
    assert!(!file.exists());
}

#[test]
fn a_file_that_is_no_configuration_is_left_alone() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("ocicrypt.conf");
    for text in ["{", "hello", "[]", r#"{"key-providers":7}"#] {
        fs::write(&file, text).unwrap();
        let ran = setup(&file, &["--force"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
        assert!(ran.err.contains("mend it"), "{}", ran.err);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let ran = setup(dir.path(), &[]);
    assert!(ran.code == Some(1) && ran.err.contains("cannot be read"), "{ran:?}");
}

#[test]
fn a_document_with_json() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("ocicrypt.conf");
    let document: Value = serde_json::from_str(&setup(&file, &["--json"]).out).unwrap();
    assert_eq!((&document["changed"], &document["provider"]), (&json!(true), &json!("holdfast")));
    let document: Value = serde_json::from_str(&setup(&file, &["--json"]).out).unwrap();
    assert_eq!(document["changed"], false);
}

#[test]
fn names_and_sockets_that_ocicrypt_would_misread_are_refused() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("ocicrypt.conf");
    for name in ["", "a:b", "a,b", "a b"] {
        assert_eq!(setup(&file, &["--name", name]).code, Some(2), "{name:?}");
    }
    for socket in ["/run/a b.sock", "/run/%41.sock", "/run/a?b"] {
        let ran = setup(&file, &["--socket", socket]);
        assert!(ran.code == Some(1) && ran.err.contains("name one of"), "{ran:?}");
    }
    assert!(!file.exists());
}
