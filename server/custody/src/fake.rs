//! A custodian in memory, for tests: real keys, real operations, and faults that a test can switch on.
//!
//! It is also the template of the next backend: the shape of [`Fake`]'s four methods, in that order,
//! is what a new crate beside `backends/pkcs11` starts from. It is behind the feature `fake`, which no
//! released binary has.

#![allow(clippy::expect_used, clippy::panic)] // a test's own token: what fails here fails the test

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey,
    PrivateDecryptingKey,
};
use holdfast_wire::{Curve, KeyUri, OaepHash, Operation, PublicKey, Sealed, Secret};
use zeroize::Zeroizing;

use crate::{Custodian, Custody, Error, Health, KeyInfo};

/// A token in memory. Clones are the same token, as two connections to one HSM are.
#[derive(Clone, Default)]
pub struct FakeToken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    keys: Vec<(KeyUri, Arc<FakeKey>)>,
    fault: Option<Fault>,
    generation: u64,
    calls: BTreeMap<&'static str, usize>,
}

/// What a test can have the token do instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every call blocks until the fault is lifted.
    Hangs,
    /// Calls and new connections fail.
    Dead,
    /// `open` rejects everything, as some HSMs do when they are broken; `probe` and `seal` fail.
    Broken,
    /// Somebody logged it out: `open` rejects a good ciphertext, as some tokens do then, and `probe` finds the
    /// connection dead. A new one logs in again, which ends the fault.
    LoggedOut,
    /// The same from so many further calls of `open` on.
    LoggedOutAfter(usize),
    /// Calls panic, as a backend with a fault of its own does.
    Panics,
    /// The PIN is refused at connect.
    RefusesPin,
}

struct FakeKey {
    private: Private,
    info: KeyInfo,
}

enum Private {
    Rsa(OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey),
    Ec(Curve, agreement::PrivateKey),
    Aes(LessSafeKey),
}

impl FakeToken {
    /// A token without keys.
    pub fn new() -> FakeToken {
        FakeToken::default()
    }

    /// Makes an RSA-2048 key inside the token.
    pub fn generate_rsa(&self, uri: &str) -> PublicKey {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("RSA key generation");
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("SPKI");
        let public = PublicKey::from_der(spki.as_ref()).expect("SPKI of our own");
        let pkcs1 = Pkcs1PrivateDecryptingKey::new(key.clone()).expect("PKCS#1 v1.5 key");
        let private = Private::Rsa(OaepPrivateDecryptingKey::new(key).expect("OAEP key"), pkcs1);
        let [sha1, sha256] = [OaepHash::Sha1, OaepHash::Sha256].map(Operation::RsaOaep);
        self.insert(uri, private, Some(public.clone()), vec![sha1, sha256, Operation::RsaPkcs1v15]);
        public
    }

    /// Makes an EC key inside the token.
    pub fn generate_ec(&self, uri: &str, curve: Curve) -> PublicKey {
        let key = agreement::PrivateKey::generate(ecdh(curve)).expect("EC key generation");
        let point = key.compute_public_key().expect("public point");
        let public = PublicKey::ec(curve, point.as_ref()).expect("a point");
        self.insert(uri, Private::Ec(curve, key), Some(public.clone()), vec![Operation::Ecdh]);
        public
    }

    /// Makes an AES-256 key inside the token. It has no public half.
    pub fn generate_aes(&self, uri: &str) {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).expect("random");
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("AES key"));
        self.insert(uri, Private::Aes(key), None, vec![Operation::AesGcm]);
    }

    /// Has the token state another custody of a key.
    pub fn set_custody(&self, uri: &str, custody: &Custody) {
        let uri: KeyUri = uri.parse().expect("a key URI");
        let mut state = self.0.state();
        for (_, key) in state.keys.iter_mut().filter(|(known, _)| *known == uri) {
            let key = Arc::get_mut(key).expect("set_custody comes before the first connection");
            key.info.custody = custody.clone();
        }
    }

    /// Switches a fault on, or lifts it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.0.state().fault = fault;
        self.0.woken.notify_all();
    }

    /// Ends every connection there is: the next call on each finds it dead.
    pub fn restart(&self) {
        self.0.state().generation += 1;
    }

    /// How often "connect", "describe", "open", "probe" or "seal" was called.
    pub fn calls(&self, name: &str) -> usize {
        self.0.state().calls.get(name).copied().unwrap_or(0)
    }

    /// A new connection.
    pub fn connect(&self) -> Result<Box<dyn Custodian>, Error> {
        let state = self.0.enter("connect")?;
        if state.fault == Some(Fault::RefusesPin) {
            return Err(Error::PinRefused("the token refused its PIN".into()));
        }
        Ok(Box::new(Fake { token: self.clone(), generation: state.generation }))
    }

    fn insert(&self, uri: &str, private: Private, public: Option<PublicKey>, operations: Vec<Operation>) {
        let custody = Custody {
            sensitive: Some(true),
            always_sensitive: Some(true),
            extractable: Some(false),
            never_extractable: Some(true),
            local: Some(true),
            evidence: vec![("origin".into(), "made in memory by a test".into())],
        };
        let info = KeyInfo { public, operations, custody };
        let uri = uri.parse().expect("a key URI");
        self.0.state().keys.push((uri, Arc::new(FakeKey { private, info })));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the call and plays the fault that is on.
    fn enter(&self, call: &'static str) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.state();
        *state.calls.entry(call).or_default() += 1;
        while state.fault == Some(Fault::Hangs) {
            state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let (Some(Fault::LoggedOutAfter(calls)), "open") = (state.fault, call) {
            state.fault = Some(calls.checked_sub(1).map_or(Fault::LoggedOut, Fault::LoggedOutAfter));
        }
        match state.fault {
            Some(Fault::Dead) => Err(Error::Unavailable("the token is gone".into())),
            Some(Fault::Panics) => panic!("a backend's own fault"),
            Some(Fault::Broken | Fault::LoggedOut) if call == "open" => Err(Error::Rejected),
            Some(Fault::Broken) if call == "probe" || call == "seal" => {
                Err(Error::Unavailable("the token is broken".into()))
            }
            Some(Fault::LoggedOut) if call == "probe" => {
                Err(Error::Unavailable("nobody is logged in".into()))
            }
            Some(Fault::LoggedOut) if call == "connect" => {
                state.fault = None;
                Ok(state)
            }
            _ => Ok(state),
        }
    }
}

/// One connection.
struct Fake {
    token: FakeToken,
    generation: u64,
}

impl Custodian for Fake {
    fn describe(&mut self, uri: &KeyUri) -> Result<KeyInfo, Error> {
        Ok(self.find("describe", uri)?.info.clone())
    }

    fn open(&mut self, uri: &KeyUri, sealed: &Sealed) -> Result<Secret, Error> {
        let key = self.find("open", uri)?;
        match (&key.private, sealed) {
            (Private::Rsa(key, _), Sealed::RsaOaep { hash, ciphertext }) => {
                let algorithm = match hash {
                    OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
                    OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
                };
                let mut plaintext = vec![0; key.min_output_size()];
                let opened =
                    key.decrypt(algorithm, ciphertext, &mut plaintext, None).map_err(|_| Error::Rejected)?;
                Ok(Secret::copy_of(opened))
            }
            (Private::Rsa(_, key), Sealed::RsaPkcs1v15 { ciphertext }) => {
                let mut plaintext = Zeroizing::new(vec![0; key.min_output_size()]);
                let opened = key.decrypt(ciphertext, &mut plaintext).map_err(|_| Error::Rejected)?;
                Ok(Secret::copy_of(opened))
            }
            (Private::Ec(curve, key), Sealed::Ecdh { curve: theirs, ephemeral }) if curve == theirs => {
                let peer = agreement::UnparsedPublicKey::new(ecdh(*curve), ephemeral);
                agreement::agree(key, peer, Error::Rejected, |z| Ok(Secret::copy_of(z)))
            }
            (Private::Ec(..), Sealed::Ecdh { .. }) => Err(Error::Rejected),
            (Private::Aes(key), Sealed::AesGcm { iv, ciphertext, tag }) => {
                let iv = Nonce::assume_unique_for_key(*iv);
                let mut plaintext = Zeroizing::new(vec![0; ciphertext.len()]);
                key.open_separate_gather(iv, Aad::empty(), ciphertext, tag, &mut plaintext)
                    .map_err(|_| Error::Rejected)?;
                Ok(Secret::new(std::mem::take(&mut *plaintext)))
            }
            (_, sealed) => Err(Error::Unsupported(sealed.operation().name())),
        }
    }

    fn probe(&mut self) -> Result<Health, Error> {
        drop(self.enter("probe")?);
        Ok(Health { token: "a token in memory".into() })
    }

    fn rest(&mut self) {
        drop(self.enter("rest"));
    }

    fn seal(&mut self, uri: &KeyUri, secret: &Secret) -> Result<Sealed, Error> {
        let key = self.find("seal", uri)?;
        let Private::Aes(key) = &key.private else {
            return Err(Error::Unsupported("sealing"));
        };
        let mut iv = [0; 12];
        aws_lc_rs::rand::fill(&mut iv).expect("random");
        let mut buffer = Zeroizing::new(secret.expose().to_vec());
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::empty(), &mut buffer)
            .expect("AES-GCM");
        let ciphertext = std::mem::take(&mut *buffer);
        Ok(Sealed::AesGcm { iv, ciphertext, tag: tag.as_ref().try_into().expect("a tag of 16 bytes") })
    }
}

impl Fake {
    fn enter(&self, call: &'static str) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.token.0.enter(call)?;
        if state.generation != self.generation {
            return Err(Error::Unavailable("the session is closed".into()));
        }
        Ok(state)
    }

    fn find(&self, call: &'static str, uri: &KeyUri) -> Result<Arc<FakeKey>, Error> {
        let state = self.enter(call)?;
        let mut found = state.keys.iter().filter(|(known, _)| uri.is_token_of(known));
        match (found.next(), found.count()) {
            (None, _) => Err(Error::KeyNotFound),
            (Some((_, key)), 0) => Ok(key.clone()),
            (Some(_), others) => Err(Error::KeyAmbiguous(others + 1)),
        }
    }
}

fn ecdh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => &agreement::ECDH_P521,
    }
}
