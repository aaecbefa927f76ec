//! What no log, answer or audit record may hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_e2e::house::House;
use holdfast_e2e::rpc;
use holdfast_wire::{OptsData, Secret};
use hsm_sim::KeyKind;

/// Bytes that are found again in any of the forms in which they could leak.
fn traces(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let array = format!("{secret:?}");
    let text = String::from_utf8(secret.to_vec()).unwrap_or_else(|_| hex.clone());
    vec![STANDARD.encode(secret), hex, array.trim_matches(['[', ']']).to_owned(), text]
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_layers_key_nor_the_pin_nor_a_callers_private_key_is_in_a_log() {
    let house = House::new().key("images", KeyKind::Rsa2048).section("[log]\nlevel = \"trace\"\n");
    let daemon = house.start();
    let mut key = vec![0; 32];
    aws_lc_rs::rand::fill(&mut key).unwrap();
    let optsdata = OptsData::new(Secret::copy_of(&key), [4; 16], "sha256:00").unwrap();
    let private = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw";
    let packet = rpc::wrap_key(&house.socket(), &["images"], optsdata.raw().expose()).await.unwrap();
    let dc = format!(
        r#"{{"Parameters":{{"privkeys":["{}"],"privkeys-passwords":["aHVudGVyMg=="]}}}}"#,
        STANDARD.encode(private)
    );
    let body = rpc::unwrap_body(&packet, &dc);
    let channel = rpc::connect(&house.socket()).await;
    assert_eq!(rpc::send_unwrap(channel.clone(), body.clone()).await.unwrap(), optsdata.raw().expose());
    // Failures are where secrets slip into texts.
    let mut broken = body.clone();
    broken.truncate(body.len() - 2);
    let mut told = Vec::new();
    told.push(rpc::send_unwrap(channel.clone(), broken).await.unwrap_err());
    let foreign = String::from_utf8(body).unwrap().replace("keyunwrapparams", "keywrapparams");
    told.push(rpc::send_unwrap(channel, foreign.into_bytes()).await.unwrap_err());

    let log = daemon.log();
    assert!(log.contains("private keys or passwords of its own") && log.contains("count=2"), "{log}");
    let audit = format!("{:?}", house.audit());
    let answers = format!("{told:?}");
    let pin = house.token.pin().to_owned();
    for (what, secret) in [
        ("the layer's key", &key[..]),
        ("a private key", private),
        ("a password", b"hunter2"),
        ("the PIN", pin.as_bytes()),
    ] {
        for trace in traces(secret) {
            assert!(!log.contains(&trace), "{what} is in the log");
            assert!(!audit.contains(&trace), "{what} is in the audit log");
            assert!(!answers.contains(&trace), "{what} is in an answer");
        }
    }
}

#[test]
fn the_daemon_leaves_no_core_and_gets_no_new_privileges() {
    let house = House::new().key("images", KeyKind::EcP256);
    let daemon = house.start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}
