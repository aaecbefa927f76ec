//! The contract suite of holdfast-custody, each promise a trial.

use std::sync::{Arc, OnceLock};

use holdfast_custody::contract::{self, Subject, SubjectKey};
use holdfast_wire::{Curve, OaepHash, Operation};
use hsm_sim::KeyKind;
use libtest_mimic::Trial;

use crate::world::{key, vectors, world};

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

fn subject() -> &'static Arc<Subject> {
    static SUBJECT: OnceLock<Arc<Subject>> = OnceLock::new();
    SUBJECT.get_or_init(|| Arc::new(make()))
}

fn make() -> Subject {
    let world = world();
    let token = &world.contract;
    let mut keys: Vec<_> = [
        ("rsa-2048", KeyKind::Rsa2048),
        ("rsa-2048-other", KeyKind::Rsa2048),
        ("rsa-3072", KeyKind::Rsa3072),
        ("p-256", KeyKind::EcP256),
        ("p-256-other", KeyKind::EcP256),
        ("p-384", KeyKind::EcP384),
        ("p-521", KeyKind::EcP521),
        ("aes", KeyKind::Aes256),
        ("aes-other", KeyKind::Aes256),
    ]
    .into_iter()
    .zip(1..)
    .map(|((label, kind), id)| SubjectKey {
        uri: world.generate(token, label, id, kind),
        public: (!kind.is_secret()).then(|| world.public(token, label)),
        operations: match kind {
            // With SHA-1 only: SoftHSM 2.6 answers CKR_ARGUMENTS_BAD to any other hash.
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                vec![Operation::RsaOaep(OaepHash::Sha1), Operation::RsaPkcs1v15]
            }
            KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => vec![Operation::Ecdh],
            KeyKind::Aes256 => vec![Operation::AesGcm],
        },
        proven: true,
    })
    .collect();
    // Whose padding may be taken off outside.
    let unpadded = world.generate(token, "rsa-2048-unpad", 0x30, KeyKind::Rsa2048);
    keys.push(SubjectKey {
        uri: unpadded.clone(),
        public: Some(world.public(token, "rsa-2048-unpad")),
        operations: vec![
            Operation::RsaOaep(OaepHash::Sha1),
            Operation::RsaOaep(OaepHash::Sha256),
            Operation::RsaPkcs1v15,
        ],
        proven: true,
    });
    // And those that Holdfast makes itself.
    let mut smith = world.keysmith(token);
    for (label, kind) in [
        ("made-rsa", holdfast_custody::KeyKind::Rsa(3072)),
        ("made-ec", holdfast_custody::KeyKind::Ec(Curve::P384)),
        ("made-aes", holdfast_custody::KeyKind::Aes256),
    ] {
        let made = smith.create(&key(token, label), kind).unwrap();
        keys.push(SubjectKey {
            uri: made.uri,
            public: made.info.public,
            operations: match kind {
                holdfast_custody::KeyKind::Rsa(_) => {
                    vec![Operation::RsaOaep(OaepHash::Sha1), Operation::RsaPkcs1v15]
                }
                holdfast_custody::KeyKind::Ec(_) => vec![Operation::Ecdh],
                _ => vec![Operation::AesGcm],
            },
            proven: true,
        });
    }
    let pem = vectors().join("keys/rsa2048.pem");
    world.hsm().import(token, "imported", &[0x20], &pem, false).unwrap();
    keys.push(SubjectKey {
        uri: key(token, "imported"),
        public: Some(world.public(token, "imported")),
        operations: vec![Operation::RsaOaep(OaepHash::Sha1), Operation::RsaPkcs1v15],
        proven: false,
    });
    for id in [0x31, 0x32] {
        world.hsm().generate(token, "twin", &[id], KeyKind::EcP256).unwrap();
    }
    Subject {
        connect: world.connector(token, vec![unpadded]),
        keys,
        missing: key(token, "nothing"),
        ambiguous: Some(key(token, "twin")),
    }
}
