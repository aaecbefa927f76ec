//! Answers that are not the TPM's, or not all of it.

use holdfast_custody::Error;
use hsm_sim::{Then, TpmCommand};

use crate::scene::{EC, RSA, Scene};

/// TPM_RC_RETRY, TPM_RC_YIELDED, TPM_RC_TESTING (TPM 2.0 Library Part 2, section 6.6.3).
const LATER: [u32; 3] = [0x922, 0x908, 0x90a];

#[test]
fn an_answer_that_is_cut_off_or_made_up_is_an_error_of_the_way_and_of_no_key() {
    let scene = Scene::new();
    let (rsa, ec) = (scene.create("rsa", RSA), scene.bind("ec", EC, "sha256:7"));
    // A size that nobody has so much memory for; the tag and code of a success.
    let endless = [&[0x80, 0x02][..], &u32::MAX.to_be_bytes(), &[0; 4]].concat();
    let any = [
        Then::cut_off(0),
        Then::cut_off(9),
        Then::Raw(Vec::new()),
        Then::Raw(vec![0xa5; 100]),
        Then::Raw(endless),
    ];
    // What is whole where an answer is nothing but its header, as PolicyPCR's.
    let empty = vec![0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0];
    let longer = [Then::cut_off(10), Then::cut_off(30), Then::Raw(empty)];
    let commands = [
        (&rsa, TpmCommand::RSA_DECRYPT),
        (&ec, TpmCommand::ECDH_ZGEN),
        (&rsa, TpmCommand::START_AUTH_SESSION),
        (&rsa, TpmCommand::LOAD),
    ];
    let cases = commands.iter().flat_map(|(letter, command)| {
        any.iter().chain(&longer).map(move |fault| (*letter, *command, fault.clone()))
    });
    for (letter, command, fault) in
        cases.chain(any.iter().map(|fault| (&ec, TpmCommand::POLICY_PCR, fault.clone())))
    {
        let mut token = scene.connect();
        scene.bus.on(command, 1, fault.clone());
        let answer = letter.open(&mut *token);
        assert!(
            matches!(answer, Err(Error::Unavailable(_) | Error::Internal(_))),
            "{command:?} {fault:?}: {answer:?}"
        );
        scene.bus.behave();
        // Without a resource manager a lost connection leaves there what it used.
        scene.bus.swtpm().flush().unwrap();
        letter.opens_anew(&scene);
    }
}

#[test]
fn a_first_answer_that_is_no_answer_is_no_connection() {
    let scene = Scene::new();
    let letter = scene.create("images", EC);
    for fault in [Then::Raw(Vec::new()), Then::Raw(vec![0xa5; 100]), Then::cut_off(12)] {
        scene.bus.on(TpmCommand::GET_CAPABILITY, usize::MAX, fault.clone());
        let refused = scene.token.connect().map(drop);
        assert!(matches!(refused, Err(Error::Unavailable(_) | Error::Internal(_))), "{fault:?}: {refused:?}");
        scene.bus.behave();
        letter.opens_anew(&scene);
    }
}

#[test]
fn an_answer_that_was_changed_on_the_bus_is_never_taken_for_the_tpms() {
    let scene = Scene::new();
    let letters = [scene.create("rsa", RSA), scene.bind("ec", EC, "sha256:7")];
    for (letter, command) in letters.iter().zip([TpmCommand::RSA_DECRYPT, TpmCommand::ECDH_ZGEN]) {
        // Behind header and size of the parameters: what was opened, encrypted; then the session's HMAC.
        for at in [14, 20, 40] {
            scene.bus.on(command, 1, Then::change(move |answer| answer[at] ^= 1));
            let answer = letter.open(&mut *scene.connect());
            assert!(
                matches!(answer, Err(Error::Unavailable(_) | Error::Internal(_))),
                "{command:?} {at}: {answer:?}"
            );
            scene.bus.swtpm().flush().unwrap();
            letter.opens_anew(&scene);
        }
    }
}

#[test]
fn a_tpm_that_asks_to_be_asked_again_is() {
    let scene = Scene::new();
    let letter = scene.bind("images", RSA, "sha256:7");
    let mut token = scene.connect();
    for code in LATER {
        for command in [
            TpmCommand::START_AUTH_SESSION,
            TpmCommand::LOAD,
            TpmCommand::POLICY_PCR,
            TpmCommand::RSA_DECRYPT,
        ] {
            scene.bus.on(command, 2, Then::Answer(code));
        }
        letter.opens(&mut *token);
    }
}

#[test]
fn a_tpm_that_asks_for_more_time_than_its_library_gives_gets_it() {
    let scene = Scene::new();
    let letter = scene.bind("images", RSA, "sha256:7");
    let mut token = scene.connect();
    letter.opens(&mut *token);
    for code in LATER {
        let before = scene.bus.calls(TpmCommand::RSA_DECRYPT);
        // tpm2-tss by itself gives up after five.
        scene.bus.on(TpmCommand::RSA_DECRYPT, 12, Then::Answer(code));
        letter.opens(&mut *token);
        assert_eq!(scene.bus.calls(TpmCommand::RSA_DECRYPT), before + 13, "{code:#x}");
    }
}
