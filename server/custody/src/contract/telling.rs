//! What a token tells of its keys and of itself.

use holdfast_wire::Operation;

use super::Subject;
use super::material::{foreign, random};
use crate::Error;

pub(super) fn describes(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        let info = token.describe(&key.uri).expect("describe");
        assert_eq!(info.public, key.public, "{}", key.uri);
        assert_eq!(info.operations, key.operations, "{}", key.uri);
        assert_eq!(token.describe(&key.uri).expect("again"), info, "the same answer twice");
    }
}

pub(super) fn evidence(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        let custody = token.describe(&key.uri).expect("describe").custody;
        assert_eq!(custody.is_proven(), key.proven, "{}: {custody:?}", key.uri);
        assert!(!custody.evidence.is_empty(), "{}: no evidence", key.uri);
    }
}

pub(super) fn not_one(subject: &Subject) {
    let mut token = subject.connect();
    let sealed = foreign(Operation::Ecdh);
    assert_eq!(token.describe(&subject.missing).expect_err("found"), Error::KeyNotFound);
    assert_eq!(token.open(&subject.missing, &sealed).expect_err("opened"), Error::KeyNotFound);
    let seals = subject.keys.iter().any(|key| key.operations.contains(&Operation::AesGcm));
    if seals {
        assert_eq!(token.seal(&subject.missing, &random(32)).expect_err("sealed"), Error::KeyNotFound);
    }
    if let Some(ambiguous) = &subject.ambiguous {
        assert_eq!(token.describe(ambiguous).expect_err("chose one"), Error::KeyAmbiguous(2));
        assert_eq!(token.open(ambiguous, &sealed).expect_err("chose one"), Error::KeyAmbiguous(2));
        if seals {
            assert_eq!(token.seal(ambiguous, &random(32)).expect_err("chose one"), Error::KeyAmbiguous(2));
        }
    }
}

pub(super) fn probes(subject: &Subject) {
    let mut token = subject.connect();
    let health = token.probe().expect("probe");
    assert!(!health.token.is_empty());
}
