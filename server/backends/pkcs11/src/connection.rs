//! One session on one token, as a [`Custodian`].

use std::collections::HashMap;
use std::sync::Arc;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{KeyType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};
use holdfast_custody::{Custodian, Error, Health, KeyInfo};
use holdfast_wire::{KeyUri, OaepHash, Operation, PublicKey, Sealed, Secret};

use crate::ability::{self, Ability, Place};
use crate::errors::failed;
use crate::module::TokenState;
use crate::{Module, ecdh, evidence, gcm, login, oaep, object, public, slot};

/// A session, and the keys found on it. Object handles mean nothing beyond the session they were found
/// on: when one turns out to be stale the pool drops the whole connection.
pub(crate) struct Connection {
    module: Arc<Module>,
    state: Arc<TokenState>,
    slot: Slot,
    token: TokenInfo,
    session: Session,
    keys: HashMap<KeyUri, Arc<Key>>,
    /// Keys of which OAEP with SHA-256 may be taken off outside the token.
    unpad: Arc<[KeyUri]>,
}

/// What `open` and `seal` need to know of a key.
struct Key {
    handle: ObjectHandle,
    kind: KeyType,
    public: Option<PublicKey>,
    operations: Vec<Operation>,
    /// OAEP with SHA-256 is taken off here, after raw RSA in the token.
    unpads_sha256: bool,
}

impl Custodian for Connection {
    fn describe(&mut self, uri: &KeyUri) -> Result<KeyInfo, Error> {
        self.keys.remove(uri);
        let key = self.find(uri)?;
        let library = self.module.description();
        let mut custody = evidence::gather(&self.session, key.handle, key.kind, &self.token, library)?;
        if key.unpads_sha256 {
            let how = "raw RSA in the token, the padding is taken off in holdfastd";
            custody.evidence.push(("RSA-OAEP-256".into(), how.into()));
        }
        let info = KeyInfo { public: key.public.clone(), operations: key.operations.clone(), custody };
        self.keys.insert(uri.clone(), key);
        Ok(info)
    }

    fn open(&mut self, uri: &KeyUri, sealed: &Sealed) -> Result<Secret, Error> {
        let key = self.known(uri)?;
        let operation = sealed.operation();
        if !key.operations.contains(&operation) {
            return Err(Error::Unsupported(operation.name()));
        }
        let opened = match (&key.public, sealed) {
            (Some(PublicKey::Rsa(public)), Sealed::RsaOaep { hash, ciphertext }) => {
                // Its length is no secret, and a token need not be asked.
                if ciphertext.len() != public.modulus.len() {
                    return Err(Error::Rejected);
                }
                if *hash == OaepHash::Sha256 && key.unpads_sha256 {
                    self.decrypt(key.handle, &Mechanism::RsaX509, ciphertext, operation.name())
                        .and_then(|number| oaep::unpad_sha256(&number, public.modulus.len()))
                } else {
                    self.decrypt(key.handle, &oaep::mechanism(*hash), ciphertext, operation.name())
                }
            }
            (Some(PublicKey::Rsa(public)), Sealed::RsaPkcs1v15 { ciphertext }) => {
                if ciphertext.len() != public.modulus.len() {
                    return Err(Error::Rejected);
                }
                self.decrypt(key.handle, &Mechanism::RsaPkcs, ciphertext, operation.name())
            }
            (Some(PublicKey::Ec(public)), Sealed::Ecdh { curve, ephemeral }) => {
                if public.curve != *curve || PublicKey::ec(*curve, ephemeral).is_err() {
                    return Err(Error::Rejected);
                }
                ecdh::derive(&self.session, key.handle, *curve, ephemeral)
            }
            (None, Sealed::AesGcm { iv, ciphertext, tag }) => {
                gcm::open(&self.session, key.handle, *iv, ciphertext, tag)
            }
            _ => Err(Error::Unsupported(operation.name())),
        };
        self.forget_if_gone(uri, opened)
    }

    fn probe(&mut self) -> Result<Health, Error> {
        if !login::is_user(&self.session)? {
            return Err(login::lost());
        }
        let token = self
            .module
            .context()
            .get_token_info(self.slot)
            .map_err(|error| failed(error, "asking the token what it is"))?;
        if token.serial_number() != self.token.serial_number() || token.label() != self.token.label() {
            return Err(Error::Unavailable("the slot now holds another token".into()));
        }
        if token.error_state() {
            return Err(Error::Unavailable(
                "the token failed a self-test and is in its error state (CKF_ERROR_STATE)".into(),
            ));
        }
        Ok(Health { token: slot::summary(&token) })
    }

    fn seal(&mut self, uri: &KeyUri, secret: &Secret) -> Result<Sealed, Error> {
        let key = self.known(uri)?;
        if !key.operations.contains(&Operation::AesGcm) {
            return Err(Error::Unsupported("sealing"));
        }
        let sealed = gcm::seal(&self.session, key.handle, secret);
        self.forget_if_gone(uri, sealed)
    }
}

impl Connection {
    pub(crate) fn new(
        module: Arc<Module>,
        state: Arc<TokenState>,
        slot: Slot,
        token: TokenInfo,
        session: Session,
    ) -> Connection {
        Connection { module, state, slot, token, session, keys: HashMap::new(), unpad: Arc::default() }
    }

    pub(crate) fn unpadding(self, unpad: Arc<[KeyUri]>) -> Connection {
        Connection { unpad, ..self }
    }

    /// The session, to write to the token; its keys are read through the [`Custodian`].
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether a URI's attributes are those of this token.
    pub(crate) fn is_meant(&self, uri: &KeyUri) -> Result<bool, Error> {
        slot::is_meant(self.module.context(), self.slot, &self.token, uri)
    }

    fn known(&mut self, uri: &KeyUri) -> Result<Arc<Key>, Error> {
        if let Some(known) = self.keys.get(uri) {
            return Ok(known.clone());
        }
        let found = self.find(uri)?;
        self.keys.insert(uri.clone(), found.clone());
        Ok(found)
    }

    fn forget_if_gone<T>(&mut self, uri: &KeyUri, answer: Result<T, Error>) -> Result<T, Error> {
        if matches!(answer, Err(Error::Unavailable(_))) {
            self.keys.remove(uri);
        }
        answer
    }

    fn find(&self, uri: &KeyUri) -> Result<Arc<Key>, Error> {
        // A key's URI may say more of its token than the token's own does.
        if !self.is_meant(uri)? {
            return Err(Error::KeyNotFound);
        }
        let handle = match object::find(&self.session, uri) {
            // A token that is logged out shows no private key at all. By now another worker may have logged in
            // again, so it is asked once more.
            Err(Error::KeyNotFound) if login::is_user(&self.session)? => object::find(&self.session, uri)?,
            Err(Error::KeyNotFound) => return Err(login::lost()),
            found => found?,
        };
        let kind = ability::key_type(&self.session, handle)?;
        let context = self.module.context();
        let place = Place { context, slot: self.slot, session: &self.session, state: &self.state };
        let Ability { operations, unpads_sha256 } =
            ability::of(&place, handle, kind, self.unpad.contains(uri))?;
        let public = match kind {
            KeyType::AES => None,
            _ => Some(public::find(&self.session, handle, kind)?),
        };
        if let Some(PublicKey::Ec(public)) = &public {
            ecdh::prove(&self.session, handle, public)?;
        }
        Ok(Arc::new(Key { handle, kind, public, operations, unpads_sha256 }))
    }

    fn decrypt(
        &self,
        key: ObjectHandle,
        mechanism: &Mechanism<'_>,
        ciphertext: &[u8],
        doing: &'static str,
    ) -> Result<Secret, Error> {
        self.session
            .decrypt(mechanism, key, ciphertext)
            .map(Secret::new)
            .map_err(|error| failed(error, doing))
    }
}
