//! `holdfast bridge`, the binary, as ocicrypt starts it, against a stand-in for the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Ran, StandIn, holdfast, ran};
use tempfile::tempdir;
use tonic::Status;

const UNWRAP: &str = r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":{"Parameters":{"privkeys":["UEVN"],"privkeys-passwords":["cHc="]}},"annotation":"cGFja2V0"}}"#;
const WRAP: &str = r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":{"holdfast":["aW1hZ2Vz"]},"DecryptConfig":{"Parameters":{"privkeys":["UEVN"]}}},"optsdata":"b3B0cw=="},"keyunwrapparams":{"dc":null,"annotation":null}}"#;

fn bridge(socket: &Path, request: &[u8]) -> Ran {
    let mut child = holdfast(socket)
        .arg("bridge")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It stops reading where it has seen enough.
    let _ = stdin.write_all(request);
    drop(stdin);
    ran(child.wait_with_output().unwrap())
}

#[test]
fn the_answer_is_the_daemons_and_the_callers_private_keys_stay_here() {
    let dir = tempdir().unwrap();
    let answer = r#"{"keyunwrapresults":{"optsdata":[1,2]}}"#;
    let server = StandIn::provides(Ok(answer)).start(dir.path());
    for (request, call) in [(UNWRAP, "UnWrapKey"), (WRAP, "WrapKey")] {
        let ran = bridge(&server.socket, request.as_bytes());
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), answer, ""));
        let (called, body) = server.provider_calls.try_recv().unwrap();
        assert_eq!(called, call);
        assert!(!String::from_utf8_lossy(&body).contains("UEVN"));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["keyunwrapparams"]["dc"], Value::Null);
        let annotation = if call == "UnWrapKey" { json!("cGFja2V0") } else { Value::Null };
        assert_eq!(body["keyunwrapparams"]["annotation"], annotation);
    }
}

#[test]
fn a_refusal_is_one_line_and_stdout_stays_empty() {
    let dir = tempdir().unwrap();
    let refusal = Status::permission_denied("no rule lets uid 7 do this; ask for one (request 42)");
    let server = StandIn::provides(Err(refusal)).start(dir.path());
    let ran = bridge(&server.socket, UNWRAP.as_bytes());
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert_eq!(ran.err, "holdfast: no rule lets uid 7 do this; ask for one (request 42)\n");
}

#[test]
fn no_daemon_and_an_empty_answer_are_told() {
    let dir = tempdir().unwrap();
    let ran = bridge(&dir.path().join("no.sock"), UNWRAP.as_bytes());
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("there is no such socket; start holdfastd"), "{}", ran.err);

    let server = StandIn::provides(Ok("")).start(dir.path());
    let ran = bridge(&server.socket, UNWRAP.as_bytes());
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert_eq!(ran.err, "holdfast: holdfastd answered nothing; see its log\n");
}

#[test]
fn what_is_no_request_is_told_without_a_quote_and_not_forwarded() {
    let dir = tempdir().unwrap();
    let server = StandIn::provides(Ok("{}")).start(dir.path());
    let long = vec![b' '; 40 << 20];
    for (request, says) in [
        (&b""[..], "ends too early"),
        (b"UEVN", "is not JSON"),
        (br#"{"op":"UEVN"}"#, "neither keywrap nor keyunwrap"),
        (&long, "more than 16 MiB"),
    ] {
        let ran = bridge(&server.socket, request);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
        assert!(ran.err.contains(says) && !ran.err.contains("UEVN"), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
    assert!(server.provider_calls.try_recv().is_err());
}
