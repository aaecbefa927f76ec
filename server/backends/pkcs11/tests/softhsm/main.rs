//! The backend against a real SoftHSM2, reached as in production: by the path of its module.
//!
//! The module reads `SOFTHSM2_CONF` from the environment of the process that loads it, and a process
//! cannot change its own environment while it has threads. So this target has a `main` of its own: it
//! makes a scratch directory and starts itself again with the variable set. In there all trials run in
//! parallel, in one process, on several tokens of the one SoftHSM.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod aes;
mod keys;
mod life;
mod pins;
mod promises;
mod scene;
mod unpad;
mod world;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

/// Set in the process that runs the trials, to the directory of its SoftHSM.
const HOME: &str = "HOLDFAST_TEST_SOFTHSM_HOME";

fn main() -> ExitCode {
    if let Some(scene) = std::env::var_os(scene::NAME) {
        scene::play(scene);
        return ExitCode::SUCCESS;
    }
    match std::env::var_os(HOME) {
        Some(home) => {
            world::enter(home.into());
            run()
        }
        None => start_again(),
    }
}

fn run() -> ExitCode {
    let mut trials = promises::trials();
    let named: &[(&str, fn())] = &[
        ("real_packets_of_skopeo_open_in_the_token", keys::real_packets),
        ("an_imported_key_is_allowed_and_told_as_imported", keys::imported),
        ("what_the_token_says_is_told_by_its_own_names", keys::told),
        ("a_key_that_may_leave_its_token_is_refused", keys::extractable),
        ("two_keys_of_one_label_are_ambiguous_until_an_id_tells_them_apart", keys::twins),
        ("an_ec_key_without_its_public_half_is_unfit", keys::half),
        ("a_public_key_of_another_pair_beside_it_makes_a_key_unfit", keys::foreign_half),
        ("a_public_key_of_another_pair_in_its_place_does_too", keys::foreign_half_alone),
        ("keys_that_cannot_be_used_say_why", keys::unfit),
        ("a_uri_that_names_another_token_finds_nothing", keys::other_token),
        ("no_shared_secret_is_left_on_the_token", keys::nothing_left),
        ("an_aes_key_has_evidence_and_no_public_half", aes::told),
        ("a_secret_and_a_private_key_of_one_label_are_ambiguous", aes::ambiguous),
        ("secret_keys_that_cannot_be_used_say_why", aes::unfit),
        ("nothing_is_sealed_to_an_aes_key_that_can_be_read", aes::readable),
        ("an_aes_key_that_may_not_encrypt_still_opens", aes::opens_only),
        ("aes_gcm_of_the_token_and_of_others_is_one", aes::as_others_do),
        ("rsa_oaep_256_of_skopeo_opens_by_raw_rsa_where_that_is_asked_for", unpad::opens),
        ("every_defect_of_the_padding_is_one_answer", unpad::one_answer),
        ("unpadding_is_for_rsa_keys_alone", unpad::rsa_alone),
        ("unpadding_needs_raw_rsa_among_the_allowed_mechanisms", unpad::allowed_mechanisms),
        ("a_wrong_pin_is_tried_once_in_all_and_not_after_a_restart", pins::wrong),
        ("eight_racing_workers_log_in_once", pins::right),
        ("without_a_pin_there_is_no_login", pins::none),
        ("a_missing_module_is_one_clear_line", life::no_module),
        ("a_missing_token_is_one_clear_line", life::no_token),
        ("two_tokens_of_one_label_need_a_serial", life::twins),
        ("a_key_made_anew_by_another_process_is_found_without_an_error", life::made_anew),
        ("a_logout_elsewhere_costs_nobody_an_error", life::logged_out),
    ];
    trials.extend(named.iter().map(|(name, promise)| {
        Trial::test(*name, move || {
            promise();
            Ok(())
        })
    }));
    // One after another, for they share a SoftHSM: while a tool logs in to one of its tokens, and so writes
    // that token's file anew, the token does not answer anybody else. And a trial counts what it left behind.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let conclusion = libtest_mimic::run(&arguments, trials);
    world::leave();
    conclusion.exit_code()
}

fn start_again() -> ExitCode {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(std::env::args_os().skip(1))
        .env(HOME, scratch.path())
        .env("SOFTHSM2_CONF", scratch.path().join("softhsm2.conf"))
        .status()
        .expect("this program again");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
