//! `holdfast image encrypt`, the binary, to public keys and through a stand-in for the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_envelope::jwe::{self, Jwe, To};
use holdfast_image::inspect;
use holdfast_wire::keyprovider::{WrapRequest, wrap_response};
use holdfast_wire::{Algorithm, Labels, OptsData, PublicKey, Secret};
use serde_json::Value;
use support::images::{TestImage, files, oci};
use support::{Opens, Ran, StandIn, holdfast, image, ran, run};
use tempfile::{TempDir, tempdir};
use tonic::Status;

/// A test key of the project's vectors.
fn key(name: &str) -> String {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/keys");
    keys.join(name).to_str().unwrap().to_owned()
}

fn jwe(name: &str) -> String {
    format!("jwe:{}", key(name))
}

/// A plain image in a directory of its own, and no daemon.
struct Scene {
    dir: TempDir,
    socket: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempdir().unwrap();
        TestImage::plain().write(&dir.path().join("plain"));
        Scene { socket: dir.path().join("no.sock"), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `image encrypt` of `plain` to `sealed`.
    fn encrypt(&self, args: &[&str]) -> Ran {
        let (from, to) = (image(&self.path("plain")), image(&self.path("sealed")));
        run(&self.socket, [&["image", "encrypt", &from, &to], args].concat())
    }

    /// Encrypts, which must fail, with exit code 1 and this at the end of its one line, and leave nothing.
    fn refused(&self, args: &[&str], end: &str) {
        let before = files(self.dir.path());
        let ran = self.encrypt(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{args:?}");
        assert!(ran.err.ends_with(&format!("{end}\n")), "{args:?}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(files(self.dir.path()) == before, "something stayed");
    }

    /// The packets of each layer: by scheme.
    fn packets(&self, scheme: &str) -> Vec<Jwe> {
        let sealed = support::images::TestLayout(self.path("sealed"));
        let digest = inspect(&oci(&sealed.0, Some("v1"))).unwrap().digest;
        let manifest: Value = serde_json::from_slice(&fs::read(sealed.blob(digest.hex())).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let name = format!("org.opencontainers.image.enc.keys.{scheme}");
        let packets = layers.filter_map(|layer| layer["annotations"][&name].as_str());
        packets.map(|text| Jwe::parse(&STANDARD.decode(text).unwrap()).unwrap()).collect()
    }
}

fn algorithms(packet: &Jwe) -> Vec<&'static str> {
    packet.recipients().iter().map(|one| one.algorithm().unwrap().name()).collect()
}

#[test]
fn public_keys_of_every_form_are_recipients_of_one_packet_and_need_no_daemon() {
    let scene = Scene::new();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output();
        let output =
            output.unwrap_or_else(|error| panic!("openssl does not run ({error}); apt install openssl"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (certificate, der) = (scene.path("cert.pem"), scene.path("key.der"));
    let (certificate, der) = (certificate.to_str().unwrap(), der.to_str().unwrap());
    openssl(&["req", "-x509", "-new", "-key", &key("ec-P-384.pem"), "-subj", "/CN=x", "-out", certificate]);
    openssl(&["pkey", "-pubin", "-in", &key("rsa4096.pub.pem"), "-outform", "DER", "-out", der]);
    let to: Vec<String> = [
        key("rsa2048.pub.pem"),
        key("ec-P-521.pub.pem"),
        key("rsa3072.pub.jwk"),
        certificate.to_owned(),
        der.to_owned(),
        // Again: no recipient more.
        key("rsa2048.pub.pem"),
    ]
    .iter()
    .map(|file| format!("--to=jwe:{file}"))
    .collect();
    let args: Vec<&str> = to.iter().map(String::as_str).collect();
    let ran = scene.encrypt(&args);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.starts_with(&format!("{} is sha256:", image(&scene.path("sealed")))), "{}", ran.out);
    assert!(ran.out.contains(": 2 of 2 layers encrypted to "), "{}", ran.out);
    assert!(ran.out.ends_with("key.der (RSA-4096)\n"), "{}", ran.out);
    let packets = scene.packets("jwe");
    assert_eq!(packets.len(), 2);
    let asked = fs::read_to_string(key("rsa3072.pub.jwk")).unwrap();
    let asked: Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(
        algorithms(&packets[0]),
        ["RSA-OAEP", "ECDH-ES+A256KW", asked["alg"].as_str().unwrap(), "ECDH-ES+A256KW", "RSA-OAEP"]
    );
    let shown = run(&scene.socket, ["image", "inspect", &image(&scene.path("sealed"))]);
    assert!(shown.out.contains("jwe (RSA-OAEP "), "{}", shown.out);
}

#[test]
fn labels_stand_in_the_packet_and_json_tells_what_was_done() {
    let scene = Scene::new();
    let ran = scene.encrypt(&[
        "--json",
        "--to",
        &jwe("ec-P-256.pub.pem"),
        "--label",
        "env=prod",
        "--label",
        "team=a=b",
        "--layer",
        "-1",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(document["keys"][0].as_str().unwrap().ends_with("ec-P-256.pub.pem (P-256)"));
    let layers = &document["manifests"][0]["layers"];
    assert_eq!((&layers[0]["encrypted"], &layers[1]["encrypted"]), (&false.into(), &true.into()));
    let packets = scene.packets("jwe");
    let labels: Vec<_> = packets[0].labels().iter().collect();
    assert_eq!((packets.len(), labels), (1, vec![("env", "prod"), ("team", "a=b")]));
}

/// What a daemon would answer: a packet, sealed to a key of the vectors.
fn wrapped() -> String {
    let key = PublicKey::from_pem(&fs::read_to_string(key("ec-P-256.pub.pem")).unwrap()).unwrap();
    let optsdata = OptsData::new(Secret::new(vec![1; 32]), [2; 16], "").unwrap();
    let to = [To { key: &key, algorithm: Algorithm::EcdhEsA256Kw }];
    String::from_utf8(wrap_response(&jwe::seal(&optsdata, &to, &Labels::default()).unwrap())).unwrap()
}

#[test]
fn keys_of_the_daemon_are_wrapped_by_it_beside_public_keys() {
    let mut scene = Scene::new();
    let server = StandIn::provides(Ok(&wrapped())).start(scene.dir.path());
    scene.socket.clone_from(&server.socket);
    let public = jwe("rsa2048.pub.pem");
    let to =
        ["--to", "holdfast:images", "--to", &public, "--to", "holdfast:spare+images", "--label", "env=prod"];
    let ran = scene.encrypt(&[&to[..], &["--to", "provider:kp:other"]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(
        ran.out.ends_with(&format!(
            "to holdfast:images, {} (RSA-2048), holdfast:spare, kp:other\n",
            key("rsa2048.pub.pem")
        )),
        "{}",
        ran.out
    );
    let counts = ["jwe", "provider.holdfast", "provider.kp"].map(|scheme| scene.packets(scheme).len());
    assert_eq!(counts, [2, 2, 2]);

    let calls: Vec<_> = server.provider_calls.try_iter().collect();
    assert_eq!(calls.len(), 4);
    let mut layers = Vec::new();
    for (call, body) in &calls {
        assert_eq!(*call, "WrapKey");
        let request = WrapRequest::parse(body).unwrap();
        layers.push(request.optsdata.digest().to_owned());
        let (provider, aliases) = match request.recipients("holdfast") {
            Ok(recipients) => (recipients, &["images", "spare"][..]),
            Err(_) => (request.recipients("kp").unwrap(), &["other"][..]),
        };
        assert_eq!(provider.aliases, aliases);
        assert_eq!(provider.labels.get("env"), Some("prod"));
    }
    layers.sort();
    layers.dedup();
    let plain = inspect(&oci(&scene.path("plain"), None)).unwrap();
    let mut expected: Vec<_> = plain.manifests[0].layers.iter().map(|one| one.digest.to_string()).collect();
    expected.sort();
    assert_eq!(layers, expected, "what is wrapped names the layer in the clear");
}

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
        &["--to", "pkcs7:cert.pem"],
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
fn what_nobody_chose_to_leave_readable_is_told() {
    let scene = Scene::new();
    let mut mixed = TestImage::plain();
    mixed.add(b"{}", "");
    mixed.layer(2)["mediaType"] = "application/vnd.in-toto+json".into();
    mixed.write(&scene.path("plain"));
    let ran = scene.encrypt(&["--to", &jwe("ec-P-256.pub.pem")]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(
        ran.err,
        "holdfast: note: 1 of the layers are no tar archives (attestations or other attachments); they were copied as they are, and anyone can read them\n"
    );
    assert!(
        ran.out.contains(": 2 of 3 layers encrypted to ") && ran.out.ends_with(", 1 copied\n"),
        "{}",
        ran.out
    );
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
fn layers_of_any_size_take_64_mib_in_all() {
    let scene = Scene::new();
    let mut big = TestImage::new();
    for number in 0..4 {
        big.add(&vec![number; 40 << 20], "");
    }
    big.write(&scene.path("plain"));
    // Data of this process: its heap, its threads' stacks, all it maps and writes to.
    let output = Command::new("sh")
        .args(["-c", r#"ulimit -d 65536 && exec "$0" "$@""#, env!("CARGO_BIN_EXE_holdfast")])
        .args(["image", "encrypt", "--jobs", "4", "--to", &jwe("ec-P-256.pub.pem")])
        .args([image(&scene.path("plain")), image(&scene.path("sealed"))])
        .output()
        .unwrap();
    let ran = ran(output);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains(": 4 of 4 layers encrypted to "), "{}", ran.out);
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
