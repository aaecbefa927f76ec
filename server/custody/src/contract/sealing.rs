//! What a token does with its symmetric keys.

use std::collections::HashSet;

use holdfast_wire::{Operation, Sealed};

use super::material::random;
use super::{Subject, still_opens};
use crate::Error;

/// A second use of an iv with one AES-GCM key gives both plaintexts' difference away, and the means to
/// forge (SP 800-38D appendix A).
pub(super) fn fresh(subject: &Subject) {
    let mut connections = [subject.connect(), subject.connect()];
    for key in subject.keys.iter().filter(|key| key.public.is_none()) {
        let secret = random(32);
        let mut seen = HashSet::new();
        for round in 0..64 {
            let sealed = connections[round % 2].seal(&key.uri, &secret).expect("seal");
            let Sealed::AesGcm { iv, ciphertext, .. } = sealed else {
                panic!("{}: sealed as {:?}", key.uri, sealed.operation());
            };
            assert!(seen.insert(iv), "{}: the same iv twice", key.uri);
            assert!(ciphertext != secret.expose(), "{}: not encrypted", key.uri);
        }
    }
}

pub(super) fn every_length(subject: &Subject) {
    let mut token = subject.connect();
    for key in subject.keys.iter().filter(|key| key.public.is_none()) {
        // Content encryption keys of every `enc` (RFC 7518 section 5.1).
        for len in [16, 24, 32, 48, 64] {
            let secret = random(len);
            let sealed = token.seal(&key.uri, &secret).expect("seal");
            let Sealed::AesGcm { ciphertext, .. } = &sealed else {
                panic!("{}: sealed as {:?}", key.uri, sealed.operation());
            };
            assert_eq!(ciphertext.len(), len, "{}", key.uri);
            let opened = token.open(&key.uri, &sealed).expect("open");
            assert!(opened.expose() == secret.expose(), "{} {len}: not what was sealed", key.uri);
        }
    }
}

pub(super) fn symmetric_alone(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        assert_eq!(key.public.is_none(), key.operations.contains(&Operation::AesGcm), "{}", key.uri);
        if key.public.is_some() {
            let error = token.seal(&key.uri, &random(32)).expect_err("sealed");
            assert!(matches!(error, Error::Unsupported(_)), "{}: {error:?}", key.uri);
        }
        still_opens(&mut *token, key);
    }
}
