//! A token that knows its TPM by the Name of its storage key.

use holdfast_custody::Error;
use holdfast_tpm::Token;
use hsm_sim::Swtpm;

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
