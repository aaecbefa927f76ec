//! What `holdfast image encrypt` refuses or is stopped in: its line, and nothing left at the target.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::PublicKey;
use support::encrypting::{Scene, jwe, key};
use support::images::{TestImage, files};
use support::{Opens, StandIn, holdfast, image, ran, run};
use tonic::Status;

#[test]
fn a_refusal_of_the_daemon_is_its_own_line_and_nothing_is_written() {
    let mut scene = Scene::new();
    let refusal =
        Status::permission_denied("no rule lets uid 7 wrap \u{1b}[31mthis; ask for one (request 42)");
    let server = StandIn::provides(Err(refusal)).start(scene.dir.path());
    scene.socket.clone_from(&server.socket);
    scene.refused(
        &["--to", "holdfast:images"],
        "): no rule lets uid 7 wrap \\u{1b}[31mthis; ask for one (request 42)",
    );
    for nonsense in ["{}", r#"{"keywrapresults":{"annotation":"AQID"}}"#] {
        let mut scene = Scene::new();
        let server = StandIn::provides(Ok(nonsense)).start(scene.dir.path());
        scene.socket.clone_from(&server.socket);
        let before = files(scene.dir.path());
        let ran = scene.encrypt(&["--to", "holdfast:images"]);
        assert!(ran.err.contains("): holdfastd answered something else than a wrapped key ("), "{}", ran.err);
        assert!(files(scene.dir.path()) == before);
    }
    Scene::new().refused(
        &["--to", "holdfast:images"],
        "there is no such socket; start holdfastd, or name its socket with --socket or HOLDFAST_SOCKET",
    );
}

#[test]
fn a_private_key_is_refused_and_never_printed() {
    let scene = Scene::new();
    let der = scene.path("private.der");
    let text = fs::read_to_string(key("rsa2048.pem")).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    fs::write(&der, STANDARD.decode(&body).unwrap()).unwrap();
    let jwk = scene.path("private.jwk");
    fs::write(&jwk, r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA","d":"c2VjcmV0"}"#).unwrap();
    const HALF: &str =
        "this is a private key, and an image is encrypted to the public half; make that with: openssl pkey ";
    for (file, says) in [
        (key("rsa2048.pem"), format!("{HALF}-pubout -in FILE")),
        (key("ec-P-256.pem"), format!("{HALF}-pubout -in FILE")),
        (der.to_str().unwrap().to_owned(), format!("{HALF}-inform DER -pubout -in FILE")),
        (
            jwk.to_str().unwrap().to_owned(),
            "the JWK holds a private or symmetric key; give the public JWK, and treat this file as exposed"
                .to_owned(),
        ),
    ] {
        scene.refused(&["--to", &format!("jwe:{file}")], &format!("{file}: {says}"));
    }
}

#[test]
fn a_file_that_is_no_usable_public_key_is_told_by_name() {
    let scene = Scene::new();
    let weak = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDP9RJG9pwXYTYwcVVZcS5TxJwz
b1YKWNUzQSRgUSd4q9N0F7v0XoNpo4hTcGBSQIoNsaV3eTBSjXE4CDnkgBVOLeA3
Tvo2X0lRMkHL/P0JqRmGiG2kJkT9BHzZ+Qqa2b2TIhs3jrhZsPsDB6ihQqHDuDxf
7+Uiqg2nxGYY3EXhJwIDAQAB
-----END PUBLIC KEY-----
";
    // P-256 with a point off the curve, and Ed25519.
    let off = r#"{"kty":"EC","crv":"P-256","x":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE","y":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}"#;
    let other = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";
    let pkcs1 = "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n";
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let asks = fs::read_to_string(key("ec-P-256.pub.pem")).unwrap();
    let asks = holdfast_envelope::jwk::to_json(&PublicKey::from_pem(&asks).unwrap(), None, None);
    let asks = asks.replacen('{', r#"{"alg":"RSA1_5","#, 1);
    for (content, says) in [
        (weak, "an RSA modulus of 1024 bits; 2048 to 8192 are taken"),
        (other, "a public key that is neither RSA nor EC"),
        (off, "a point that does not lie on P-256"),
        (pkcs1, "make it a PUBLIC KEY: openssl rsa -RSAPublicKey_in -pubout -in FILE"),
        (certificate, "a damaged PEM block CERTIFICATE"),
        ("", "nor a DER public key; give a public key"),
        (&asks, "the JWK asks for an algorithm (alg) that this version does not know"),
    ] {
        let file = scene.path("key");
        fs::write(&file, content).unwrap();
        let before = files(scene.dir.path());
        let ran = scene.encrypt(&["--to", &format!("jwe:{}", file.display())]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.starts_with(&format!("holdfast: {}: ", file.display())), "{}", ran.err);
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
        assert!(files(scene.dir.path()) == before);
    }
    fs::remove_file(scene.path("key")).unwrap();
    scene.refused(
        &["--to", &jwe("ec-P-256.pub.jwk")],
        "the JWK asks for ECDH-ES+A128KW (alg), which is not written to a key of type P-256; if it may be used otherwise, give it as PEM",
    );
    scene.refused(
        &["--to", &format!("jwe:{}", scene.path("key").display())],
        "No such file or directory (os error 2); jwe: takes the file of a public key",
    );
}

#[test]
fn what_is_not_understood_ends_with_2() {
    let scene = Scene::new();
    let public = jwe("ec-P-256.pub.pem");
    for args in [
        &[][..],
        &["--to", "pub.pem"],
        &["--to", "age:cert.pem"],
        &["--to", "holdfast:"],
        &["--to", &public, "--layer", "first"],
        &["--to", &public, "--platform", "linux"],
        &["--to", &public, "--jobs", "0"],
        &["--to", &public, "--label", "env"],
    ] {
        let ran = scene.encrypt(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{args:?}: {}", ran.err);
    }
    scene.refused(
        &["--to", &public, "--label", "env=a", "--label", "env=b"],
        "label env has two different values; see --label",
    );
    scene.refused(&["--to", "holdfast:images", "--label", "env=a;b"], "choose another value");
    scene.refused(
        &["--to", &public, "--layer", "2"],
        "there is no layer 2 in the image for linux/amd64: it has 2, from 0 to 1, or from -1 back to -2",
    );
    scene.refused(&["--to", &public, "--platform", "linux/arm64"], "it is for linux/amd64");
    let ran = run(&scene.socket, ["image", "encrypt", &image(&scene.path("none")), "oci:x", "--to", &public]);
    assert!(ran.err.contains("cannot open "), "{}", ran.err);
}

#[test]
fn an_interrupt_or_a_kill_in_the_middle_leaves_no_image() {
    for (signal, says) in [
        (rustix::process::Signal::INT, "holdfast: interrupted; nothing was written\n"),
        (rustix::process::Signal::KILL, ""),
    ] {
        let scene = Scene::new();
        let server = StandIn::opens(Opens::Hangs).wraps_never().start(scene.dir.path());
        let before = files(scene.dir.path());
        let mut child = holdfast(&server.socket)
            .args(["image", "encrypt", "--to", "holdfast:images"])
            .args([image(&scene.path("plain")), image(&scene.path("sealed"))])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        server.provider_calls.recv_timeout(Duration::from_secs(20)).expect("the daemon is asked");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        child.wait().unwrap();
        assert_eq!(err, says);
        assert!(!scene.path("sealed").exists());
        if signal == rustix::process::Signal::INT {
            assert!(files(scene.dir.path()) == before);
        }
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_stays() {
    let scene = Scene::new();
    let mut big = TestImage::new();
    big.add(&support::images::tar("big", 3 << 20), "");
    big.write(&scene.path("plain"));
    let small = scene.path("small");
    fs::create_dir(&small).unwrap();
    // A file system of our own in a mount namespace of our own: it goes with the process.
    let script = r#"mount -t tmpfs -o size=1m tmpfs "$1" || exit 99
        "$2" image encrypt "$3" "oci:$1/sealed" --to "$4"; code=$?
        find "$1" -mindepth 1 && exit $code"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&small)
        .arg(env!("CARGO_BIN_EXE_holdfast"))
        .arg(image(&scene.path("plain")))
        .arg(jwe("ec-P-256.pub.pem"))
        .output()
        .unwrap_or_else(|error| panic!("unshare does not run ({error}); apt install util-linux"));
    let ran = ran(output);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(ran.out, "", "nothing stays");
    let full = "No space left on device (os error 28); free space there and run again\n";
    assert!(
        ran.err.ends_with(&format!("): cannot write to {}/sealed: {full}", small.display())),
        "{}",
        ran.err
    );
}

#[test]
fn what_an_archive_cannot_be_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let to = format!("jwe:{}", key("rsa2048.pub.pem"));
    for (words, code, says) in [
        (
            ["encrypt", "oci:plain", "docker-archive:sealed.tar", "--to"],
            1,
            "docker-archive: is only read, as docker's format has no place for the keys of an encrypted image; write oci-archive:FILE",
        ),
        (
            ["rewrap", "oci-archive:sealed.tar", "--timeout=1s", "--to"],
            1,
            "an archive is written once; copy the image to a layout or a registry (skopeo copy), and rewrap it there",
        ),
        (
            ["encrypt", "containers-storage:app", "oci:sealed", "--to"],
            2,
            "an image is named oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] (read only) or docker://HOST/REPOSITORY[:TAG|@DIGEST]; skopeo copy makes",
        ),
        (
            ["encrypt", "oci-archive:", "oci:sealed", "--to"],
            2,
            "no file given; an image in an archive is named oci-archive:FILE",
        ),
        (
            ["encrypt", "docker-archive:a:", "oci:sealed", "--to"],
            2,
            "the image's name is empty; an image in an archive is named docker-archive:FILE",
        ),
        (["encrypt", "oci-archive:nothing.tar", "oci:sealed", "--to"], 1, "cannot open nothing.tar: "),
    ] {
        let mut command = holdfast(&dir.path().join("no-socket"));
        let ran = ran(command.arg("image").args(words).arg(&to).current_dir(dir.path()).output().unwrap());
        assert!(ran.err.contains(says), "{words:?}: {}", ran.err);
        assert_eq!(ran.code, Some(code), "{words:?}");
    }
    assert!(files(std::path::Path::new(&at(""))).is_empty());
}
