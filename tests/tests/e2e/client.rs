//! `holdfast key` and `holdfast status` against the real daemon.

use holdfast_e2e::house::{House, me};
use holdfast_e2e::{must, must_fail};
use hsm_sim::KeyKind;

#[test]
fn the_exported_public_key_is_the_tokens() {
    let house = House::new().key("images", KeyKind::Rsa2048).key("ec", KeyKind::EcP384);
    let _daemon = house.start();
    for alias in ["images", "ec"] {
        let pem = must(house.holdfast().args(["key", "export", alias]));
        assert_eq!(holdfast_wire::PublicKey::from_pem(&pem).unwrap(), house.public_key(alias));
        let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
        let path = house.dir.path().join("exported.pem");
        must(house.holdfast().args(["key", "export", alias, "-o"]).arg(&path));
        must(openssl.args(["pkey", "-pubin", "-noout", "-in"]).arg(&path));
    }
}

#[test]
fn keys_are_listed_with_their_custody() {
    let house = House::new().key("images", KeyKind::Rsa2048).key("ec", KeyKind::EcP256);
    let _daemon = house.start();
    let said = must(house.holdfast().args(["key", "list"]));
    assert!(said.contains("images") && said.contains("RSA-2048"), "{said}");
    assert!(said.contains("ec") && said.contains("P-256"), "{said}");
    let shown = must(house.holdfast().args(["key", "show", "images"]));
    assert!(shown.contains("generated in the token, never extractable"), "{shown}");
    assert!(shown.contains("CKA_NEVER_EXTRACTABLE"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&must(house.holdfast().args(["--json", "key", "list"]))).unwrap();
    assert!(json.to_string().contains("RSA-2048"), "{json}");
    let said = must_fail(house.holdfast().args(["key", "show", "nothing"]));
    assert!(said.contains("nothing"), "{said}");
}

#[test]
fn keys_without_a_rule_are_not_listed() {
    let mut house = House::new().key("images", KeyKind::EcP256);
    house.hsm.generate(&house.token, "secret", &[9], KeyKind::EcP256).unwrap();
    house.configure("secret", "secret", "");
    house.allow(&format!("user = {}\nto = [\"unwrap\"]\nkeys = [\"secret\"]", me() + 1));
    let _daemon = house.start();
    let said = must(house.holdfast().args(["key", "list"]));
    assert!(said.contains("images") && !said.contains("secret"), "{said}");
    must_fail(house.holdfast().args(["key", "export", "secret"]));
}

#[test]
fn status_tells_who_one_is_and_how_the_tokens_do() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    let said = must(house.holdfast().arg("status"));
    assert!(said.contains(&format!("uid {}", me())), "{said}");
    let json: serde_json::Value =
        serde_json::from_str(&must(house.holdfast().args(["--json", "status"]))).unwrap();
    assert!(json.is_object(), "{json}");
}

#[test]
fn without_a_daemon_the_client_says_what_to_do() {
    let house = House::new();
    let said = must_fail(house.holdfast().arg("status"));
    assert!(said.contains("keyprovider.sock"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}
