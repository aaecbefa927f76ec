//! A token that knows its TPM by the Name of its storage key.

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_custody::Error;
use holdfast_tpm::Token;
use hsm_sim::{Swtpm, Then, TpmCommand};

use crate::scene::{EC, Scene};

/// The storage key's Name, as tpm2-tools tell it.
fn storage_key(scene: &Scene) -> String {
    let said = scene.tool("tpm2_readpublic", &["-c", "0x81000001"]);
    let name = said.lines().find_map(|line| line.strip_prefix("name: "));
    name.unwrap_or_else(|| panic!("{said}")).trim().to_owned()
}

fn other_tpm() -> Swtpm {
    let swtpm = Swtpm::start().unwrap();
    swtpm.provision().unwrap();
    swtpm
}

fn pinned() -> (Scene, String) {
    let mut scene = Scene::new();
    scene.bus.swtpm().provision().unwrap();
    let name = storage_key(&scene);
    scene.token = token(&scene, &name);
    (scene, name)
}

fn token(scene: &Scene, name: &str) -> Token {
    Token::new(scene.bus.tcti().parse().unwrap()).with_storage_key(name.parse().unwrap())
}

#[test]
fn another_tpm_in_its_place_is_told_by_both_names_and_asked_for_nothing() {
    let (scene, name) = pinned();
    let letter = scene.create("images", EC);
    let mut kept = scene.connect();
    letter.opens(&mut *kept);
    let first = scene.bus.exchange(other_tpm());
    let other = storage_key(&scene);
    let told = |error: Error| match error {
        Error::TokenReplaced(why) => {
            assert!(why.contains(&name) && why.contains(&other) && why.contains("storage_key_name"), "{why}");
        }
        error => panic!("{error:?}"),
    };
    told(kept.probe().unwrap_err());
    told(letter.open(&mut *kept).unwrap_err());
    // Nor is a key made there, on this way or on a new one.
    let made = scene.token.keysmith().and_then(|mut smith| smith.create(&scene.uri("new"), EC));
    told(made.unwrap_err());
    assert!(!scene.path("new").exists());
    told(token(&scene, &name).connect().map(drop).unwrap_err());
    scene.bus.exchange(first);
    letter.opens_anew(&scene);
}

#[test]
fn a_tpm_that_was_cleared_is_another_one() {
    let (scene, _) = pinned();
    let letter = scene.create("images", EC);
    scene.tool("tpm2_clear", &["-c", "p"]);
    let refused = scene.token.connect().and_then(|mut token| letter.open(&mut *token));
    assert!(matches!(refused, Err(Error::TokenReplaced(_))), "{refused:?}");
    // Without the pin it is the file that is to blame.
    let unpinned = Token::new(scene.bus.tcti().parse().unwrap());
    let refused = letter.open(&mut *unpinned.connect().unwrap());
    assert!(matches!(refused, Err(Error::KeyUnfit(_))), "{refused:?}");
}

/// A public half that somebody on the bus puts into the place of a persistent key's would be what images are
/// encrypted to.
#[test]
fn no_public_half_of_somebody_on_the_bus_is_taken_for_a_keys() {
    let (scene, _) = pinned();
    scene.bus.swtpm().persist("0x81010003", &["-G", "rsa2048"]).unwrap();
    let uri = "tpm:handle=0x81010003".parse().unwrap();
    let own = scene.token.connect().unwrap().describe(&uri).unwrap().public;
    scene.bus.on(TpmCommand::READ_PUBLIC, usize::MAX, Then::change(|answer| forge(answer)));
    // Without the pin it is.
    let unpinned = Token::new(scene.bus.tcti().parse().unwrap());
    let forged = unpinned.connect().unwrap().describe(&uri).unwrap().public;
    assert!(forged.is_some() && forged != own);
    let refused = scene.token.connect().and_then(|mut token| token.describe(&uri));
    assert!(!matches!(&refused, Ok(info) if info.public != own), "{refused:?}");
    assert!(refused.is_err(), "{refused:?}");
    scene.bus.behave();
    assert_eq!(scene.token.connect().unwrap().describe(&uri).unwrap().public, own);
}

/// Another RSA modulus in an answer of TPM2_ReadPublic (TPM 2.0 Library Part 3, section 12.4), with the Name that goes with
/// it. Storage keys stay as they are.
fn forge(answer: &mut [u8]) {
    const RSA: [u8; 2] = [0, 1];
    let sessions = usize::from(answer[1] == 2) * 4;
    let at = 10 + sessions;
    let len = usize::from(u16::from_be_bytes([answer[at], answer[at + 1]]));
    let area = at + 2..at + 2 + len;
    if sessions > 0 {
        // Encrypted, and covered by the session's HMAC.
        answer[area.end - 1] ^= 1;
    } else if answer[area.start..area.start + 2] == RSA {
        answer[area.end - 1] ^= 2;
        let name = digest(&SHA256, &answer[area.clone()]);
        answer[area.end + 4..area.end + 36].copy_from_slice(name.as_ref());
    }
}
