//! A daemon with a KMIP server beside its PKCS#11 token: PyKMIP, over mutual TLS.

use holdfast_e2e::house::{House, me};
use holdfast_e2e::kmip::{self, configure, make, section};
use holdfast_e2e::tpm::holdfastd;
use holdfast_e2e::{eventually, image, must, must_fail, rpc};
use hsm_sim::{Authority, KeyKind, Leaf, Pykmip, Revocation};
use tonic::{Code, Status};

use crate::tpm::{decrypt, encrypted_to};

/// A house with `images` on its PKCS#11 token, and a KMIP server.
fn house(server: &Pykmip) -> House {
    section(House::new().key("images", KeyKind::EcP256), server, "")
}

async fn wrap(house: &House, alias: &str) -> Result<Vec<u8>, Status> {
    rpc::wrap_key(&house.socket(), &[alias], rpc::optsdata().raw().expose()).await
}

async fn unwrap(house: &House, packet: &[u8]) -> Result<Vec<u8>, Status> {
    rpc::unwrap_key(&house.socket(), packet).await
}

/// What is told to a caller holds nothing of the way to the server.
fn failed(answer: Result<Vec<u8>, Status>, code: Code, says: &str) -> Status {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(says), "{}", status.message());
    for private in ["kmip:", "127.0.0.1", "PyKMIP", ".pem"] {
        assert!(!status.message().contains(private), "told to a caller: {}", status.message());
    }
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aes_key_that_an_operator_made_wraps_and_unwraps() {
    let server = Pykmip::start().unwrap();
    let (house, _) = make(house(&server), "backup", "aes-256");
    let daemon = house.start();
    let packet = wrap(&house, "backup").await.unwrap();
    assert_eq!(unwrap(&house, &packet).await.unwrap(), rpc::optsdata().raw().expose());
    assert_eq!(rpc::open(&house.socket(), &packet).await.unwrap().alias, "backup");
    let audit = house.audit();
    assert!(audit.iter().all(|record| record["kids"] == serde_json::json!(["backup-kid"])), "{audit:?}");
    // What the layer's key is sealed with has not left the server.
    assert_eq!(server.calls("Get"), 0, "{}", server.log());
    assert!(daemon.stop().success());
}

#[test]
fn an_image_that_skopeo_encrypted_offline_opens_with_an_rsa_key() {
    let server = Pykmip::with_rsa().unwrap();
    let (house, public) = make(house(&server), "offline", "rsa-3072");
    let (plain, encrypted) = encrypted_to(&house, &public, "offline");
    let daemon = house.start();
    let opened = house.dir.path().join("opened");
    must(&mut decrypt(&house, &encrypted, &opened));
    assert!(image::same_layers(&plain, &opened));
    assert!(house.audit().iter().all(|record| record["alias"] != "images"));
    assert!(daemon.stop().success());
}

#[test]
fn check_tells_all_that_the_server_states_of_a_key() {
    let server = Pykmip::with_rsa().unwrap();
    let (house, _) = make(house(&server), "backup", "aes-256");
    let (house, _) = make(house, "offline", "rsa-2048");
    let said = must(&mut house.check(&["--tokens"]));
    for part in [
        &format!("kmip:server=kms-1: good: PyKMIP 0.11.0 Software Server, KMIP 2.0, at {}", server.address())
            [..],
        "backup: AES-256, of unproven origin, extractability unproven",
        "kid backup-kid",
        "the token can do A256GCMKW",
        "the token can do RSA-OAEP, RSA-OAEP-256",
        "State = Active",
        "Sensitive = true",
        "Extractable = not told",
        "Never Extractable = not told",
        "Cryptographic Usage Mask = Encrypt, Decrypt",
        "Cryptographic Usage Mask = Decrypt",
        "Cryptographic Length = 256",
        "Initial Date = ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // A key that leaves its server is refused.
    let id = server.register_aes("brought", &[7; 32]).unwrap();
    let house = configure(house, "brought", "kid = \"brought-kid\"");
    let said = must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains(&format!("Unique Identifier = {id}")), "{said}");
    assert!(said.contains("brought: the key's value can be read from its token"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_comes_back_needs_no_restart_of_the_daemon() {
    let mut server = Pykmip::start().unwrap();
    let (house, _) = make(house(&server), "backup", "aes-256");
    let daemon = house.start();
    let (packet, other) = (wrap(&house, "backup").await.unwrap(), wrap(&house, "images").await.unwrap());
    assert!(unwrap(&house, &packet).await.is_ok());
    for _ in 0..2 {
        server.kill().unwrap();
        failed(unwrap(&house, &packet).await, Code::Unavailable, "backup: its token does not answer");
        failed(wrap(&house, "backup").await, Code::Unavailable, "backup: its token does not answer");
        assert!(unwrap(&house, &other).await.is_ok(), "the other token serves on");
        server.restart().unwrap();
        eventually("the server serves again", async || unwrap(&house, &packet).await.is_ok()).await;
    }
    assert!(daemon.log().contains("no connection to the KMIP server"), "{}", daemon.log());
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_up_its_own_keys_alone() {
    let server = Pykmip::start().unwrap();
    let house = section(House::new().key("images", KeyKind::EcP256), &server, "timeout = \"1s\"");
    let (house, _) = make(house, "backup", "aes-256");
    let daemon = house.start();
    let (packet, other) = (wrap(&house, "backup").await.unwrap(), wrap(&house, "images").await.unwrap());
    assert!(unwrap(&house, &packet).await.is_ok());
    server.hang().unwrap();
    let status = unwrap(&house, &packet).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable), "{status:?}");
    assert!(unwrap(&house, &other).await.is_ok());
    server.go_on().unwrap();
    eventually("the server serves again", async || unwrap(&house, &packet).await.is_ok()).await;
    server.hang().unwrap();
    assert!(unwrap(&house, &packet).await.is_err());
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_deactivated_or_destroyed_in_use_is_told_and_the_others_serve_on() {
    let server = Pykmip::start().unwrap();
    let (house, _) = make(house(&server), "going", "aes-256");
    let (house, _) = make(house, "staying", "aes-256");
    let daemon = house.start();
    let (packet, other) = (wrap(&house, "going").await.unwrap(), wrap(&house, "staying").await.unwrap());
    assert!(unwrap(&house, &packet).await.is_ok());
    let id = server.locate("going").unwrap().pop().unwrap();

    server.revoke(&id, Revocation::CessationOfOperation).unwrap();
    failed(wrap(&house, "going").await, Code::FailedPrecondition, "going");
    // PyKMIP opens nothing with it either.
    failed(unwrap(&house, &packet).await, Code::FailedPrecondition, "going");
    assert!(daemon.log().contains("must be in the Active state"), "{}", daemon.log());

    server.destroy(&id).unwrap();
    failed(unwrap(&house, &packet).await, Code::FailedPrecondition, "going");
    failed(wrap(&house, "going").await, Code::FailedPrecondition, "going");
    assert!(daemon.log().contains("no key matches its URI on this token"), "{}", daemon.log());
    assert!(unwrap(&house, &other).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_of_one_name_are_used_by_nobody_until_the_id_says_which() {
    let server = Pykmip::start().unwrap();
    let ids = [server.create_aes("twin").unwrap(), server.create_aes("twin").unwrap()];
    let house = configure(house(&server), "twin", "kid = \"twin-kid\"");
    let said = must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("2 keys match its URI; add id="), "{said}");
    let daemon = house.start();
    failed(wrap(&house, "twin").await, Code::FailedPrecondition, "twin");
    assert!(daemon.stop().success());

    let uri = format!("{};id={}", kmip::uri("twin"), ids[1]);
    let mut house =
        house.section(&format!("[[key]]\nalias = \"second\"\nuri = \"{uri}\"\nkid = \"second-kid\"\n"));
    house.allow(&format!("user = {}\nto = [\"wrap\"]\nkeys = [\"second\"]", me()));
    let _daemon = house.start();
    wrap(&house, "second").await.unwrap();
    assert_eq!(server.calls("Encrypt"), 1, "with one of the two");
}

#[test]
fn a_client_certificate_that_is_not_the_owners_opens_nothing() {
    let server = Pykmip::start().unwrap();
    server.create_aes("backup").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let foreign = Authority::new(scratch.path(), "foreign").unwrap();
    let of_ours = |name: &str, leaf: &Leaf| server.authority().issue(name, leaf).unwrap();
    for (client, says) in [
        (foreign.issue("hsm-sim", &Leaf::client()).unwrap(), "kmip:server=kms-1: "),
        (of_ours("old", &Leaf::client().expired()), "kmip:server=kms-1: "),
        // Whoever made a key owns it.
        (
            of_ours("stranger", &Leaf::client()),
            "backup: kmip:server=kms-1;name=backup: no key matches its URI",
        ),
    ] {
        let house = kmip::section_as(House::new().key("images", KeyKind::EcP256), &server, &client, "");
        let house = configure(house, "backup", "kid = \"backup-kid\"");
        let said = must_fail(&mut house.check(&["--tokens"]));
        let trouble: Vec<&str> = said.lines().filter(|line| line.ends_with("[TROUBLE]")).collect();
        assert!(matches!(trouble[..], [line] if line.trim_start().starts_with(says)), "{said}");
        assert!(said.contains("pkcs11:token=prod: good"), "{said}");
    }
}

#[test]
fn what_cannot_be_made_says_why_and_leaves_nothing() {
    // RSA private keys do not decrypt on PyKMIP as it is.
    let server = Pykmip::start().unwrap();
    let house = house(&server);
    server.create_aes("taken").unwrap();
    for (uri, algorithm, says) in [
        (kmip::uri("taken"), "aes-256", "has a key of this name already"),
        (kmip::uri("a"), "ecc-p256", "no ECDH"),
        (kmip::uri("a"), "rsa-2048", "it was destroyed again"),
        (format!("{};id=7", kmip::uri("a")), "aes-256", "leave id= out"),
        ("kmip:server=kms-2;name=a".into(), "aes-256", "no [[token]] of the configuration matches"),
    ] {
        let said = must_fail(&mut holdfastd(&house, &["key", "create", &uri, "--algorithm", algorithm]));
        assert!(said.contains(says) && said.trim_end().lines().count() == 1, "{uri} {algorithm}: {said}");
    }
    assert_eq!(server.locate("a").unwrap(), [""; 0]);
    assert_eq!(server.locate("taken").unwrap().len(), 1);
}
