//! A TPM that goes away, comes back, or comes back as another.

use std::fs;

use holdfast_custody::Error;
use hsm_sim::{Swtpm, Then, TpmCommand};

use crate::scene::{EC, RSA, Scene};

#[test]
fn a_tpm_that_is_killed_in_the_middle_of_a_request_serves_when_it_is_back() {
    let scene = Scene::new();
    let letters = [scene.bind("rsa", RSA, "sha256:7"), scene.create("ec", EC)];
    for command in [
        TpmCommand::RSA_DECRYPT,
        TpmCommand::ECDH_ZGEN,
        TpmCommand::POLICY_PCR,
        TpmCommand::LOAD,
        TpmCommand::START_AUTH_SESSION,
    ] {
        let mut token = scene.connect();
        scene.bus.on(command, 1, Then::Kill);
        let answers = letters.each_ref().map(|letter| letter.open(&mut *token));
        assert!(
            answers.iter().any(|answer| matches!(answer, Err(Error::Unavailable(_)))),
            "{command:?}: {answers:?}"
        );
        for (letter, answer) in letters.iter().zip(answers) {
            // Done before it came to that.
            assert!(
                answer.as_ref() == Ok(&letter.plain) || matches!(answer, Err(Error::Unavailable(_))),
                "{command:?}: {answer:?}"
            );
        }
        assert!(matches!(scene.token.connect().map(drop), Err(Error::Unavailable(_))), "it is gone");
        scene.bus.swtpm().restart().unwrap();
        letters.iter().for_each(|letter| letter.opens_anew(&scene));
    }
}

#[test]
fn a_tpm_that_was_cleared_has_another_storage_key_and_says_so_of_the_old_files() {
    let scene = Scene::new();
    let letter = scene.create("images", EC);
    let mut token = scene.connect();
    letter.opens(&mut *token);
    scene.tool("tpm2_clear", &["-c", "p"]);
    for refused in [letter.open(&mut *token), letter.open(&mut *scene.connect())] {
        match refused {
            Err(Error::KeyUnfit(why)) => assert!(why.contains("cleared") && !why.contains('\n'), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    // The file stays as it is; a new key has a new one.
    let before = fs::read(scene.path("images")).unwrap();
    scene.create("new", RSA).opens_anew(&scene);
    assert_eq!(fs::read(scene.path("images")).unwrap(), before);
}

#[test]
fn another_tpm_in_its_place_opens_nothing_and_harms_nothing() {
    let scene = Scene::new();
    let letters = [scene.bind("rsa", RSA, "sha256:7"), scene.create("ec", EC)];
    let mut token = scene.connect();
    letters.iter().for_each(|letter| letter.opens(&mut *token));
    let first = scene.bus.exchange(Swtpm::start().unwrap());
    for letter in &letters {
        for refused in [letter.open(&mut *token), letter.open(&mut *scene.connect())] {
            match refused {
                Err(Error::KeyUnfit(why)) => assert!(why.contains("another TPM's"), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }
    scene.bus.exchange(first);
    // One that was really taken out has lost what was in it.
    scene.tool("tpm2_flushcontext", &["-t"]);
    scene.tool("tpm2_flushcontext", &["-l"]);
    letters.iter().for_each(|letter| letter.opens_anew(&scene));
}
