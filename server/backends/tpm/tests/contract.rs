//! The contract suite of holdfast-custody on a real swtpm, each promise a trial.

#![allow(clippy::unwrap_used, clippy::expect_used)] // what fails here fails the test

mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_custody::contract::{self, Subject, SubjectKey};
use holdfast_custody::{Binding, KeyKind, PrivateKey};
use holdfast_wire::{Curve, KeyUri, OaepHash, Operation, PublicKey};
use libtest_mimic::{Arguments, Trial};
use support::Scene;

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
    let scene = Scene::new();
    let mut smith = scene.token.keysmith().unwrap();
    let [sha1, sha256] = [OaepHash::Sha1, OaepHash::Sha256].map(Operation::RsaOaep);
    let rsa = [sha1, sha256, Operation::RsaPkcs1v15];
    let mut keys = Vec::new();
    let kinds = [
        ("rsa-2048", KeyKind::Rsa(2048)),
        ("rsa-2048-other", KeyKind::Rsa(2048)),
        ("p-256", KeyKind::Ec(Curve::P256)),
        ("p-256-other", KeyKind::Ec(Curve::P256)),
        ("p-384", KeyKind::Ec(Curve::P384)),
    ];
    for (name, kind) in kinds {
        smith.create(&scene.uri(name), kind).unwrap();
        keys.push(key(kind, &rsa, scene.uri(name), Some(scene.public(name))));
    }
    let pcrs = Binding::Current("sha256:7+11".parse().unwrap());
    for (name, kind) in [("bound-rsa", KeyKind::Rsa(2048)), ("bound-ec", KeyKind::Ec(Curve::P256))] {
        // tpm2-openssl reads no file with a policy.
        let made = smith.create_bound(&scene.uri(name), kind, &pcrs).unwrap();
        keys.push(key(kind, &rsa, made.uri, made.info.public));
    }
    // And what another program made, whose public halves are what it says.
    scene.genpkey("of-openssl-rsa", &["-algorithm", "RSA", "-pkeyopt", "bits:2048"]);
    keys.push(key(
        KeyKind::Rsa(2048),
        &rsa,
        scene.uri("of-openssl-rsa"),
        Some(scene.public("of-openssl-rsa")),
    ));
    scene.genpkey("of-openssl-ec", &["-algorithm", "EC", "-pkeyopt", "group:P-384"]);
    keys.push(key(
        KeyKind::Ec(Curve::P384),
        &rsa,
        scene.uri("of-openssl-ec"),
        Some(scene.public("of-openssl-ec")),
    ));
    // Keys that were brought in, in plain and sealed, are used like others; they are not proven.
    let to = scene.token.storage_key().unwrap();
    let plain = support::rsa(2048);
    let made = smith.import(&scene.uri("imported"), &plain).unwrap();
    keys.push(imported(KeyKind::Rsa(2048), &rsa, made.uri, &plain));
    let zeros = format!("sha256:7={}", "00".repeat(32));
    for (name, curve, bound) in [
        ("sealed", Curve::P384, None),
        ("sealed-and-bound", Curve::P256, Some(Binding::Exact(zeros.parse().unwrap()))),
    ] {
        let plain = support::ec(curve);
        let pem = holdfast_tpm::seal(&plain, &to, bound.as_ref()).unwrap().to_pem().unwrap();
        let made = smith.import_sealed(&scene.uri(name), pem.as_bytes()).unwrap();
        keys.push(imported(KeyKind::Ec(curve), &rsa, made.uri, &plain));
    }
    let token = scene.token.clone();
    let subject = Subject {
        connect: Arc::new(move || token.connect()),
        keys,
        missing: scene.uri("nothing"),
        ambiguous: None,
    };
    (Arc::new(subject), scene)
}

fn key(kind: KeyKind, rsa: &[Operation], uri: KeyUri, public: Option<PublicKey>) -> SubjectKey {
    let operations = match kind {
        KeyKind::Rsa(_) => rsa.to_vec(),
        _ => vec![Operation::Ecdh],
    };
    SubjectKey { uri, public, operations, proven: true }
}

fn imported(kind: KeyKind, rsa: &[Operation], uri: KeyUri, plain: &PrivateKey) -> SubjectKey {
    SubjectKey { proven: false, ..key(kind, rsa, uri, Some(plain.public().clone())) }
}
