//! The contract suite of holdfast-custody on a real PyKMIP, each promise a trial: in KMIP 1.4, and in 2.0, which
//! writes attributes in another way.

#![allow(clippy::unwrap_used, clippy::expect_used)] // what fails here fails the test

mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_custody::KeyKind;
use holdfast_custody::contract::{self, Subject, SubjectKey};
use holdfast_wire::{KeyUri, OaepHash, Operation, PublicKey};
use libtest_mimic::{Arguments, Trial};
use support::{Scene, identified, named};

const VERSIONS: [[u8; 2]; 2] = [[1, 4], [2, 0]];

type Made = (Arc<Subject>, Scene);

/// The scenes live as long as the trials, and no longer: a static is never dropped.
static SCENES: Mutex<[Option<Made>; 2]> = Mutex::new([None, None]);

fn main() -> ExitCode {
    let trials = VERSIONS.iter().enumerate().flat_map(|(at, [major, minor])| {
        contract::cases(move || subject(at)).into_iter().map(move |case| {
            Trial::test(format!("kmip_{major}_{minor}::{}", case.name), move || {
                (case.run)();
                Ok(())
            })
        })
    });
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials.collect());
    drop(SCENES.lock().map(|mut scenes| scenes.each_mut().map(Option::take)));
    conclusion.exit_code()
}

fn subject(at: usize) -> Arc<Subject> {
    let mut scenes = SCENES.lock().unwrap_or_else(PoisonError::into_inner);
    scenes[at].get_or_insert_with(|| make(VERSIONS[at])).0.clone()
}

fn make(version: [u8; 2]) -> Made {
    let scene = Scene::speaking(&[version]);
    let mut keys = Vec::new();
    for name in ["rsa", "rsa-other"] {
        let made = scene.make(name, KeyKind::Rsa(2048));
        let [sha1, sha256] = [OaepHash::Sha1, OaepHash::Sha256].map(Operation::RsaOaep);
        let rsa = vec![sha1, sha256, Operation::RsaPkcs1v15];
        let private = made.uri.text("id").unwrap().to_owned();
        // Its public half as the server gives it out to another program.
        let public = scene.server.locate(name).unwrap().into_iter().find(|id| *id != private).unwrap();
        let pem = scene.server.public_key_pem(&hsm_sim::KmipPair { private, public }).unwrap();
        keys.push(SubjectKey { public: Some(PublicKey::from_pem(&pem).unwrap()), ..key(made.uri, rsa) });
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
