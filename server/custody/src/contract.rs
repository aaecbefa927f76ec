//! What every backend promises, as a suite it runs against its own real token.
//!
//! A backend's test makes a [`Subject`] and runs [`cases`], each as a test of its own; the subject also
//! says what its token cannot do, so that a missing ability is declared and never skipped by accident.
//!
//! ```text
//! let subject = Arc::new(Subject { connect, keys, missing, ambiguous });
//! let trials = contract::cases(&subject).into_iter()
//!     .map(|case| Trial::test(case.name, move || Ok((case.run)())));
//! ```

#![allow(clippy::expect_used, clippy::panic)] // a failed promise fails the test

use std::sync::Arc;

use aws_lc_rs::agreement;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use holdfast_wire::{Algorithm, Curve, KeyUri, OaepHash, PublicKey, Sealed, Secret};

use crate::{Connect, Custodian, Error};

/// A backend's token, prepared for the suite.
pub struct Subject {
    /// Makes a connection.
    pub connect: Arc<Connect>,
    /// Keys on the token, at least one.
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
    /// Its public half, as known from elsewhere.
    pub public: PublicKey,
    /// Exactly what the token can do with it.
    pub algorithms: Vec<Algorithm>,
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

/// All promises, for this subject.
pub fn cases(subject: &Arc<Subject>) -> Vec<Case> {
    const ALL: &[(&str, Promise)] = &[
        ("it_describes_each_key_with_its_public_half", describes),
        ("its_evidence_tells_where_a_key_came_from", evidence),
        ("it_opens_what_was_sealed_to_the_public_half", opens),
        ("it_says_unsupported_rather_than_emulate", unsupported),
        ("it_rejects_damaged_ciphertexts_and_stays_usable", damaged),
        ("it_rejects_what_was_sealed_to_another_key", other_key),
        ("it_rejects_ciphertexts_of_odd_lengths", odd_lengths),
        ("it_rejects_points_off_the_curve", off_curve),
        ("it_never_takes_the_first_of_several_keys", not_one),
        ("it_answers_a_probe_without_touching_a_key", probes),
        ("it_serves_eight_connections_at_once", at_once),
    ];
    ALL.iter()
        .map(|(name, promise)| {
            let subject = subject.clone();
            Case { name, run: Box::new(move || promise(&subject)) }
        })
        .collect()
}

fn describes(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        let info = token.describe(&key.uri).expect("describe");
        assert_eq!(info.public.as_ref(), Some(&key.public), "{}", key.uri);
        assert_eq!(info.algorithms, key.algorithms, "{}", key.uri);
        assert_eq!(token.describe(&key.uri).expect("again"), info, "the same answer twice");
    }
}

fn evidence(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        let custody = token.describe(&key.uri).expect("describe").custody;
        assert_eq!(custody.is_proven(), key.proven, "{}: {custody:?}", key.uri);
        assert!(!custody.evidence.is_empty(), "{}: no evidence", key.uri);
    }
}

fn opens(subject: &Subject) {
    let mut token = subject.connect();
    subject.each_algorithm(|key, algorithm| {
        for _ in 0..3 {
            let (sealed, expected) = seal(&key.public, algorithm);
            let opened =
                token.open(&key.uri, &sealed).unwrap_or_else(|e| panic!("{} {algorithm}: {e}", key.uri));
            assert!(opened.expose() == expected.expose(), "{} {algorithm}: not what was sealed", key.uri);
        }
    });
}

fn unsupported(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        for algorithm in Algorithm::ALL.iter().filter(|known| !key.algorithms.contains(known)) {
            // What does not fit the key's type is sealed to a key of ours that it does fit.
            let (sealed, _) = match (&key.public, algorithm.oaep_hash()) {
                (PublicKey::Rsa(_), Some(_)) => seal(&key.public, *algorithm),
                (PublicKey::Ec(_), Some(hash)) => {
                    (Sealed::RsaOaep { hash, ciphertext: vec![1; 256] }, Secret::new(vec![]))
                }
                _ => seal(&ephemeral_key(Curve::P256), *algorithm),
            };
            let error = token.open(&key.uri, &sealed).expect_err("opened");
            assert!(matches!(error, Error::Unsupported(_)), "{} {algorithm}: {error:?}", key.uri);
        }
        still_opens(&mut *token, key);
    }
}

fn damaged(subject: &Subject) {
    let mut token = subject.connect();
    subject.each_algorithm(|key, algorithm| {
        let (sealed, _) = seal(&key.public, algorithm);
        let Sealed::RsaOaep { hash, ciphertext } = sealed else {
            return;
        };
        for position in [0, 1, ciphertext.len() / 2, ciphertext.len() - 1] {
            let mut ciphertext = ciphertext.clone();
            ciphertext[position] ^= 1;
            rejects(&mut *token, key, &Sealed::RsaOaep { hash, ciphertext });
        }
        for filler in [0, 0xff] {
            rejects(&mut *token, key, &Sealed::RsaOaep { hash, ciphertext: vec![filler; ciphertext.len()] });
        }
        still_opens(&mut *token, key);
    });
}

fn other_key(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        for other in subject.keys.iter().filter(|other| other.public != key.public) {
            let (PublicKey::Rsa(a), PublicKey::Rsa(b)) = (&key.public, &other.public) else {
                continue;
            };
            if a.bits() == b.bits() && key.algorithms.contains(&Algorithm::RsaOaep) {
                let (sealed, _) = seal(&other.public, Algorithm::RsaOaep);
                rejects(&mut *token, key, &sealed);
            }
        }
        still_opens(&mut *token, key);
    }
}

fn odd_lengths(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        let PublicKey::Rsa(public) = &key.public else {
            continue;
        };
        let whole = public.modulus.len();
        for len in [0, 1, whole - 1, whole + 1, 4 * whole] {
            rejects(&mut *token, key, &Sealed::RsaOaep { hash: OaepHash::Sha1, ciphertext: vec![0x42; len] });
        }
        still_opens(&mut *token, key);
    }
}

fn off_curve(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        let PublicKey::Ec(public) = &key.public else {
            continue;
        };
        let curve = public.curve;
        let mut off = public.point.clone();
        if let Some(last) = off.last_mut() {
            *last ^= 1;
        }
        let truncated = public.point[..public.point.len() - 1].to_vec();
        for ephemeral in [off, truncated, Vec::new(), vec![0]] {
            rejects(&mut *token, key, &Sealed::Ecdh { curve, ephemeral });
        }
        let foreign = if curve == Curve::P256 { Curve::P384 } else { Curve::P256 };
        let (sealed, _) = seal(&ephemeral_key(foreign), Algorithm::EcdhEsA256Kw);
        rejects(&mut *token, key, &sealed);
        still_opens(&mut *token, key);
    }
}

fn not_one(subject: &Subject) {
    let mut token = subject.connect();
    let (sealed, _) = seal(&ephemeral_key(Curve::P256), Algorithm::EcdhEsA256Kw);
    assert_eq!(token.describe(&subject.missing).expect_err("found"), Error::KeyNotFound);
    assert_eq!(token.open(&subject.missing, &sealed).expect_err("opened"), Error::KeyNotFound);
    if let Some(ambiguous) = &subject.ambiguous {
        assert_eq!(token.describe(ambiguous).expect_err("chose one"), Error::KeyAmbiguous(2));
        assert_eq!(token.open(ambiguous, &sealed).expect_err("chose one"), Error::KeyAmbiguous(2));
    }
}

fn probes(subject: &Subject) {
    let mut token = subject.connect();
    let health = token.probe().expect("probe");
    assert!(!health.token.is_empty());
}

fn at_once(subject: &Subject) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut token = subject.connect();
                for key in &subject.keys {
                    still_opens(&mut *token, key);
                }
            });
        }
    });
}

impl Subject {
    fn connect(&self) -> Box<dyn Custodian> {
        (self.connect)().expect("connect")
    }

    fn each_algorithm(&self, mut check: impl FnMut(&SubjectKey, Algorithm)) {
        for key in &self.keys {
            for algorithm in &key.algorithms {
                check(key, *algorithm);
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

fn still_opens(token: &mut dyn Custodian, key: &SubjectKey) {
    if let Some(algorithm) = key.algorithms.first() {
        let (sealed, expected) = seal(&key.public, *algorithm);
        let opened = token.open(&key.uri, &sealed).expect("still opens");
        assert!(opened.expose() == expected.expose());
    }
}

/// Seals a fresh 32-byte key (RSA-OAEP), or makes an ephemeral key and its shared secret (ECDH).
fn seal(public: &PublicKey, algorithm: Algorithm) -> (Sealed, Secret) {
    match (public, algorithm.oaep_hash()) {
        (PublicKey::Rsa(_), Some(hash)) => {
            let spki = public.to_der().expect("SPKI");
            let key = PublicEncryptingKey::from_der(&spki).and_then(|key| {
                OaepPublicEncryptingKey::new(key).map_err(|_| unreachable!("a parsed RSA key does OAEP"))
            });
            let key = key.expect("an RSA key");
            let mut secret = vec![0; 32];
            aws_lc_rs::rand::fill(&mut secret).expect("random");
            let oaep = match hash {
                OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
                OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
            };
            let mut ciphertext = vec![0; key.ciphertext_size()];
            key.encrypt(oaep, &secret, &mut ciphertext, None).expect("encrypt");
            (Sealed::RsaOaep { hash, ciphertext }, Secret::new(secret))
        }
        (PublicKey::Ec(public), None) => {
            let ours = agreement::PrivateKey::generate(ecdh(public.curve)).expect("ephemeral key");
            let ephemeral = ours.compute_public_key().expect("public").as_ref().to_vec();
            let peer = agreement::UnparsedPublicKey::new(ecdh(public.curve), &public.point);
            let z = agreement::agree(&ours, peer, (), |z| Ok(Secret::copy_of(z))).expect("agree");
            (Sealed::Ecdh { curve: public.curve, ephemeral }, z)
        }
        _ => panic!("{algorithm} does not fit {}", public.type_name()),
    }
}

fn ephemeral_key(curve: Curve) -> PublicKey {
    let key = agreement::PrivateKey::generate(ecdh(curve)).expect("ephemeral key");
    PublicKey::ec(curve, key.compute_public_key().expect("public").as_ref()).expect("a point")
}

fn ecdh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => &agreement::ECDH_P521,
    }
}
