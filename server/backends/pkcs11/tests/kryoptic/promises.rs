//! The contract suite of holdfast-custody, each promise a trial.

use std::sync::{Arc, Mutex, OnceLock};

use holdfast_custody::contract::{self, Subject, SubjectKey};
use holdfast_wire::{Curve, OaepHash, Operation, PublicKey};
use libtest_mimic::Trial;

use crate::token::{self, World, connector, key};

pub(crate) fn trials() -> Vec<Trial> {
    let cases = contract::cases(|| subject().clone()).into_iter();
    let trial = |case: contract::Case| {
        Trial::test(format!("contract::{}", case.name), move || {
            (case.run)();
            Ok(())
        })
    };
    cases.map(trial).collect()
}

pub(crate) fn subject() -> &'static Arc<Subject> {
    static SUBJECT: OnceLock<Arc<Subject>> = OnceLock::new();
    SUBJECT.get_or_init(|| {
        let world = world().lock().unwrap();
        Arc::new(subject_of(&world))
    })
}

pub(crate) fn world() -> &'static Mutex<World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    WORLD.get_or_init(|| Mutex::new(token::make()))
}

fn subject_of(world: &World) -> Subject {
    let rsa = |label, id, bits| of(label, world.rsa(label, id, bits));
    let ec = |label, id, curve| of(label, world.ec(label, id, curve));
    let mut keys = vec![
        rsa("rsa-2048", 1, 2048),
        rsa("rsa-2048-other", 2, 2048),
        rsa("rsa-3072", 3, 3072),
        ec("p-256", 4, Curve::P256),
        ec("p-256-other", 5, Curve::P256),
        ec("p-384", 6, Curve::P384),
        ec("p-521", 7, Curve::P521),
    ];
    for (label, id) in [("aes", 8), ("aes-other", 9)] {
        world.aes(label, id);
        keys.push(SubjectKey {
            uri: key(label),
            public: None,
            operations: vec![Operation::AesGcm],
            proven: true,
        });
    }
    for id in [0x31, 0x32] {
        world.ec("twin", id, Curve::P256);
    }
    Subject { connect: connector(), keys, missing: key("nothing"), ambiguous: Some(key("twin")) }
}

fn of(label: &str, public: PublicKey) -> SubjectKey {
    let operations = match public {
        PublicKey::Rsa(_) => vec![
            Operation::RsaOaep(OaepHash::Sha1),
            Operation::RsaOaep(OaepHash::Sha256),
            Operation::RsaPkcs1v15,
        ],
        _ => vec![Operation::Ecdh],
    };
    SubjectKey { uri: key(label), public: Some(public), operations, proven: true }
}
