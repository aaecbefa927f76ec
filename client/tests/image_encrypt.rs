//! `holdfast image encrypt`, the binary, to public keys and through a stand-in for the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::process::Command;

use holdfast_envelope::jwe::Jwe;
use holdfast_image::inspect;
use holdfast_wire::keyprovider::WrapRequest;
use serde_json::Value;
use support::encrypting::{Scene, jwe, key, wrapped};
use support::images::{TestImage, oci};
use support::{StandIn, image, ran, run};

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
        .args(["image", "encrypt", "--quiet", "--jobs", "4", "--to", &jwe("ec-P-256.pub.pem")])
        .args([image(&scene.path("plain")), image(&scene.path("sealed"))])
        .output()
        .unwrap();
    let ran = ran(output);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains(": 4 of 4 layers encrypted to "), "{}", ran.out);
}
