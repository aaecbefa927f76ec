//! PCRs that are extended between a policy and the use of its key: TPM_RC_PCR_CHANGED, from the TPM itself.

use holdfast_custody::Error;
use hsm_sim::{Then, TpmCommand};

use crate::scene::{EC, RSA, Scene};

fn extends(number: u8) -> Then {
    Then::first(move |tpm| tpm.extend_pcr(number).unwrap())
}

#[test]
fn a_pcr_that_concerns_nobody_is_extended_meanwhile_and_the_key_opens_all_the_same() {
    let scene = Scene::new();
    for (letter, command) in [
        (scene.bind("rsa", RSA, "sha256:7+11"), TpmCommand::RSA_DECRYPT),
        (scene.bind("ec", EC, "sha256:7+11"), TpmCommand::ECDH_ZGEN),
    ] {
        let mut token = scene.connect();
        letter.opens(&mut *token);
        let before = scene.bus.calls(command);
        scene.bus.on(command, 1, extends(12));
        letter.opens(&mut *token);
        assert_eq!(scene.bus.calls(command), before + 2, "the TPM has refused the first");
    }
}

#[test]
fn a_pcr_of_the_keys_own_is_extended_meanwhile_and_the_key_is_refused_by_name() {
    let scene = Scene::new();
    let (bound, other) = (scene.bind("bound", RSA, "sha256:7+11"), scene.bind("other", EC, "sha256:7"));
    let mut token = scene.connect();
    bound.opens(&mut *token);
    scene.bus.on(TpmCommand::RSA_DECRYPT, 1, extends(11));
    let before = scene.bus.calls(TpmCommand::RSA_DECRYPT);
    match bound.open(&mut *token) {
        Err(Error::StateRefused { why, .. }) => assert!(why.contains("sha256:7+11"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.bus.calls(TpmCommand::RSA_DECRYPT), before + 1, "the policy failed before a second");
    other.opens(&mut *token);
}

#[test]
fn pcrs_that_never_rest_are_a_reason_to_try_again_later_and_no_verdict() {
    let scene = Scene::new();
    let letter = scene.bind("images", RSA, "sha256:7");
    let mut token = scene.connect();
    letter.opens(&mut *token);
    let before = scene.bus.calls(TpmCommand::RSA_DECRYPT);
    scene.bus.on(TpmCommand::RSA_DECRYPT, usize::MAX, extends(12));
    let refused = letter.open(&mut *token);
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert_eq!(scene.bus.calls(TpmCommand::RSA_DECRYPT), before + 2, "retried once");
    scene.bus.behave();
    letter.opens_anew(&scene);
}
