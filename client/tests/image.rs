//! `holdfast image …`, the binary, against a stand-in for the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_wire::grpc::v1::Key;
use serde_json::Value;
use support::images::{TestImage, files};
use support::{Opens, StandIn, holdfast, image, ran, run};
use tempfile::tempdir;
use tonic::Status;

#[test]
fn decrypt_gives_the_original_and_says_with_which_key() {
    let dir = tempdir().unwrap();
    let server = StandIn::opens(Opens::Clear).start(dir.path());
    let (plain, sealed, opened) =
        (dir.path().join("plain"), dir.path().join("sealed"), dir.path().join("opened"));
    TestImage::plain().write(&plain);
    TestImage::encrypted().write(&sealed);
    let ran = run(&server.socket, ["image", "decrypt", &image(&sealed), &image(&opened)]);
    assert_eq!(ran.err, "");
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.starts_with(&format!("{} is sha256:", image(&opened))), "{}", ran.out);
    assert!(ran.out.ends_with(": 2 of 2 layers decrypted with images\n"), "{}", ran.out);
    let contents = |root| files(root).into_iter().map(|(_, content)| content).collect::<Vec<_>>();
    assert!(contents(&opened) == contents(&plain));
    assert_eq!(server.calls.try_iter().count(), 2);
    assert_eq!(run(&server.socket, ["image", "inspect", &image(&opened)]).code, Some(0));
}

#[test]
fn decrypt_prints_one_document_with_json() {
    let dir = tempdir().unwrap();
    let server = StandIn::opens(Opens::Clear).start(dir.path());
    let mut some = TestImage::plain();
    some.encrypt(1);
    some.write(&dir.path().join("sealed"));
    let (from, to) = (image(&dir.path().join("sealed")), image(&dir.path().join("opened")));
    let ran = run(&server.socket, ["--json", "image", "decrypt", &from, &to]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["keys"][0], "images");
    assert_eq!(document["manifests"][0]["platform"], "linux/amd64");
    let layers = &document["manifests"][0]["layers"];
    assert_eq!((&layers[0]["decrypted"], &layers[1]["decrypted"]), (&false.into(), &true.into()));
}

#[test]
fn an_image_without_encryption_is_copied_without_a_daemon() {
    let dir = tempdir().unwrap();
    TestImage::plain().write(&dir.path().join("plain"));
    let (from, to) = (image(&dir.path().join("plain")), image(&dir.path().join("copy")));
    let ran = run(&dir.path().join("no.sock"), ["image", "decrypt", &from, &to]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.err, format!("holdfast: note: no layer of {from} is encrypted; it was copied as it is\n"));
    assert!(ran.out.ends_with(": 0 of 2 layers decrypted, 2 copied\n"), "{}", ran.out);
}

#[test]
fn the_daemons_line_is_printed_as_it_is_with_the_layer_before_it() {
    let dir = tempdir().unwrap();
    let refusal =
        Status::permission_denied("no rule lets uid 7 unwrap \u{1b}[31mthis; ask for one (request 42)");
    let server = StandIn::opens(Opens::Refuses(refusal)).start(dir.path());
    let mut some = TestImage::plain();
    some.encrypt(1);
    some.write(&dir.path().join("sealed"));
    let before = files(dir.path());
    let (from, to) = (image(&dir.path().join("sealed")), image(&dir.path().join("opened")));
    let ran = run(&server.socket, ["image", "decrypt", &from, &to]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    let digest = &some.layer(1)["digest"].as_str().unwrap()[..19];
    assert_eq!(
        ran.err,
        format!(
            "holdfast: layer 2 of 2 ({digest}): no rule lets uid 7 unwrap \\u{{1b}}[31mthis; ask for one (request 42)\n"
        )
    );
    assert!(files(dir.path()) == before);
}

#[test]
fn a_daemon_that_hangs_or_talks_nonsense_is_told() {
    let dir = tempdir().unwrap();
    let mut some = TestImage::plain();
    some.encrypt(0);
    some.write(&dir.path().join("sealed"));
    let (from, to) = (image(&dir.path().join("sealed")), image(&dir.path().join("opened")));

    let server = StandIn::opens(Opens::Hangs).start(dir.path());
    let ran = run(&server.socket, ["--timeout", "200ms", "image", "decrypt", &from, &to]);
    let at = server.socket.display();
    assert!(
        ran.err.ends_with(&format!(
            "): holdfastd at {at} did not answer within 200ms; see its log, or give it longer with --timeout\n"
        )),
        "{}",
        ran.err
    );

    let other = tempdir().unwrap();
    let server = StandIn::opens(Opens::Nonsense).start(other.path());
    let ran = run(&server.socket, ["image", "decrypt", &from, &to]);
    assert!(
        ran.err.ends_with(
            "): holdfastd answered something else than a layer's key (symkey in optsdata has 0 bytes; it must have 32); see its log\n"
        ),
        "{}",
        ran.err
    );
    assert!(!dir.path().join("opened").exists());
}

#[test]
fn an_interrupt_in_the_middle_leaves_nothing() {
    let dir = tempdir().unwrap();
    let server = StandIn::opens(Opens::Hangs).start(dir.path());
    TestImage::encrypted().write(&dir.path().join("sealed"));
    let before = files(dir.path());
    let mut child = holdfast(&server.socket)
        .args(["image", "decrypt"])
        .args([image(&dir.path().join("sealed")), image(&dir.path().join("opened"))])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.calls.recv_timeout(Duration::from_secs(20)).expect("the daemon is asked");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(err, "holdfast: interrupted; nothing was written\n");
    assert!(files(dir.path()) == before);
}

#[test]
fn a_full_disk_is_told_and_nothing_stays() {
    let dir = tempdir().unwrap();
    let server = StandIn::opens(Opens::Clear).start(dir.path());
    let mut big = TestImage::new();
    big.add(&support::images::tar("big", 2 << 20), "");
    big.encrypt(0);
    big.write(&dir.path().join("sealed"));
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    // A file system of our own in a mount namespace of our own: it goes with the process.
    let script = r#"mount -t tmpfs -o size=1m tmpfs "$1" || exit 99
        "$2" image decrypt "$3" "oci:$1/opened"; code=$?
        find "$1" -mindepth 1 && exit $code"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&small)
        .arg(env!("CARGO_BIN_EXE_holdfast"))
        .arg(image(&dir.path().join("sealed")))
        .env("HOLDFAST_SOCKET", &server.socket)
        .output()
        .unwrap_or_else(|error| panic!("unshare does not run ({error}); apt install util-linux"));
    let ran = ran(output);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(ran.out, "", "nothing stays");
    assert!(
        ran.err.ends_with(&format!(
            "): cannot write to {}/opened: No space left on device (os error 28); free space there and run again\n",
            small.display()
        )),
        "{}",
        ran.err
    );
}

#[test]
fn inspect_needs_no_daemon_and_shows_who_can_open() {
    let dir = tempdir().unwrap();
    let mut some = TestImage::plain();
    some.encrypt(1);
    let jwe = r#"{"recipients":[{"header":{"alg":"RSA-OAEP"}},{"header":{"alg":"ECDH-ES+A256KW","kid":"k\u001b2"}}],"ciphertext":""}"#;
    let annotations = &mut some.layer(1)["annotations"];
    annotations[support::images::KEYS] = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(jwe).into()
    };
    annotations["org.opencontainers.image.enc.keys.pkcs7"] = "AQ==".into();
    some.write(&dir.path().join("sealed"));
    let socket = dir.path().join("no.sock");
    let ran = run(&socket, ["image", "inspect", &image(&dir.path().join("sealed"))]);
    assert_eq!((ran.code, ran.err.lines().count()), (Some(0), 1));
    assert!(
        ran.err.starts_with("holdfast: note: keys are shown by their ids: no holdfastd at "),
        "{}",
        ran.err
    );
    let rows: Vec<&str> = ran.out.lines().collect();
    assert!(rows[2].starts_with("linux/amd64 sha256:"));
    assert!(rows[3].starts_with("LAYER  DIGEST"));
    assert!(
        rows[4].contains("  no         -  ") && rows[4].contains("  -          application"),
        "{}",
        rows[4]
    );
    assert!(
        rows[5].contains(
            r"  yes        jwe (RSA-OAEP; ECDH-ES+A256KW k\u{1b}2), pkcs7  not known  application/vnd.oci"
        ),
        "{}",
        rows[5]
    );

    let json = run(&socket, ["image", "inspect", "--json", &image(&dir.path().join("sealed"))]);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    let layer = &document["manifests"][0]["layers"][1];
    assert_eq!(layer["cipher"], "AES_256_CTR_HMAC_SHA256");
    assert_eq!(layer["packets"][0]["recipients"][1]["kid"], "k\u{1b}2");
    assert_eq!(layer["packets"][1]["scheme"], "pkcs7");
    assert_eq!((&layer["ourKeys"], &layer["withoutKeyId"]), (&Value::Null, &3.into()));
}

/// A layer's packets: a JWE to these key ids, and one of a scheme that nobody knows.
fn sealed_to(kids: &[&str], unknown: bool, path: &std::path::Path) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let mut some = TestImage::plain();
    some.encrypt(1);
    let recipients: Vec<Value> =
        kids.iter().map(|kid| serde_json::json!({"header": {"alg": "RSA-OAEP", "kid": kid}})).collect();
    let jwe = serde_json::json!({"recipients": recipients, "ciphertext": ""}).to_string();
    let annotations = &mut some.layer(1)["annotations"];
    annotations[support::images::KEYS] = STANDARD.encode(jwe).into();
    if unknown {
        annotations["org.opencontainers.image.enc.keys.tomorrow"] = "AQ==".into();
    }
    some.write(path);
}

#[test]
fn inspect_shows_which_of_our_keys_opens_a_layer_and_how_it_is() {
    let dir = tempdir().unwrap();
    let (ours, theirs) = (format!("{}A", "a".repeat(42)), format!("{}A", "b".repeat(42)));
    let key = |kid: &str, alias: &str, trouble: &str| Key {
        alias: alias.to_owned(),
        kid: kid.to_owned(),
        custody: "generated in the token".to_owned(),
        trouble: trouble.to_owned(),
        ..Key::default()
    };
    let mut stand_in = StandIn::opens(Opens::Clear);
    stand_in.keys = vec![key(&ours, "images", "its token does not answer"), key("aes", "other", "")];
    let server = stand_in.start(dir.path());
    let shown = |kids: &[&str], unknown| {
        let path = dir.path().join("sealed");
        let _ = std::fs::remove_dir_all(&path);
        sealed_to(kids, unknown, &path);
        let text = run(&server.socket, ["image", "inspect", &image(&path)]);
        let json = run(&server.socket, ["image", "inspect", "--json", &image(&path)]);
        assert_eq!((text.code, text.err.as_str(), json.code), (Some(0), "", Some(0)));
        let json: Value = serde_json::from_str(&json.out).unwrap();
        (text.out, json["manifests"][0]["layers"][1].clone())
    };
    let (text, layer) = shown(&[&theirs, &ours], false);
    assert!(text.contains(")  images    application/vnd.oci"), "{text}");
    assert!(text.contains(&format!("images (kid:{ours})")), "{text}");
    assert!(text.ends_with("its token does not answer; not for new images\n"), "{text}");
    assert_eq!(
        (&layer["ourKeys"][0]["alias"], &layer["ourKeys"][0]["kid"]),
        (&"images".into(), &ours.into())
    );
    assert_eq!(layer["ourKeys"][0]["trouble"], "its token does not answer");
    assert_eq!(layer["ourKeys"].as_array().unwrap().len(), 1);

    let (text, layer) = shown(&[&theirs], false);
    assert!(text.contains(")  none      application/vnd.oci") && !text.contains("OUR KEY "), "{text}");
    assert_eq!(layer["ourKeys"], Value::Array(Vec::new()));

    // Of a scheme that nobody here knows it is not known who opens it.
    let (text, layer) = shown(&[&theirs], true);
    assert!(text.contains("), tomorrow  not known  application/vnd.oci"), "{text}");
    assert_eq!((&layer["encrypted"], &layer["withoutKeyId"]), (&true.into(), &1.into()));
    assert_eq!(server.calls.try_iter().count(), 0);
}

#[test]
fn with_ask_an_image_without_a_daemon_is_not_inspected() {
    let dir = tempdir().unwrap();
    TestImage::encrypted().write(&dir.path().join("sealed"));
    let sealed = image(&dir.path().join("sealed"));
    let ran = run(&dir.path().join("no.sock"), ["image", "inspect", "--ask", &sealed]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("start holdfastd"), "{}", ran.err);
}

#[test]
fn what_is_not_understood_ends_with_2() {
    let dir = tempdir().unwrap();
    for args in [
        &["image", "decrypt", "docker://Alpine", "oci:x"][..],
        &["image", "decrypt", "oci:x"],
        &["image", "decrypt", "oci:x", "oci:y", "--platform", "linux"],
        &["--timeout", "0", "status"],
        &["keys"],
    ] {
        let ran = run(&dir.path().join("no.sock"), args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{args:?}: {}", ran.err);
    }
}
