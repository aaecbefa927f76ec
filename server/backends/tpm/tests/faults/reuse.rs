//! What stays in the TPM from one request to the next, seen on the bus: no command is sent that need not be.

use hsm_sim::TpmCommand;

use crate::lockout::counter;
use crate::scene::{EC, Letter, RSA, Scene};

/// What the bus carries while `work` is done.
fn commands_of(scene: &Scene, work: impl FnOnce()) -> Vec<TpmCommand> {
    let before = scene.bus.commands().len();
    work();
    scene.bus.commands().split_off(before)
}

fn has(commands: &[TpmCommand], command: TpmCommand) -> bool {
    commands.contains(&command)
}

#[test]
fn keys_and_sessions_serve_one_request_after_the_other() {
    let scene = Scene::new();
    let (bound, free) = (scene.bind("bound", RSA, "sha256:7"), scene.create("free", EC));
    let mut token = scene.connect();
    let both = [&bound, &free];
    both.iter().for_each(|letter| letter.opens(&mut *token));
    let once = [TpmCommand::POLICY_RESTART, TpmCommand::POLICY_PCR, TpmCommand::RSA_DECRYPT];
    let commands = commands_of(&scene, || (0..8).for_each(|_| bound.opens(&mut *token)));
    assert_eq!(commands, once.repeat(8));
    let commands = commands_of(&scene, || (0..8).for_each(|_| free.opens(&mut *token)));
    assert_eq!(commands, [TpmCommand::ECDH_ZGEN].repeat(8));
    // Also of both in turn.
    let commands = commands_of(&scene, || {
        for _ in 0..4 {
            both.iter().for_each(|letter| letter.opens(&mut *token));
        }
    });
    assert_eq!(commands, [&once[..], &[TpmCommand::ECDH_ZGEN]].concat().repeat(4));
}

#[test]
fn what_is_refused_leaves_the_session_as_good_as_before() {
    let scene = Scene::new();
    let (bound, free) = (scene.bind("bound", EC, "sha256:7"), scene.create("free", RSA));
    let mut token = scene.connect();
    let both = [&bound, &free];
    both.iter().for_each(|letter| letter.opens(&mut *token));
    for letter in both {
        let damaged = letter.damaged();
        let commands = commands_of(&scene, || {
            for _ in 0..4 {
                assert_eq!(damaged.open(&mut *token), Err(holdfast_custody::Error::Rejected));
                letter.opens(&mut *token);
            }
        });
        assert!(
            !has(&commands, TpmCommand::START_AUTH_SESSION) && !has(&commands, TpmCommand::LOAD),
            "{commands:?}"
        );
    }
}

#[test]
fn more_keys_than_there_are_slots_are_set_aside_and_not_loaded_again() {
    let scene = Scene::new();
    let letters: Vec<Letter> = (0..5).map(|number| scene.create(&format!("key-{number}"), EC)).collect();
    let mut token = scene.connect();
    letters.iter().for_each(|letter| letter.opens(&mut *token));
    let commands = commands_of(&scene, || {
        for _ in 0..3 {
            letters.iter().for_each(|letter| letter.opens(&mut *token));
        }
    });
    for command in [TpmCommand::LOAD, TpmCommand::START_AUTH_SESSION, TpmCommand::CREATE_PRIMARY] {
        assert!(!has(&commands, command), "{commands:?}");
    }
    assert!(has(&commands, TpmCommand::CONTEXT_LOAD), "{commands:?}");
}

#[test]
fn a_handle_that_is_somebody_elses_by_now_is_not_used_for_ours_and_is_no_guess_at_theirs() {
    let scene = Scene::new();
    for letter in [scene.create("free", EC), scene.bind("bound", RSA, "sha256:7")] {
        let mut token = scene.connect();
        letter.opens(&mut *token);
        let ours = scene.tool("tpm2_getcap", &["handles-transient"]);
        scene.tool("tpm2_flushcontext", &["--transient-object"]);
        // A key that is protected against guesses, and would count ours.
        for _ in 0..2 {
            let context = scene.file("theirs");
            scene.tool("tpm2_createprimary", &["-Q", "-C", "o", "-G", "ecc", "-c", &context]);
        }
        scene.tool("tpm2_flushcontext", &["0x80000000"]);
        assert_eq!(scene.tool("tpm2_getcap", &["handles-transient"]), ours, "the same handle");
        letter.opens(&mut *token);
        let counter = counter(&scene);
        assert!(counter.ends_with("0x0") || counter.ends_with("0x1"), "{counter}");
        scene.bus.swtpm().flush().unwrap();
    }
}
