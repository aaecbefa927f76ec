//! What becomes of a key in its life, and how keys are made: on a real PyKMIP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use holdfast_custody::{Error, KeyKind, Requirement};
use holdfast_wire::{Curve, Sealed, Secret};
use hsm_sim::{KmipOperation, KmipThen, Leaf, Revocation};
use serde_json::json;
use support::{PATIENCE, Scene, address, identified, named};

fn unfit(error: Error) -> String {
    match error {
        Error::KeyUnfit(why) => why,
        other => panic!("{other:?} instead of KeyUnfit"),
    }
}

fn secret() -> Secret {
    Secret::new(vec![0x5a; 32])
}

#[test]
fn a_key_that_opens_nothing_in_its_state_is_told_so() {
    let scene = Scene::new();
    let pre_active = scene.server.create_pre_active("pre-active").unwrap();
    let compromised = scene.server.create_aes("compromised").unwrap();
    scene.server.revoke(&compromised, Revocation::KeyCompromise).unwrap();
    let mut token = scene.connect();
    for (uri, says) in [
        (identified(&pre_active), "the key is pre-active: it has not been activated yet"),
        (named("pre-active"), "the key is pre-active: it has not been activated yet"),
        (identified(&compromised), "the key is compromised, as the server has it"),
    ] {
        let why = unfit(token.describe(&uri).unwrap_err());
        assert!(why.contains(says), "{uri}: {why}");
        unfit(token.seal(&uri, &secret()).unwrap_err());
    }
    scene.server.activate(&pre_active).unwrap();
    token.describe(&named("pre-active")).unwrap();
}

#[test]
fn nothing_is_sealed_to_a_key_that_was_deactivated_since() {
    let scene = Scene::new();
    let id = scene.server.create_aes("images").unwrap();
    let mut token = scene.connect();
    let uri = named("images");
    let sealed = token.seal(&uri, &secret()).unwrap();
    scene.server.revoke(&id, Revocation::CessationOfOperation).unwrap();
    let why = unfit(token.seal(&uri, &secret()).unwrap_err());
    assert!(why.contains("not active any more") && why.contains("wraps = false"), "{why}");
    // NIST SP 800-57 lets it open, PyKMIP does not; and that is told in PyKMIP's words.
    let opened = unfit(token.open(&uri, &sealed).unwrap_err());
    let described = unfit(token.describe(&uri).unwrap_err());
    for why in [&opened, &described] {
        assert!(
            why.starts_with("the key is deactivated") && why.contains("must be in the Active state"),
            "{why}"
        );
    }
}

#[test]
fn a_key_that_is_destroyed_while_in_use_is_not_found() {
    let scene = Scene::new();
    let id = scene.server.create_aes("images").unwrap();
    let mut token = scene.connect();
    for uri in [named("images"), identified(&id)] {
        token.describe(&uri).unwrap();
    }
    let sealed = token.seal(&named("images"), &secret()).unwrap();
    scene.server.revoke(&id, Revocation::CessationOfOperation).unwrap();
    scene.server.destroy(&id).unwrap();
    for uri in [named("images"), identified(&id)] {
        assert_eq!(token.open(&uri, &sealed).unwrap_err(), Error::KeyNotFound);
        assert_eq!(token.open(&uri, &sealed).unwrap_err(), Error::KeyNotFound);
    }
    token.probe().unwrap();
}

#[test]
fn a_key_that_is_replaced_under_its_name_is_the_new_one() {
    let scene = Scene::new();
    let id = scene.server.create_aes("images").unwrap();
    let mut token = scene.connect();
    let sealed = token.seal(&named("images"), &secret()).unwrap();
    scene.server.revoke(&id, Revocation::CessationOfOperation).unwrap();
    scene.server.destroy(&id).unwrap();
    scene.server.create_aes("images").unwrap();
    assert_eq!(token.open(&named("images"), &sealed).unwrap_err(), Error::KeyNotFound);
    assert_eq!(token.open(&named("images"), &sealed).unwrap_err(), Error::Rejected);
    token.seal(&named("images"), &secret()).unwrap();
}

#[test]
fn wrong_tag_and_wrong_key_are_one_error() {
    let scene = Scene::new();
    for name in ["a", "b"] {
        scene.server.create_aes(name).unwrap();
    }
    let mut token = scene.connect();
    let sealed = token.seal(&named("a"), &secret()).unwrap();
    let Sealed::AesGcm { iv, ciphertext, mut tag } = sealed.clone() else { panic!("{sealed:?}") };
    tag[0] ^= 1;
    let errors = [
        token.open(&named("b"), &sealed).unwrap_err(),
        token.open(&named("a"), &Sealed::AesGcm { iv, ciphertext, tag }).unwrap_err(),
    ];
    assert_eq!(errors, [Error::Rejected, Error::Rejected]);
    assert_eq!(token.open(&named("a"), &sealed).unwrap().expose(), secret().expose());
}

#[test]
fn a_key_of_another_kind_is_unfit() {
    let scene = Scene::new();
    scene.server.register_aes("aes-128", &[7; 16]).unwrap();
    let pair = scene.server.create_rsa("rsa", 2048).unwrap();
    let mut token = scene.connect();
    for (uri, says) in [
        (named("aes-128"), "an AES key of 128 bits"),
        (identified(&pair.public), "a Public Key for RSA"),
        // Whose public half has another name, and no link leads there.
        (named("rsa"), "neither a Link to it nor a public key of the same Name"),
    ] {
        let why = unfit(token.describe(&uri).unwrap_err());
        assert!(why.contains(says), "{uri}: {why}");
    }
}

#[test]
fn name_and_id_must_both_be_the_keys() {
    let scene = Scene::new();
    let id = scene.server.create_aes("images").unwrap();
    let mut token = scene.connect();
    let both = |name: &str| named(name).with("id", id.as_bytes()).unwrap();
    token.describe(&both("images")).unwrap();
    assert_eq!(token.describe(&both("others")).unwrap_err(), Error::KeyNotFound);
    assert_eq!(token.describe(&identified("4711")).unwrap_err(), Error::KeyNotFound);
}

#[test]
fn a_key_of_another_client_is_not_ours() {
    let scene = Scene::new();
    scene.server.create_aes("images").unwrap();
    let stranger = scene.server.authority().issue("stranger", &Leaf::client()).unwrap();
    let mut token = scene.other(vec![address(&scene.server)], &stranger).connect().unwrap();
    assert_eq!(token.describe(&named("images")).unwrap_err(), Error::KeyNotFound);
    token.probe().unwrap();
}

#[test]
fn a_key_that_its_server_denies_us_is_told_as_denied() {
    let scene = Scene::new();
    let owned = scene.server.create_aes("owned").unwrap();
    let seen = scene.server.create_seen_by_all("seen").unwrap();
    let sealed = scene.connect().seal(&named("seen"), &secret()).unwrap();
    let stranger = scene.server.authority().issue("stranger", &Leaf::client()).unwrap();
    let mut token = scene.other(vec![address(&scene.server)], &stranger).connect().unwrap();
    // One it does not even see, by the id; and two by name and id that it sees, but may not use.
    for (uri, refused) in
        [(identified(&owned), "GetAttributes"), (named("seen"), "Decrypt"), (identified(&seen), "Decrypt")]
    {
        for why in [unfit(token.describe(&uri).unwrap_err()), unfit(token.open(&uri, &sealed).unwrap_err())] {
            assert!(why.starts_with(&format!("the server refuses {refused}: ")), "{uri}: {why}");
            assert!(why.ends_with("(reason 0x0c); see the key's state, usage mask and owner there"), "{why}");
        }
    }
    token.probe().unwrap();
}

#[test]
fn a_key_without_the_decrypt_usage_is_told_so_before_it_is_used() {
    let (wire, token) = Scene::new().interposed(PATIENCE);
    let made = json!({"do": "create_aes", "name": "images", "usage": ["ENCRYPT"]});
    wire.server().ask(&[made]).unwrap();
    let why = unfit(token.connect().unwrap().describe(&named("images")).unwrap_err());
    assert!(why.contains("its Cryptographic Usage Mask is without Decrypt"), "{why}");
    assert_eq!(wire.calls(KmipOperation::DECRYPT), 0);
}

#[test]
fn a_made_key_is_active_and_told_with_all_that_the_server_states() {
    let scene = Scene::with_rsa();
    for (name, kind, mask) in
        [("aes", KeyKind::Aes256, "Encrypt, Decrypt"), ("rsa", KeyKind::Rsa(3072), "Decrypt")]
    {
        let made = scene.make(name, kind);
        let id = made.uri.text("id").unwrap();
        let told = |wanted: &str| {
            let found = made.info.custody.evidence.iter().find(|(name, _)| name == wanted);
            found.map_or_else(|| panic!("{wanted} is not told"), |(_, value)| value.as_str())
        };
        assert_eq!(told("State"), "Active");
        assert_eq!(told("Sensitive"), "true");
        // PyKMIP knows no Extractable, and says so when a key is made with it.
        assert_eq!(told("Extractable"), "not told");
        assert_eq!(told("the server does not take"), "Extractable");
        assert_eq!(told("Cryptographic Usage Mask"), mask);
        assert_eq!(told("KMIP version"), "2.0");
        assert!(told("server").starts_with("PyKMIP"));
        assert_eq!(told("Unique Identifier"), id);
        Requirement::default().check(&made.info.custody).unwrap();
        let theirs = scene.server.attributes(id).unwrap();
        assert_eq!(theirs["Sensitive"], true, "{theirs:?}");
        assert_eq!(theirs["State"], "ACTIVE", "{theirs:?}");
    }
}

#[test]
fn a_key_that_its_server_has_made_active_is_good() {
    let (wire, token) = Scene::new().interposed(PATIENCE);
    // Active by the time that we ask for it.
    wire.on(
        KmipOperation::ACTIVATE,
        1,
        KmipThen::first(|server| {
            let id = server.locate("images").unwrap().remove(0);
            server.activate(&id).unwrap();
        }),
    );
    token.keysmith().unwrap().create(&named("images"), KeyKind::Aes256).unwrap();
    assert_eq!(wire.calls(KmipOperation::ACTIVATE), 1);
}

#[test]
fn a_second_key_of_a_name_is_not_made() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let before = scene.server.locate("images").unwrap();
    for kind in [KeyKind::Aes256, KeyKind::Rsa(2048)] {
        let why = unfit(scene.smith().create(&named("images"), kind).unwrap_err());
        assert!(why.contains("has a key of this name already"), "{why}");
    }
    assert_eq!(scene.server.locate("images").unwrap(), before);
}

#[test]
fn a_key_that_the_server_does_not_use_is_destroyed_again() {
    // RSA private keys do not decrypt on PyKMIP as it is.
    let scene = Scene::new();
    let why = unfit(scene.smith().create(&named("rsa"), KeyKind::Rsa(2048)).unwrap_err());
    assert!(why.contains("Only symmetric decryption is currently supported"), "{why}");
    assert!(why.ends_with("it was destroyed again"), "{why}");
    assert_eq!(scene.server.locate("rsa").unwrap(), [""; 0]);
}

#[test]
fn what_cannot_be_made_is_told_and_nothing_is_left() {
    let scene = Scene::new();
    let mut smith = scene.smith();
    for (uri, kind, says) in [
        (named("a"), KeyKind::Ec(Curve::P256), "no ECDH"),
        (identified("1"), KeyKind::Aes256, "leave id= out"),
        ("kmip:server=kms-1".parse().unwrap(), KeyKind::Aes256, "names a key by name="),
    ] {
        let why = unfit(smith.create(&uri, kind).unwrap_err());
        assert!(why.contains(says), "{uri}: {why}");
    }
    assert_eq!(scene.server.locate("a").unwrap(), [""; 0]);
}

#[test]
fn a_key_that_leaves_its_server_is_told_as_not_sensitive() {
    let scene = Scene::new();
    scene.server.register_aes("registered", &[7; 32]).unwrap();
    let custody = scene.connect().describe(&named("registered")).unwrap().custody;
    assert_eq!((custody.sensitive, custody.extractable, custody.local), (Some(false), None, None));
    let why = unfit(Requirement::default().check(&custody).unwrap_err());
    assert!(why.contains("allow_extractable = true"), "{why}");
}
