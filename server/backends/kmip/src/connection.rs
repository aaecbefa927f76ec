//! One connection to one server, as a [`Custodian`].

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_custody::{Custodian, Error, Health, KeyInfo};
use holdfast_wire::{KeyUri, PublicKey, Sealed, Secret};

use crate::ability::{self, Ability};
use crate::attributes::Attributes;
use crate::client::Client;
use crate::token::Shared;
use crate::{evidence, gcm, object, rsa};

pub(crate) struct Connection {
    shared: Arc<Shared>,
    client: Client,
    address: String,
    keys: HashMap<KeyUri, Key>,
}

/// A key that was found, and what it does.
#[derive(Clone)]
struct Key {
    id: String,
    ability: Ability,
}

impl Custodian for Connection {
    fn describe(&mut self, uri: &KeyUri) -> Result<KeyInfo, Error> {
        self.keys.remove(uri);
        let (key, attributes) = self.find(uri)?;
        let info = KeyInfo {
            public: key.ability.public().cloned(),
            operations: key.ability.operations(),
            custody: evidence::of(&key.id, &attributes, &self.client),
        };
        self.keys.insert(uri.clone(), key);
        Ok(info)
    }

    fn open(&mut self, uri: &KeyUri, sealed: &Sealed) -> Result<Secret, Error> {
        let key = self.known(uri)?;
        let opened = open(&mut self.client, &key, sealed);
        self.forget_if_changed(uri, opened)
    }

    fn probe(&mut self) -> Result<Health, Error> {
        self.client.query()?;
        let Client { vendor, version, .. } = &self.client;
        let vendor = if vendor.is_empty() { "a server that does not say what it is" } else { vendor };
        Ok(Health { token: format!("{vendor}, KMIP {version}, at {}", self.address) })
    }

    fn rest(&mut self) {
        self.shared.look_again();
    }

    fn seal(&mut self, uri: &KeyUri, secret: &Secret) -> Result<Sealed, Error> {
        let key = self.known(uri)?;
        if key.ability != Ability::Aes {
            return Err(Error::Unsupported("sealing"));
        }
        let sealed = gcm::seal(&mut self.client, &key.id, secret);
        self.forget_if_changed(uri, sealed)
    }
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, client: Client, address: String) -> Connection {
        Connection { shared, client, address, keys: HashMap::new() }
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    fn known(&mut self, uri: &KeyUri) -> Result<Key, Error> {
        if let Some(known) = self.keys.get(uri) {
            return Ok(known.clone());
        }
        let (found, _) = self.find(uri)?;
        self.keys.insert(uri.clone(), found.clone());
        Ok(found)
    }

    /// A key that was destroyed, or whose state was changed, is looked for anew the next time.
    fn forget_if_changed<T>(&mut self, uri: &KeyUri, answer: Result<T, Error>) -> Result<T, Error> {
        if matches!(answer, Err(Error::KeyNotFound | Error::KeyUnfit(_))) {
            self.keys.remove(uri);
        }
        answer
    }

    fn find(&mut self, uri: &KeyUri) -> Result<(Key, Attributes), Error> {
        let id = object::find(&mut self.client, uri)?;
        let attributes = Attributes::fetch(&mut self.client, &id)?;
        // Both in one URI must be true of the key.
        if let Some(name) = uri.text("name")
            && !attributes.names().any(|other| other == name)
        {
            return Err(Error::KeyNotFound);
        }
        let ability = ability::of(&mut self.client, &id, &attributes)?;
        Ok((Key { id, ability }, attributes))
    }
}

fn open(client: &mut Client, key: &Key, sealed: &Sealed) -> Result<Secret, Error> {
    match (&key.ability, sealed) {
        (Ability::Aes, Sealed::AesGcm { iv, ciphertext, tag }) => {
            gcm::open(client, &key.id, iv, ciphertext, tag)
        }
        (
            Ability::Rsa { public: PublicKey::Rsa(public), ways },
            Sealed::RsaOaep { ciphertext, .. } | Sealed::RsaPkcs1v15 { ciphertext },
        ) => {
            let Some(way) = ways.iter().find(|way| way.operation() == sealed.operation()) else {
                return Err(Error::Unsupported(sealed.operation().name()));
            };
            // Its length is no secret, and the server need not be asked.
            if ciphertext.len() != public.modulus.len() {
                return Err(Error::Rejected);
            }
            rsa::open(client, &key.id, *way, ciphertext)
        }
        _ => Err(Error::Unsupported(sealed.operation().name())),
    }
}
