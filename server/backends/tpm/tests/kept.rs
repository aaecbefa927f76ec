//! What stays in the TPM between two requests, for whom it makes room, and what becomes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use holdfast_custody::{Custodian, Error};
use holdfast_tpm::{Name, Token};
use holdfast_wire::Sealed;
use support::Scene;
use support::keys::{EC, RSA, bind, create, open, sealed_to};

fn inside(scene: &Scene) -> String {
    let kinds = ["handles-transient", "handles-loaded-session", "handles-saved-session"];
    kinds.map(|kind| scene.tool("tpm2_getcap", &[kind])).concat()
}

#[test]
fn a_key_and_its_session_stay_until_nobody_needs_them_for_a_while() {
    let scene = Scene::new();
    let public = bind(&scene, "images", RSA, "sha256:7");
    let mut token = scene.token.connect().unwrap();
    assert_eq!(inside(&scene), "");
    let (sealed, plain) = sealed_to(&scene, &public);
    for _ in 0..8 {
        assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain.clone()));
    }
    // One key and one session of each kind: the HMAC session loaded it, the policy session uses it.
    assert_eq!(inside(&scene).lines().count(), 3, "{}", inside(&scene));
    let Sealed::RsaOaep { hash, ciphertext } = &sealed else { panic!() };
    let mut ciphertext = ciphertext.clone();
    ciphertext[9] ^= 1;
    let damaged = Sealed::RsaOaep { hash: *hash, ciphertext };
    assert_eq!(open(&mut *token, &scene.uri("images"), &damaged), Err(Error::Rejected));
    token.rest();
    assert_eq!(inside(&scene), "");
    assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain));
    drop(token);
    assert_eq!(inside(&scene), "");
}

#[test]
fn a_key_that_is_described_leaves_the_tpm_as_it_was() {
    let scene = Scene::new();
    let public = bind(&scene, "images", RSA, "sha256:7");
    let (sealed, _) = sealed_to(&scene, &public);
    let mut token = scene.token.connect().unwrap();
    let state = |token: &mut dyn Custodian| {
        let told = token.describe(&scene.uri("images")).unwrap().custody.evidence;
        told.into_iter().find(|(name, _)| name == "state now").unwrap().1
    };
    assert_eq!(state(&mut *token), "as the key is bound to");
    assert_eq!(inside(&scene), "");
    open(&mut *token, &scene.uri("images"), &sealed).unwrap();
    scene.swtpm.extend_pcr(7).unwrap();
    assert!(state(&mut *token).starts_with("NOT"));
    assert_ne!(inside(&scene), "", "what was in use stays");
}

#[test]
fn more_keys_than_slots_take_turns() {
    let scene = Scene::new();
    let names = ["a", "b", "c", "d"];
    let keys = names.map(|name| (scene.uri(name), sealed_to(&scene, &create(&scene, name, RSA))));
    let mut token = scene.token.connect().unwrap();
    for _ in 0..3 {
        for (uri, (sealed, plain)) in &keys {
            assert_eq!(open(&mut *token, uri, sealed), Ok(plain.clone()));
        }
    }
    assert!(scene.tool("tpm2_getcap", &["handles-transient"]).lines().count() <= 2);
}

#[test]
fn connections_of_one_token_do_not_take_each_others_room() {
    let scene = Scene::new();
    let names = ["a", "b", "c"];
    let keys = names.map(|name| (scene.uri(name), sealed_to(&scene, &bind(&scene, name, RSA, "sha256:7"))));
    let mut tokens: Vec<Box<dyn Custodian>> = names.map(|_| scene.token.connect().unwrap()).into();
    for round in 0..6 {
        let token = &mut tokens[round % 3];
        let (uri, (sealed, plain)) = &keys[round % 3];
        assert_eq!(open(&mut **token, uri, sealed), Ok(plain.clone()));
    }
    // One that leaves takes what is kept along, and the others make it anew.
    tokens.pop();
    let (uri, (sealed, plain)) = &keys[0];
    assert_eq!(open(&mut *tokens[0], uri, sealed), Ok(plain.clone()));
}

#[test]
fn what_somebody_flushes_meanwhile_is_made_anew() {
    let scene = Scene::new();
    let public = bind(&scene, "images", RSA, "sha256:7");
    let (sealed, plain) = sealed_to(&scene, &public);
    let mut token = scene.token.connect().unwrap();
    for flush in ["-t", "-l"] {
        assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain.clone()));
        scene.tool("tpm2_flushcontext", &[flush]);
        assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain.clone()), "after {flush}");
    }
}

#[test]
fn room_is_made_for_others_keys_by_asking_again() {
    let scene = Scene::new();
    let keys = ["a", "b"].map(|name| (scene.uri(name), sealed_to(&scene, &create(&scene, name, RSA))));
    let mut token = scene.token.connect().unwrap();
    for (uri, (sealed, plain)) in &keys {
        assert_eq!(open(&mut *token, uri, sealed), Ok(plain.clone()));
    }
    // Two of ours, and now one of theirs: none is free.
    let context = scene.dir.path().join("theirs").display().to_string();
    scene.tool("tpm2_createprimary", &["-Q", "-C", "n", "-G", "ecc", "-c", &context]);
    let third = sealed_to(&scene, &{
        let mut smith = scene.token.keysmith().unwrap();
        smith.create(&scene.uri("c"), RSA).unwrap().info.public.unwrap()
    });
    assert_eq!(open(&mut *token, &scene.uri("c"), &third.0), Ok(third.1));
}

#[test]
fn an_exclusive_token_flushes_what_it_finds_and_others_leave_it() {
    let scene = Scene::new();
    create(&scene, "images", EC);
    let at = |name: &str| scene.dir.path().join(name).display().to_string();
    let litter = || {
        for _ in 0..2 {
            scene.tool("tpm2_createprimary", &["-Q", "-C", "n", "-G", "ecc", "-c", &at("theirs")]);
        }
        scene.tool("tpm2_startauthsession", &["--policy-session", "-S", &at("session")]);
        scene.tool("tpm2_startauthsession", &["--hmac-session", "-S", &at("hmac")]);
        inside(&scene)
    };
    let left = litter();
    assert_eq!(left.lines().count(), 4, "{left}");
    drop(scene.token.connect().unwrap());
    assert_eq!(inside(&scene), left);
    let exclusive = scene.token.clone().exclusive();
    drop(exclusive.connect().unwrap());
    assert_eq!(inside(&scene), "");
    // What is persistent is nobody's litter.
    scene.swtpm.provision().unwrap();
    drop(exclusive.connect().unwrap());
    assert_eq!(scene.tool("tpm2_getcap", &["handles-persistent"]), "- 0x81000001\n");
}

#[test]
fn only_the_tpm_with_the_pinned_storage_key_is_used() {
    let (scene, other) = (Scene::new(), Scene::new());
    let public = create(&scene, "images", RSA);
    let (sealed, plain) = sealed_to(&scene, &public);
    // The owner hierarchy's storage key, as tpm2-tools make and name it.
    let name = |scene: &Scene| -> Name {
        let at = |name: &str| scene.dir.path().join(name).display().to_string();
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
        let primary = at("primary");
        let make = ["-Q", "-C", "o", "-G", "ecc", "-a", attributes, "-c", &primary];
        scene.tool("tpm2_createprimary", &make);
        scene.tool("tpm2_readpublic", &["-c", &primary, "-n", &at("name")]);
        scene.tool("tpm2_flushcontext", &["-t"]);
        let bytes = std::fs::read(at("name")).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().parse().unwrap()
    };
    let (own, foreign) = (name(&scene), name(&other));
    let pinned = |name| -> Token { scene.token.clone().with_storage_key(name) };
    let mut token = pinned(own).connect().unwrap();
    assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain));
    token.probe().unwrap();
    let evidence = token.describe(&scene.uri("images")).unwrap().custody.evidence;
    assert!(evidence.contains(&("storage key".to_owned(), own.to_string())), "{evidence:?}");
    let refused = pinned(foreign).connect().map(drop);
    let Err(Error::TokenReplaced(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains(&own.to_string()) && why.contains(&foreign.to_string()), "{why}");
    // Cleared, it is another TPM as far as keys go.
    scene.tool("tpm2_clear", &["-c", "p"]);
    token.rest();
    let refused = open(&mut *token, &scene.uri("images"), &sealed);
    assert!(matches!(refused, Err(Error::TokenReplaced(_))), "{refused:?}");
    assert!(matches!(token.probe(), Err(Error::TokenReplaced(_))));
}
