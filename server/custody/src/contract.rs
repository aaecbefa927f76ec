//! What every backend promises, as a suite it runs against its own real token.
//!
//! A backend's test makes a [`Subject`] and runs [`cases`], each as a test of its own; the subject also
//! says exactly what its token can do, so that a missing ability is declared and never skipped by accident.
//!
//! ```text
//! fn subject() -> Arc<Subject> { /* made once, by the first case that runs */ }
//! let trials = contract::cases(subject).into_iter()
//!     .map(|case| Trial::test(case.name, move || Ok((case.run)())));
//! ```

#![allow(clippy::expect_used, clippy::panic)] // a failed promise fails the test

mod material;
mod number;
mod opening;
mod padding;
mod refusing;
mod sealing;
mod telling;

use std::sync::Arc;

use holdfast_wire::{KeyUri, Operation, PublicKey, Sealed, Secret};

pub use self::material::sealed_for;
use self::material::sealed_to;
use crate::{Connect, Custodian, Error};

/// A backend's token, prepared for the suite.
pub struct Subject {
    /// Makes a connection.
    pub connect: Arc<Connect>,
    /// Keys on the token, at least one; best two of a kind, so that each can be given what is the other's.
    pub keys: Vec<SubjectKey>,
    /// A URI that nothing matches.
    pub missing: KeyUri,
    /// A URI that exactly two keys match, where the token can hold such.
    pub ambiguous: Option<KeyUri>,
}

/// A key of the subject.
pub struct SubjectKey {
    /// Its URI.
    pub uri: KeyUri,
    /// Its public half, as known from elsewhere; None for a symmetric key.
    pub public: Option<PublicKey>,
    /// Exactly what the token can do with it, in the order of [`Operation::ALL`].
    pub operations: Vec<Operation>,
    /// Whether it was made in the token and cannot leave it, which the evidence must then show.
    pub proven: bool,
}

/// One promise.
pub struct Case {
    /// The promise, as a test's name.
    pub name: &'static str,
    /// Panics when it is not kept.
    pub run: Box<dyn FnOnce() + Send>,
}

type Promise = fn(&Subject);

/// All promises, for the subject that `subject` gives when a case runs: to name them costs no token.
pub fn cases(subject: impl Fn() -> Arc<Subject> + Clone + Send + 'static) -> Vec<Case> {
    const ALL: &[(&str, Promise)] = &[
        ("it_describes_each_key_with_its_public_half", telling::describes),
        ("its_evidence_tells_where_a_key_came_from", telling::evidence),
        ("it_opens_what_was_sealed_to_the_key", opening::opens),
        ("it_says_unsupported_rather_than_emulate", opening::unsupported),
        ("it_rejects_damaged_ciphertexts_and_stays_usable", refusing::damaged),
        ("it_rejects_what_was_sealed_to_another_key", refusing::other_key),
        ("it_rejects_every_defect_of_a_pkcs1_v1_5_padding", padding::defects),
        ("it_rejects_ciphertexts_of_odd_lengths", refusing::odd_lengths),
        ("it_rejects_points_off_the_curve", refusing::off_curve),
        ("it_seals_with_a_fresh_iv_each_time", sealing::fresh),
        ("it_seals_keys_of_every_length", sealing::every_length),
        ("it_seals_with_symmetric_keys_alone", sealing::symmetric_alone),
        ("it_never_takes_the_first_of_several_keys", telling::not_one),
        ("it_answers_a_probe_without_touching_a_key", telling::probes),
        ("it_serves_eight_connections_at_once", opening::at_once),
    ];
    ALL.iter()
        .map(|(name, promise)| {
            let subject = subject.clone();
            Case { name, run: Box::new(move || promise(&subject())) }
        })
        .collect()
}

impl Subject {
    fn connect(&self) -> Box<dyn Custodian> {
        (self.connect)().expect("connect")
    }

    fn each_operation(&self, mut check: impl FnMut(&SubjectKey, Operation)) {
        for key in &self.keys {
            for operation in &key.operations {
                check(key, *operation);
            }
        }
    }
}

/// One error whatever the damage, and a token that still answers.
fn rejects(token: &mut dyn Custodian, key: &SubjectKey, sealed: &Sealed) {
    match token.open(&key.uri, sealed) {
        Err(Error::Rejected) => {}
        Err(error) => panic!("{}: {error:?} instead of Rejected for {sealed:?}", key.uri),
        Ok(_) => panic!("{}: opened {sealed:?}", key.uri),
    }
    token.probe().expect("a probe after a rejection");
}

/// The same of a PKCS#1 v1.5 padding, for which a token may instead answer with bytes of its own choosing, as OpenSSL
/// does from 3.2 on: nobody learns then that it was bad.
fn rejects_or_replaces(token: &mut dyn Custodian, key: &SubjectKey, sealed: &Sealed, message: &Secret) {
    match token.open(&key.uri, sealed) {
        Err(Error::Rejected) => {}
        Err(error) => panic!("{}: {error:?} instead of Rejected for {sealed:?}", key.uri),
        Ok(opened) => assert!(opened.expose() != message.expose(), "{}: opened {sealed:?}", key.uri),
    }
    token.probe().expect("a probe after a rejection");
}

fn still_opens(token: &mut dyn Custodian, key: &SubjectKey) {
    if let Some(operation) = key.operations.first() {
        let (sealed, expected) = sealed_to(token, key, *operation);
        let opened = token.open(&key.uri, &sealed).expect("still opens");
        assert!(opened.expose() == expected.expose());
    }
}
