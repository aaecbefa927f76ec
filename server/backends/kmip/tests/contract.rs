//! The contract suite of holdfast-custody on a real PyKMIP, each promise a trial.

#![allow(clippy::unwrap_used, clippy::expect_used)] // what fails here fails the test

mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_custody::KeyKind;
use holdfast_custody::contract::{self, Subject, SubjectKey};
use holdfast_wire::{KeyUri, OaepHash, Operation, PublicKey};
use libtest_mimic::{Arguments, Trial};
use support::{Scene, identified, named};

/// The scene lives as long as the trials, and no longer: a static is never dropped.
static SCENE: Mutex<Option<(Arc<Subject>, Scene)>> = Mutex::new(None);

fn main() -> ExitCode {
    let trial = |case: contract::Case| {
        Trial::test(case.name, move || {
            (case.run)();
            Ok(())
        })
    };
    let trials = contract::cases(subject).into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    drop(SCENE.lock().map(|mut scene| scene.take()));
    conclusion.exit_code()
}

fn subject() -> Arc<Subject> {
    let mut scene = SCENE.lock().unwrap_or_else(PoisonError::into_inner);
    scene.get_or_insert_with(make).0.clone()
}

fn make() -> (Arc<Subject>, Scene) {
    let scene = Scene::with_rsa();
    let mut keys = Vec::new();
    for name in ["rsa", "rsa-other"] {
        let made = scene.make(name, KeyKind::Rsa(2048));
        let oaep = [OaepHash::Sha1, OaepHash::Sha256].map(Operation::RsaOaep).to_vec();
        let private = made.uri.text("id").unwrap().to_owned();
        // Its public half as the server gives it out to another program.
        let public = scene.server.locate(name).unwrap().into_iter().find(|id| *id != private).unwrap();
        let pem = scene.server.public_key_pem(&hsm_sim::KmipPair { private, public }).unwrap();
        keys.push(SubjectKey { public: Some(PublicKey::from_pem(&pem).unwrap()), ..key(made.uri, oaep) });
    }
    scene.make("aes", KeyKind::Aes256);
    keys.push(key(named("aes"), vec![Operation::AesGcm]));
    // And what other programs made, and brought in.
    let id = scene.server.create_aes("of-pykmip").unwrap();
    keys.push(key(identified(&id), vec![Operation::AesGcm]));
    scene.server.register_aes("registered", &[7; 32]).unwrap();
    keys.push(key(named("registered"), vec![Operation::AesGcm]));
    for _ in 0..2 {
        scene.server.create_aes("twice").unwrap();
    }
    let token = scene.token.clone();
    let subject = Subject {
        connect: Arc::new(move || token.connect()),
        keys,
        missing: named("nothing"),
        ambiguous: Some(named("twice")),
    };
    (Arc::new(subject), scene)
}

/// PyKMIP states nothing of Extractable and of what once was, so nothing is proven.
fn key(uri: KeyUri, operations: Vec<Operation>) -> SubjectKey {
    SubjectKey { uri, public: None, operations, proven: false }
}
