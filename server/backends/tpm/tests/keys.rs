//! Keys in a real swtpm: what other programs make of them, and what becomes of them on a bad day.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use holdfast_custody::{Binding, Error, KeyKind};
use holdfast_tpm::Record;
use holdfast_wire::{Curve, KeyUri, Sealed};
use support::keys::{EC, RSA, bind, create, open, sealed_to};
use support::{Scene, run};

#[test]
fn tpm2_openssl_decrypts_with_a_key_that_was_made_here() {
    let scene = Scene::new();
    let public = create(&scene, "images", RSA);
    assert_eq!(scene.public("images"), public);
    let at = |name: &str| scene.dir.path().join(name);
    fs::write(at("plain"), [0x5a; 32]).unwrap();
    fs::write(at("pub.pem"), public.to_pem().unwrap()).unwrap();
    // PKCS#1 v1.5: the provider of Debian 12 takes no other padding from pkeyutl.
    let mut encrypt = hsm_sim::command("openssl", "openssl").unwrap();
    encrypt.args(["pkeyutl", "-encrypt", "-pubin", "-inkey"]).arg(at("pub.pem")).arg("-in").arg(at("plain"));
    fs::write(at("cipher"), run(encrypt)).unwrap();
    let mut decrypt = scene.openssl();
    decrypt.args(["pkeyutl", "-provider", "tpm2", "-provider", "base", "-decrypt", "-inkey"]);
    decrypt.arg(scene.path("images")).arg("-in").arg(at("cipher"));
    assert_eq!(run(decrypt), [0x5a; 32]);
}

#[test]
fn a_key_under_a_persistent_storage_key_is_read_by_others_too() {
    let scene = Scene::new();
    scene.swtpm.provision().unwrap();
    let public = create(&scene, "images", EC);
    assert_eq!(scene.public("images"), public);
    assert_eq!(scene.token.connect().unwrap().describe(&scene.uri("images")).unwrap().public, Some(public));
}

#[test]
fn a_persistent_handle_of_tpm2_tools_opens() {
    let scene = Scene::new();
    scene.swtpm.persist("0x81010002", &["-G", "rsa2048"]).unwrap();
    let uri: KeyUri = "tpm:handle=0x81010002".parse().unwrap();
    let mut token = scene.token.connect().unwrap();
    let info = token.describe(&uri).unwrap();
    assert!(info.custody.is_proven(), "{:?}", info.custody);
    let (sealed, plain) = sealed_to(&scene, &info.public.unwrap());
    assert_eq!(open(&mut *token, &uri, &sealed), Ok(plain));
    let missing = "tpm:handle=0x81010003".parse().unwrap();
    assert_eq!(token.describe(&missing).unwrap_err(), Error::KeyNotFound);
}

#[test]
fn a_bound_key_opens_until_a_pcr_is_extended_and_says_which_it_is_bound_to() {
    let scene = Scene::new();
    let public = bind(&scene, "bound", RSA, "sha256:7+11");
    let free = create(&scene, "free", RSA);
    let mut token = scene.token.connect().unwrap();
    let (sealed, plain) = sealed_to(&scene, &public);
    assert_eq!(open(&mut *token, &scene.uri("bound"), &sealed), Ok(plain.clone()));
    // Another PCR is another matter.
    scene.swtpm.extend_pcr(12).unwrap();
    assert_eq!(open(&mut *token, &scene.uri("bound"), &sealed), Ok(plain.clone()));
    scene.swtpm.extend_pcr(11).unwrap();
    let refused = open(&mut *token, &scene.uri("bound"), &sealed);
    let Err(Error::StateRefused { differ, why }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("sha256:7+11") && why.contains("PCR 11 differs"), "{why}");
    assert_eq!(differ, [11]);
    // Without the record of what the PCRs were, only that some differs is known.
    fs::remove_file(Record::path(&scene.path("bound"))).unwrap();
    let refused = open(&mut *token, &scene.uri("bound"), &sealed);
    assert!(matches!(&refused, Err(Error::StateRefused { differ, .. }) if differ.is_empty()), "{refused:?}");
    // It still tells of itself, and the same connection serves other keys.
    assert_eq!(token.describe(&scene.uri("bound")).unwrap().public, Some(public));
    let (sealed, plain) = sealed_to(&scene, &free);
    assert_eq!(open(&mut *token, &scene.uri("free"), &sealed), Ok(plain));
}

#[test]
fn a_key_bound_to_more_pcrs_than_a_tpm_reads_at_once_opens() {
    let scene = Scene::new();
    let public = bind(&scene, "bound", RSA, "sha256:0+1+2+3+4+5+6+7+8+9+11");
    let mut token = scene.token.connect().unwrap();
    let (sealed, plain) = sealed_to(&scene, &public);
    assert_eq!(open(&mut *token, &scene.uri("bound"), &sealed), Ok(plain));
}

#[test]
fn what_a_key_is_bound_to_stands_in_its_evidence() {
    let scene = Scene::new();
    bind(&scene, "bound", EC, "sha256:7");
    create(&scene, "free", EC);
    let mut token = scene.token.connect().unwrap();
    let mut told = |name: &str, evidence: &str| {
        let custody = token.describe(&scene.uri(name)).unwrap().custody;
        custody.evidence.into_iter().find(|(name, _)| name == evidence).unwrap().1
    };
    assert_eq!(told("bound", "bound to"), "sha256:7, exact values");
    assert_eq!(told("bound", "userWithAuth"), "false");
    assert_eq!(told("free", "bound to"), "nothing");
    assert_eq!(told("free", "fixedTPM"), "true");
    assert_eq!(told("free", "TPM manufacturer"), "IBM");
}

#[test]
fn a_policy_that_is_not_the_keys_own_is_refused() {
    let scene = Scene::new();
    bind(&scene, "bound", EC, "sha256:7");
    let pem = fs::read(scene.path("bound")).unwrap();
    let mut file = holdfast_tpm::file::KeyFile::from_pem(&pem).unwrap();
    *file.policy[0].parameters.last_mut().unwrap() ^= 1;
    fs::write(scene.path("other"), file.to_pem().unwrap()).unwrap();
    file.policy.clear();
    fs::write(scene.path("none"), file.to_pem().unwrap()).unwrap();
    let mut token = scene.token.connect().unwrap();
    assert!(matches!(token.describe(&scene.uri("other")), Err(Error::KeyUnfit(_))));
    let point = vec![4; 65];
    let sealed = Sealed::Ecdh { curve: Curve::P256, ephemeral: point };
    let refused = open(&mut *token, &scene.uri("none"), &sealed);
    assert!(matches!(refused, Err(Error::KeyUnfit(_))), "{refused:?}");
}

#[test]
fn a_damaged_key_and_a_key_of_another_tpm_are_unfit_and_harm_nobody() {
    let (scene, other) = (Scene::new(), Scene::new());
    create(&scene, "good", EC);
    create(&other, "foreign", EC);
    fs::copy(other.path("foreign"), scene.path("foreign")).unwrap();
    let good = holdfast_tpm::file::KeyFile::from_pem(&fs::read(scene.path("good")).unwrap()).unwrap();
    let mut damaged = [good.clone(), good.clone(), good.clone(), good.clone()];
    *damaged[0].private.last_mut().unwrap() ^= 1;
    *damaged[1].public.last_mut().unwrap() ^= 1;
    damaged[2].private.clear();
    damaged[3].public.truncate(30);
    for (index, key) in damaged.iter().enumerate() {
        fs::write(scene.path(&format!("damaged-{index}")), key.to_pem().unwrap()).unwrap();
    }
    let mut token = scene.token.connect().unwrap();
    for name in ["foreign", "damaged-0", "damaged-1", "damaged-2", "damaged-3"] {
        let error = token.describe(&scene.uri(name)).unwrap_err();
        assert!(matches!(error, Error::KeyUnfit(_)), "{name}: {error:?}");
        token.describe(&scene.uri("good")).unwrap();
    }
}

#[test]
fn a_file_is_never_overwritten_and_is_its_owners_alone() {
    let scene = Scene::new();
    create(&scene, "images", EC);
    let before = fs::read(scene.path("images")).unwrap();
    assert_eq!(fs::metadata(scene.path("images")).unwrap().permissions().mode() & 0o777, 0o600);
    let again = scene.token.keysmith().unwrap().create(&scene.uri("images"), EC);
    assert!(matches!(again, Err(Error::KeyUnfit(why)) if why.contains("never overwritten")));
    assert_eq!(fs::read(scene.path("images")).unwrap(), before);
    let kind = scene.token.keysmith().unwrap().create(&scene.uri("large"), KeyKind::Rsa(4096));
    assert!(matches!(kind, Err(Error::KeyUnfit(_))));
    assert!(!scene.path("large").exists());
    assert_eq!(fs::read_dir(scene.dir.path()).unwrap().count(), 1);
}

#[test]
fn another_file_of_the_same_name_is_another_key() {
    let scene = Scene::new();
    create(&scene, "images", EC);
    let second = create(&scene, "second", EC);
    let mut token = scene.token.connect().unwrap();
    token.describe(&scene.uri("images")).unwrap();
    fs::rename(scene.path("second"), scene.path("images")).unwrap();
    assert_eq!(token.describe(&scene.uri("images")).unwrap().public, Some(second));
}

#[test]
fn a_tpm_that_was_reset_serves_the_same_connection_or_a_new_one() {
    let mut scene = Scene::new();
    let public = create(&scene, "images", RSA);
    let (sealed, plain) = sealed_to(&scene, &public);
    let mut token = scene.token.connect().unwrap();
    assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain.clone()));
    scene.swtpm.restart().unwrap();
    // What was saved is of no more use, and is made anew without an error.
    assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain.clone()));
    scene.swtpm.kill().unwrap();
    let gone = open(&mut *token, &scene.uri("images"), &sealed);
    assert!(matches!(gone, Err(Error::Unavailable(_))), "{gone:?}");
    assert!(matches!(scene.token.connect().map(drop), Err(Error::Unavailable(_))));
    scene.swtpm.restart().unwrap();
    let mut token = scene.token.connect().unwrap();
    assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain));
}

#[test]
fn a_tpm_that_others_have_filled_is_told_as_such_and_serves_when_they_are_gone() {
    let scene = Scene::new();
    let public = create(&scene, "images", RSA);
    let (sealed, plain) = sealed_to(&scene, &public);
    for _ in 0..3 {
        let context = scene.dir.path().join("theirs").display().to_string();
        scene.tool("tpm2_createprimary", &["-Q", "-C", "n", "-G", "ecc", "-c", &context]);
    }
    let full = scene.token.connect().and_then(|mut token| open(&mut *token, &scene.uri("images"), &sealed));
    assert!(matches!(&full, Err(Error::Unavailable(why)) if why.contains("tpmrm0")), "{full:?}");
    scene.tool("tpm2_flushcontext", &["-t"]);
    let mut token = scene.token.connect().unwrap();
    assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain));
}

#[test]
fn a_key_that_is_made_persistent_opens_by_its_handle_with_the_policy_of_its_file() {
    let scene = Scene::new();
    let uri: KeyUri = format!("{};handle=0x81010005", scene.uri("bound")).parse().unwrap();
    let pcrs = Binding::Current("sha256:7".parse().unwrap());
    let made = scene.token.keysmith().unwrap().create_bound(&uri, RSA, &pcrs).unwrap();
    assert_eq!(made.uri, uri);
    let (sealed, plain) = sealed_to(&scene, &made.info.public.unwrap());
    let mut token = scene.token.connect().unwrap();
    assert_eq!(open(&mut *token, &uri, &sealed), Ok(plain.clone()));
    assert_eq!(scene.tool("tpm2_getcap", &["handles-persistent"]), "- 0x81010005\n");
    // Without the file nobody knows the policy; with another's file it is another key.
    let bare: KeyUri = "tpm:handle=0x81010005".parse().unwrap();
    assert!(
        matches!(open(&mut *token, &bare, &sealed), Err(Error::KeyUnfit(why)) if why.contains("policy alone"))
    );
    create(&scene, "other", RSA);
    let other: KeyUri = format!("{};handle=0x81010005", scene.uri("other")).parse().unwrap();
    assert!(
        matches!(open(&mut *token, &other, &sealed), Err(Error::KeyUnfit(why)) if why.contains("another one"))
    );
    // A place that is taken stays as it is, and no file is made.
    let again: KeyUri = format!("{};handle=0x81010005", scene.uri("again")).parse().unwrap();
    let refused = scene.token.keysmith().unwrap().create(&again, EC);
    assert!(
        matches!(&refused, Err(Error::KeyUnfit(why)) if why.contains("tpm2_evictcontrol")),
        "{refused:?}"
    );
    assert!(!scene.path("again").exists());
    for reserved in ["0x81000001", "0x81800000"] {
        let uri: KeyUri = format!("{};handle={reserved}", scene.uri("again")).parse().unwrap();
        let refused = scene.token.keysmith().unwrap().create(&uri, EC);
        assert!(matches!(&refused, Err(Error::KeyUnfit(why)) if why.contains("is kept for")), "{refused:?}");
    }
    scene.swtpm.extend_pcr(7).unwrap();
    assert!(matches!(open(&mut *token, &uri, &sealed), Err(Error::StateRefused { .. })));
}
