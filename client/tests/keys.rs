//! `holdfast key …`, `status` and `version`, the binary, against a stand-in for the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::os::unix::net::UnixListener;
use std::process::Command;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use holdfast_wire::grpc::v1::{Evidence, GetStatusResponse, Key, Token};
use serde_json::Value;
use support::images::TestImage;
use support::{Opens, Server, StandIn, image, run};
use tempfile::{TempDir, tempdir};

fn rsa_key() -> Key {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
    Key {
        alias: "images".to_owned(),
        kid: "thumb".to_owned(),
        r#type: "RSA-2048".to_owned(),
        algorithms: vec!["RSA-OAEP".to_owned()],
        wraps: true,
        public_key: der.as_ref().to_vec(),
        evidence: vec![Evidence { name: "CKA_EXTRACTABLE".to_owned(), value: "false".to_owned() }],
        custody: "generated in the token, never extractable".to_owned(),
        permissions: vec!["unwrap".to_owned()],
        ..Key::default()
    }
}

/// A good key, the one before it, and one that is in trouble.
fn three_keys() -> (TempDir, Server) {
    let dir = tempdir().unwrap();
    let retired = Key { kid: "old".to_owned(), wraps: false, ..rsa_key() };
    let lost = Key {
        alias: "lost\u{1b}".to_owned(),
        wraps: true,
        trouble: "the token is not there".to_owned(),
        ..Key::default()
    };
    let mut stand_in = StandIn::opens(Opens::Clear);
    stand_in.keys = vec![retired, rsa_key(), lost];
    let server = stand_in.start(dir.path());
    (dir, server)
}

#[test]
fn list_shows_every_key_and_its_trouble() {
    let (_dir, server) = three_keys();
    let ran = run(&server.socket, ["key", "list"]);
    assert_eq!(
        ran.out,
        "ALIAS       TYPE      ALGORITHMS  YOU MAY  NEW IMAGES  STATE                                      KID\n\
         images      RSA-2048  RSA-OAEP    unwrap   no          generated in the token, never extractable  old\n\
         images      RSA-2048  RSA-OAEP    unwrap   yes         generated in the token, never extractable  thumb\n\
         lost\\u{1b}  -         -           -        yes         the token is not there                     -\n"
    );
    let ran = run(&server.socket, ["key", "list", "--json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["keys"][1]["kid"], "thumb");
    assert_eq!(document["keys"][1]["trouble"], Value::Null);
}

#[test]
fn show_gives_evidence_and_the_public_key() {
    let (_dir, server) = three_keys();
    let ran = run(&server.socket, ["key", "show", "images"]);
    assert!(ran.out.contains("  CKA_EXTRACTABLE  false\n"), "{}", ran.out);
    assert_eq!(ran.out.matches("-----BEGIN PUBLIC KEY-----\n").count(), 2);
    let ran = run(&server.socket, ["key", "show", "other"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.err, "holdfast: no key other that you may use; holdfast key list shows those you may\n");
}

/// skopeo takes the exported key, in each form, and with JWK the packet names it.
#[test]
fn skopeo_encrypts_to_an_exported_key() {
    let (dir, server) = three_keys();
    let plain = dir.path().join("plain");
    TestImage::plain().write(&plain);
    for (format, kid) in [("pem", Value::Null), ("der", Value::Null), ("jwk", "thumb".into())] {
        let file = dir.path().join(format);
        let sealed = dir.path().join(format!("sealed-{format}"));
        let args = ["key", "export", "images", "--format", format, "-o", file.to_str().unwrap()];
        assert_eq!(run(&server.socket, args).err, "");
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--encryption-key"])
            .arg(format!("jwe:{}", file.display()))
            .args([image(&plain), image(&sealed)])
            .output()
            .unwrap_or_else(|error| panic!("skopeo does not run ({error}); apt install skopeo"));
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        let ran = run(&server.socket, ["image", "inspect", "--json", &image(&sealed)]);
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        let recipient = &document["manifests"][0]["layers"][0]["packets"][0]["recipients"][0];
        assert_eq!(recipient["alg"], "RSA-OAEP");
        assert_eq!(recipient["kid"], kid, "{format}");
    }
}

#[test]
fn export_says_why_it_cannot() {
    let (dir, server) = three_keys();
    let ran = run(&server.socket, ["key", "export", "lost\u{1b}"]);
    assert_eq!(
        ran.err,
        "holdfast: the public key of lost\\u{1b} is not known at the moment: the token is not there\n"
    );
    let nowhere = dir.path().join("no/such/file");
    let ran = run(&server.socket, ["key", "export", "images", "-o", nowhere.to_str().unwrap()]);
    assert!(
        ran.err.contains("cannot write") && ran.err.ends_with("name another file with -o\n"),
        "{}",
        ran.err
    );

    let other = tempdir().unwrap();
    let mut stand_in = StandIn::opens(Opens::Clear);
    stand_in.keys = vec![Key { wraps: false, ..rsa_key() }];
    let server = stand_in.start(other.path());
    let ran = run(&server.socket, ["key", "export", "images"]);
    assert!(ran.err.contains("images only opens old images (wraps = false)"), "{}", ran.err);
}

#[test]
fn status_shows_tokens_and_who_you_are() {
    let dir = tempdir().unwrap();
    let mut stand_in = StandIn::opens(Opens::Clear);
    stand_in.status = GetStatusResponse {
        version: "0.1.0".to_owned(),
        uptime_seconds: 3 * 3600 + 720,
        caller: "uid 0 (root), gid 0".to_owned(),
        known: true,
        tokens: vec![Token {
            name: "prod".to_owned(),
            serving: false,
            trouble: "the PIN was refused".to_owned(),
            workers: 4,
            places_taken: 1,
            places: 64,
        }],
        audit_trouble: String::new(),
    };
    let server = stand_in.start(dir.path());
    assert_eq!(
        run(&server.socket, ["status"]).out,
        "holdfastd  0.1.0, up 3 h 12 min\n\
         you are    uid 0 (root), gid 0\n\
         audit      written\n\
         \n\
         TOKEN  STATE                             WORKERS  QUEUE\n\
         prod   NOT SERVING: the PIN was refused  4        1 of 64\n"
    );
    let document: Value = serde_json::from_str(&run(&server.socket, ["--json", "status"]).out).unwrap();
    assert_eq!(document["tokens"][0]["placesTaken"], 1);
    assert_eq!(document["auditTrouble"], Value::Null);
}

#[test]
fn an_unknown_caller_is_told_so() {
    let dir = tempdir().unwrap();
    let mut stand_in = StandIn::opens(Opens::Clear);
    stand_in.status.caller = "uid 7".to_owned();
    let server = stand_in.start(dir.path());
    let ran = run(&server.socket, ["status"]);
    assert!(
        ran.out.ends_with("no [[allow]] rule names you, so you may use no key; ask the operator for one\n")
    );
    let ran = run(&server.socket, ["key", "list"]);
    assert_eq!(ran.out, "no key that you may use; holdfast status shows who the daemon takes you for\n");
}

#[test]
fn a_daemon_that_cannot_be_reached_is_told_with_what_to_do() {
    let dir = tempdir().unwrap();
    let socket = dir.path().join("a b.sock");
    let at = socket.display();
    let says = || run(&socket, ["status"]).err;
    assert_eq!(
        says(),
        format!(
            "holdfast: no holdfastd at {at}: there is no such socket; start holdfastd, or name its socket with --socket or HOLDFAST_SOCKET\n"
        )
    );
    // Bound, then closed: the file stays, nobody listens.
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(
        says(),
        format!(
            "holdfast: no holdfastd at {at}: nobody listens on the socket; start holdfastd and see its log\n"
        )
    );
}

#[test]
fn a_socket_that_may_not_be_opened_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempdir().unwrap();
    let server = StandIn::opens(Opens::Clear).start(dir.path());
    std::fs::set_permissions(&server.socket, std::fs::Permissions::from_mode(0o000)).unwrap();
    // In a user namespace of its own even root has no power over the files of others' namespaces.
    let output = Command::new("unshare")
        .args(["--user", env!("CARGO_BIN_EXE_holdfast"), "status"])
        .env("HOLDFAST_SOCKET", &server.socket)
        .output()
        .unwrap_or_else(|error| panic!("unshare does not run ({error}); apt install util-linux"));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!(
            "holdfast: this user may not open {}; run as one whom the socket's mode and group let in ([listen] in holdfastd's configuration)\n",
            server.socket.display()
        )
    );
}

#[test]
fn a_listener_that_is_no_holdfastd_is_told() {
    use std::io::Write as _;
    let dir = tempdir().unwrap();
    let socket = dir.path().join("other.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
    });
    let ran = run(&socket, ["--timeout", "5s", "status"]);
    other.join().unwrap();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with("holdfast: ") && ran.err.contains("other.sock"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1);
}

#[test]
fn the_version_is_told_both_ways() {
    let dir = tempdir().unwrap();
    let socket = dir.path().join("no.sock");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&socket, ["version"]).out, format!("holdfast {version}\n"));
    assert_eq!(run(&socket, ["--version"]).out, format!("holdfast {version}\n"));
    let document: Value = serde_json::from_str(&run(&socket, ["version", "--json"]).out).unwrap();
    assert_eq!(document["version"], version);
}
