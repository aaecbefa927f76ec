//! The contract suite on Cosmian KMS, a server that shares no code with PyKMIP: what is a habit of one server and what
//! is KMIP. In 2.1, the best that it speaks. `make test-kmip-second` builds the server and runs this; a plain
//! `cargo test` does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod life;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_custody::KeyKind;
use holdfast_custody::contract::{self, Subject, SubjectKey};
use holdfast_wire::{KeyUri, OaepHash, Operation};
use libtest_mimic::{Arguments, Trial};
use server::Server;
use support::{named, rsa_key};

type Made = (Arc<Subject>, Server);

/// The scene lives as long as the trials, and no longer: a static is never dropped.
static SCENE: Mutex<Option<Made>> = Mutex::new(None);

fn main() -> ExitCode {
    let promise = |name: &'static str, run: Box<dyn FnOnce() + Send>| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let cases = contract::cases(subject).into_iter().map(|case| promise(case.name, case.run));
    let own = life::PROMISES.iter().map(|(name, run)| promise(name, Box::new(*run)));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), cases.chain(own).collect());
    drop(SCENE.lock().map(|mut scene| scene.take()));
    conclusion.exit_code()
}

fn subject() -> Arc<Subject> {
    let mut scene = SCENE.lock().unwrap_or_else(PoisonError::into_inner);
    scene.get_or_insert_with(make).0.clone()
}

fn make() -> Made {
    let server = Server::start();
    let token = server.token();
    let smith = || token.keysmith().unwrap();
    let [sha1, sha256] = [OaepHash::Sha1, OaepHash::Sha256].map(Operation::RsaOaep);
    let paddings = vec![sha1, sha256, Operation::RsaPkcs1v15];
    // It tells all of what a made key is, but KMIP has nothing by which it could say that it made it.
    let key = |uri: KeyUri, operations| SubjectKey { uri, public: None, operations, proven: false };
    let rsa = smith().create(&named("rsa"), KeyKind::Rsa(2048)).unwrap();
    let aes = smith().create(&named("aes"), KeyKind::Aes256).unwrap();
    smith().create(&named("aes-other"), KeyKind::Aes256).unwrap();
    // Its public half is known from the file.
    smith().import(&named("imported"), &rsa_key()).unwrap();
    let keys = vec![
        SubjectKey { public: rsa.info.public, ..key(rsa.uri, paddings.clone()) },
        SubjectKey { public: Some(rsa_key().public().clone()), ..key(named("imported"), paddings) },
        key(aes.uri, vec![Operation::AesGcm]),
        key(named("aes-other"), vec![Operation::AesGcm]),
    ];
    let token = token.clone();
    let connect = Arc::new(move || token.connect());
    // Two of one name cannot be made by this program, and this server has no other client here.
    (Arc::new(Subject { connect, keys, missing: named("nothing"), ambiguous: None }), server)
}
