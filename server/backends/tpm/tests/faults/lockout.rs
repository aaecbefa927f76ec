//! Dictionary attack protection (TPM 2.0 Library Part 1, section 19.8): told where others have brought it about, and
//! never brought about by us.

use holdfast_custody::{Custodian, Error};
use holdfast_wire::KeyUri;

use crate::scene::{EC, Letter, RSA, Scene, letter};

/// A persistent key with the attributes that tpm2_create gives: it is protected, and has no password.
const PROTECTED: &str = "0x81010002";

fn protected(scene: &Scene) -> Letter {
    scene.bus.swtpm().persist(PROTECTED, &["-G", "rsa2048"]).unwrap();
    persistent(scene, PROTECTED)
}

fn persistent(scene: &Scene, handle: &str) -> Letter {
    let uri: KeyUri = format!("tpm:handle={handle}").parse().unwrap();
    let public = scene.connect().describe(&uri).unwrap().public.unwrap();
    letter(uri, &public)
}

/// Wrong passwords for a key of somebody else's, until the TPM takes none.
fn lock(scene: &Scene) {
    scene.bus.swtpm().persist("0x81010009", &["-G", "rsa2048", "-p", "theirs"]).unwrap();
    let cipher = scene.file("cipher");
    std::fs::write(&cipher, [1; 256]).unwrap();
    for _ in 0..8 {
        let (success, said) =
            scene.try_tool("tpm2_rsadecrypt", &["-c", "0x81010009", "-p", "wrong", "-s", "rsaes", &cipher]);
        assert!(!success);
        if said.contains("0x921") {
            return;
        }
    }
    panic!("the TPM does not lock itself");
}

pub(crate) fn counter(scene: &Scene) -> String {
    let said = scene.tool("tpm2_getcap", &["properties-variable"]);
    said.lines().find(|line| line.contains("TPM2_PT_LOCKOUT_COUNTER")).unwrap().to_owned()
}

#[test]
fn a_tpm_that_others_have_locked_is_told_as_locked_and_for_how_long() {
    let scene = Scene::new();
    let (protected, ours) = (protected(&scene), scene.create("ours", EC));
    protected.opens_anew(&scene);
    lock(&scene);
    match protected.open(&mut *scene.connect()) {
        // swtpm forgives one wrong password each 1000 seconds.
        Err(Error::TokenLocked(why)) => {
            assert!(why.contains("1000 s") && why.contains("tpm2_dictionarylockout"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    // What holdfastd makes itself has no password that one could guess, and is never locked.
    ours.opens_anew(&scene);
    scene.tool("tpm2_dictionarylockout", &["--clear-lockout"]);
    protected.opens_anew(&scene);
}

#[test]
fn nothing_that_is_refused_to_us_counts_as_a_guess() {
    let mut scene = Scene::new();
    let (protected, bound) = (protected(&scene), scene.bind("bound", RSA, "sha256:7"));
    let before = counter(&scene);
    assert!(before.ends_with("0x0"), "{before}");
    refused_often(&mut scene, &protected.damaged(), |error| *error == Error::Rejected);
    refused_often(&mut scene, &bound.damaged(), |error| *error == Error::Rejected);
    scene.bus.swtpm().extend_pcr(7).unwrap();
    refused_often(&mut scene, &bound, |error| matches!(error, Error::StateRefused { .. }));
    assert_eq!(counter(&scene), before);
    protected.opens_anew(&scene);
}

#[test]
fn a_key_with_a_password_is_tried_without_one_once_at_most() {
    let mut scene = Scene::new();
    scene.bus.swtpm().persist("0x81010003", &["-G", "rsa2048", "-p", "theirs"]).unwrap();
    let letter = persistent(&scene, "0x81010003");
    refused_often(&mut scene, &letter, |error| matches!(error, Error::KeyUnfit(_)));
    let after = counter(&scene);
    assert!(after.ends_with("0x0") || after.ends_with("0x1"), "{after}");
}

#[test]
fn what_was_refused_without_its_password_is_remembered_across_a_restart() {
    let scene = Scene::new();
    scene.bus.swtpm().persist("0x81010003", &["-G", "rsa2048", "-p", "theirs"]).unwrap();
    let letter = persistent(&scene, "0x81010003");
    let state = tempfile::tempdir().unwrap();
    for start in 0..5 {
        // As often as the daemon starts, nothing of an earlier one is in memory.
        let tcti = scene.bus.tcti().parse().unwrap();
        let token = holdfast_tpm::Token::new(tcti).with_state_dir(state.path().to_owned());
        match letter.open(&mut *token.connect().unwrap()) {
            Err(Error::KeyUnfit(why)) => {
                let says = if start == 0 { "password" } else { "is not tried again" };
                assert!(why.contains(says), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    let after = counter(&scene);
    assert!(after.ends_with("0x0") || after.ends_with("0x1"), "{after}");
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1);
}

/// Over one connection and over others: more often than a TPM forgives.
fn refused_often(scene: &mut Scene, letter: &Letter, expected: impl Fn(&Error) -> bool) {
    let check = |token: &mut dyn Custodian| {
        let error = letter.open(token).unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    let mut kept = scene.connect();
    for _ in 0..5 {
        check(&mut *kept);
        check(&mut *scene.connect());
    }
}
