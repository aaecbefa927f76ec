//! Whoever listens between processor and TPM learns nothing.

use std::fs;

use holdfast_custody::Custodian;
use hsm_sim::{Process, TpmCommand};

use crate::scene::{EC, Letter, RSA, Scene, letter};

const UNWRAPS: usize = 20;

/// The same key, and each time something else sealed to it.
fn letters(scene: &Scene, first: &Letter, token: &mut dyn Custodian) -> Vec<Letter> {
    let public = token.describe(&first.uri).unwrap().public.unwrap();
    assert!(scene.bus.calls(TpmCommand::START_AUTH_SESSION) > 0);
    (0..UNWRAPS).map(|_| letter(first.uri.clone(), &public)).collect()
}

#[test]
fn nothing_that_is_opened_can_be_read_on_the_bus() {
    let scene = Scene::new();
    let keys = [
        (scene.create("rsa", RSA), TpmCommand::RSA_DECRYPT),
        (scene.bind("bound-rsa", RSA, "sha256:7"), TpmCommand::RSA_DECRYPT),
        (scene.create("ec", EC), TpmCommand::ECDH_ZGEN),
        (scene.bind("bound-ec", EC, "sha256:7"), TpmCommand::ECDH_ZGEN),
    ];
    let mut token = scene.connect();
    for (first, command) in &keys {
        let letters = letters(&scene, first, &mut *token);
        let before = scene.bus.calls(*command);
        letters.iter().for_each(|letter| letter.opens(&mut *token));
        // It has seen them all.
        assert_eq!(scene.bus.calls(*command), before + UNWRAPS);
        for letter in &letters {
            assert_eq!(scene.bus.carriers_of(&letter.plain), [], "{}", letter.uri);
            // Nor a part of it: what is encrypted is so from the first byte to the last.
            assert_eq!(scene.bus.carriers_of(&letter.plain[..12]), []);
            assert_eq!(scene.bus.carriers_of(&letter.plain[20..]), []);
        }
    }
}

/// The proof that one would find it.
#[test]
fn what_a_plain_command_opens_is_found_on_the_same_bus() {
    let scene = Scene::new();
    scene.bus.swtpm().persist("0x81010002", &["-G", "rsa2048"]).unwrap();
    let ours = scene.create("ours", RSA);
    let uri = "tpm:handle=0x81010002".parse().unwrap();
    let public = scene.connect().describe(&uri).unwrap().public.unwrap();
    let theirs = letter(uri, &public);
    let cipher = scene.file("cipher");
    fs::write(&cipher, ciphertext(&theirs)).unwrap();
    let mut command = scene.bus.tool("tpm2_rsadecrypt").unwrap();
    command.args(["-c", "0x81010002", "-s", "oaep", &cipher]);
    let mut process = Process::spawn(command, "tpm2_rsadecrypt").unwrap();
    let status = process.wait(std::time::Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{}", process.stderr_text());
    assert_eq!(process.stdout_bytes(), theirs.plain);
    assert_eq!(scene.bus.carriers_of(&theirs.plain), [TpmCommand::RSA_DECRYPT]);
    // And it is no matter of the key: ours opens the same letter unseen.
    ours.opens_anew(&scene);
    assert_eq!(scene.bus.carriers_of(&ours.plain), []);
}

fn ciphertext(letter: &Letter) -> &[u8] {
    match &letter.sealed {
        holdfast_wire::Sealed::RsaOaep { ciphertext, .. } => ciphertext,
        _ => panic!("no RSA"),
    }
}
