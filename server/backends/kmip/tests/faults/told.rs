//! What a server states and PyKMIP does not: other versions, other abilities, other states. And what is asked of it.

use holdfast_custody::{Error, KeyKind};
use holdfast_wire::{Sealed, Secret};
use hsm_sim::{KmipOperation, KmipThen};

use super::support::{PATIENCE, Scene, named};
use super::unavailable;

fn unfit<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::KeyUnfit(why)) => why,
        Err(other) => panic!("{other:?} instead of KeyUnfit"),
        Ok(_) => panic!("it succeeded"),
    }
}

/// Each number of four bytes behind `header` that is `from` becomes `to`.
fn number(header: &'static [u8], from: u8, to: u8) -> KmipThen {
    let with = move |last: u8| [header, &[0, 0, 0, last]].concat();
    KmipThen::change(move |answer| {
        let (from, to) = (with(from), with(to));
        let found: Vec<usize> = answer
            .windows(from.len())
            .enumerate()
            .filter(|(_, window)| *window == from)
            .map(|(at, _)| at)
            .collect();
        assert!(!found.is_empty(), "the answer has no such number");
        for at in found {
            answer[at..at + to.len()].copy_from_slice(&to);
        }
    })
}

const OPERATION: &[u8] = &[0x42, 0, 0x5c, 5, 0, 0, 0, 4];
/// As KMIP 2.0 writes the attribute.
const STATE: &[u8] = &[0x42, 0, 0x8d, 5, 0, 0, 0, 4];

#[test]
fn a_server_below_1_4_opens_no_aes_and_is_told_so() {
    let scene = Scene::speaking(&[[1, 3], [1, 2]]);
    scene.server.register_aes("images", &[7; 32]).unwrap();
    let why = unfit(scene.connect().describe(&named("images")));
    assert!(why.contains("need KMIP 1.4") && why.contains("the server speaks 1.3"), "{why}");
}

#[test]
fn the_best_version_of_both_sides_is_spoken_and_opens_rsa() {
    for (offered, spoken) in [
        (&[[1, 2]][..], "1.2"),
        (&[[1, 3], [1, 2], [1, 0]], "1.3"),
        (&[[1, 4], [1, 1]], "1.4"),
        // It refuses the first question, in 1.2, as a whole.
        (&[[2, 0]], "2.0"),
        (&[[2, 0], [1, 4]], "2.0"),
    ] {
        let scene = Scene::speaking(offered);
        scene.make("images", KeyKind::Rsa(2048));
        let info = scene.connect().describe(&named("images")).unwrap();
        assert_eq!(info.operations.len(), 3);
        let told = info.custody.evidence.iter().find(|(name, _)| name == "KMIP version").unwrap();
        assert_eq!(told.1, spoken, "{offered:?}");
    }
}

#[test]
fn a_server_that_speaks_no_common_version_is_told_so() {
    let scene = Scene::speaking(&[[1, 1], [1, 0]]);
    let why = unavailable(scene.token.connect());
    assert!(why.contains("it must speak one of 1.2, 1.3, 1.4, 2.0 and 2.1"), "{why}");
    assert!(why.contains("it speaks: KMIP 1.2 is not supported by the server"), "{why}");
    let (wire, token) = Scene::new().interposed(PATIENCE);
    // All that it names are of KMIP 7.
    wire.on(
        KmipOperation::DISCOVER_VERSIONS,
        1,
        KmipThen::change(|answer| {
            let major = [0x42, 0, 0x6a, 2, 0, 0, 0, 4, 0, 0, 0];
            for at in 0..answer.len() - major.len() {
                if answer[at..].starts_with(&major) {
                    answer[at + major.len()] = 7;
                }
            }
        }),
    );
    let why = unavailable(token.connect());
    assert!(why.contains("the server speaks none of KMIP 1.2, 1.3, 1.4, 2.0 and 2.1"), "{why}");
}

#[test]
fn a_server_that_only_keeps_keys_is_told_so() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let (wire, token) = scene.interposed(PATIENCE);
    // In its list of operations Decrypt is something else.
    wire.on(KmipOperation::QUERY, 1, number(OPERATION, 0x20, 0x21));
    let why = unfit(token.connect().unwrap().describe(&named("images")));
    assert!(why.contains("keeps keys but does not use them: it offers no Decrypt"), "{why}");
}

#[test]
fn a_deactivated_key_opens_where_its_server_lets_it_and_seals_nothing() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let secret = Secret::new(vec![7; 32]);
    let sealed = scene.connect().seal(&named("images"), &secret).unwrap();
    let (wire, token) = scene.interposed(PATIENCE);
    wire.on(KmipOperation::GET_ATTRIBUTES, 100, number(STATE, 2, 3));
    let mut token = token.connect().unwrap();
    let custody = token.describe(&named("images")).unwrap().custody;
    assert_eq!(custody.evidence[0], ("State".into(), "Deactivated".into()));
    assert_eq!(token.open(&named("images"), &sealed).unwrap().expose(), secret.expose());
    let why = unfit(token.seal(&named("images"), &secret));
    assert!(why.contains("not active any more"), "{why}");
}

#[test]
fn a_server_that_checks_no_tag_is_not_used() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let mut direct = scene.connect();
    let sealed = direct.seal(&named("images"), &Secret::new(vec![7; 32])).unwrap();
    let Sealed::AesGcm { .. } = sealed else { panic!("{sealed:?}") };
    let (wire, token) = scene.interposed(PATIENCE);
    // A refusal without its reason, made a success.
    wire.on(KmipOperation::DECRYPT, 1, number(&[0x42, 0, 0x7f, 5, 0, 0, 0, 4], 1, 0));
    let why = unfit(token.connect().unwrap().describe(&named("images")));
    assert!(why.contains("does not check the tag"), "{why}");
}

#[test]
fn a_private_key_is_never_fetched_and_a_secret_goes_into_encrypt_and_decrypt_alone() {
    let scene = Scene::with_rsa();
    scene.make("rsa", KeyKind::Rsa(2048));
    scene.make("aes", KeyKind::Aes256);
    let (wire, token) = scene.interposed(PATIENCE);
    let mut token = token.connect().unwrap();
    token.describe(&named("rsa")).unwrap();
    // That of the public key.
    assert_eq!(wire.calls(KmipOperation::GET), 1);
    let secret = Secret::new((100..132).collect());
    let sealed = token.seal(&named("aes"), &secret).unwrap();
    token.open(&named("aes"), &sealed).unwrap();
    let decrypt = vec![KmipOperation::DECRYPT];
    let seal = vec![KmipOperation::GET_ATTRIBUTES, KmipOperation::ENCRYPT];
    assert_eq!(wire.carriers_of(secret.expose()), [seal, decrypt.clone(), decrypt]);
    assert_eq!(wire.calls(KmipOperation::GET), 1);
}
