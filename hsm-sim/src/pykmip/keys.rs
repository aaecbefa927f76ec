//! Keys of other people's making: by PyKMIP's own client, as the owner `hsm-sim` would make them.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::{Pykmip, script};
use crate::{Error, program};

/// How PyKMIP calls the usages of a key: Encrypt and Decrypt (KMIP 1.4, section 9.1.3.3.1).
const BOTH: [&str; 2] = ["ENCRYPT", "DECRYPT"];

/// The unique identifiers of a key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmipPair {
    /// Of the private key, which has the name.
    pub private: String,
    /// Of the public key: its name has `.pub` behind it.
    pub public: String,
}

/// Why a key is revoked (KMIP 1.4, section 9.1.3.2.19), and so what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// Somebody else may have it: it becomes Compromised.
    KeyCompromise,
    /// It has served its time: it becomes Deactivated.
    CessationOfOperation,
}

/// What PyKMIP's client shall do, and the file that tells it.
pub(super) struct Order {
    client: Command,
    _file: NamedTempFile,
}

impl Pykmip {
    /// An AES-256 key that the server makes: Active, Sensitive, for Encrypt and Decrypt. Gives back its unique
    /// identifier.
    pub fn create_aes(&self, name: &str) -> Result<String, Error> {
        self.one(json!({"do": "create_aes", "name": name, "usage": BOTH}))
    }

    /// As [`Pykmip::create_aes`], but other clients find it and its attributes too. To use it stays its owner's.
    pub fn create_seen_by_all(&self, name: &str) -> Result<String, Error> {
        self.one(json!({"do": "create_aes", "name": name, "usage": BOTH, "policy": "seen-by-all"}))
    }

    /// As [`Pykmip::create_aes`], but Pre-Active: for [`Pykmip::activate`].
    pub fn create_pre_active(&self, name: &str) -> Result<String, Error> {
        self.one(json!({"do": "create_aes", "name": name, "usage": BOTH, "activate": false}))
    }

    /// An RSA pair of `bits` that the server makes: both Active, the private one for Decrypt.
    pub fn create_rsa(&self, name: &str, bits: u32) -> Result<KmipPair, Error> {
        let answer =
            self.step(json!({"do": "create_rsa", "name": name, "bits": bits, "usage": ["DECRYPT"]}))?;
        Ok(KmipPair { private: text(&answer["private"])?, public: text(&answer["public"])? })
    }

    /// Brings an AES key of 16, 24 or 32 bytes to the server: Active, for Encrypt and Decrypt.
    pub fn register_aes(&self, name: &str, value: &[u8]) -> Result<String, Error> {
        self.one(json!({"do": "register_aes", "name": name, "value": hex(value), "usage": BOTH}))
    }

    /// Brings an RSA private key of `bits` (PKCS #8, DER) to the server: Active, for Decrypt.
    pub fn register_rsa(&self, name: &str, pkcs8: &[u8], bits: u32) -> Result<String, Error> {
        let value = hex(pkcs8);
        self.one(
            json!({"do": "register_rsa", "name": name, "value": value, "bits": bits, "usage": ["DECRYPT"]}),
        )
    }

    /// Makes a Pre-Active key Active.
    pub fn activate(&self, id: &str) -> Result<(), Error> {
        self.step(json!({"do": "activate", "id": id})).map(drop)
    }

    /// Revokes a key.
    pub fn revoke(&self, id: &str, reason: Revocation) -> Result<(), Error> {
        let reason = match reason {
            Revocation::KeyCompromise => "KEY_COMPROMISE",
            Revocation::CessationOfOperation => "CESSATION_OF_OPERATION",
        };
        self.step(json!({"do": "revoke", "id": id, "reason": reason})).map(drop)
    }

    /// Destroys a key, which must not be Active: PyKMIP then knows nothing of it any more.
    pub fn destroy(&self, id: &str) -> Result<(), Error> {
        self.step(json!({"do": "destroy", "id": id})).map(drop)
    }

    /// The unique identifiers of all keys of a name.
    pub fn locate(&self, name: &str) -> Result<Vec<String>, Error> {
        let ids = self.step(json!({"do": "locate", "name": name}))?;
        ids.as_array().ok_or_else(|| strange(&ids))?.iter().map(text).collect()
    }

    /// The server's answer to Get Attributes, by KMIP's names: texts (enumerations in PyKMIP's words, as `ACTIVE`),
    /// numbers, and truth values.
    pub fn attributes(&self, id: &str) -> Result<Map<String, Value>, Error> {
        let answer = self.step(json!({"do": "attributes", "id": id}))?;
        answer.as_object().cloned().ok_or_else(|| strange(&answer))
    }

    /// The key itself, which PyKMIP gives to its owner also where it is Sensitive: the bytes of an AES key, PKCS #8 or
    /// PKCS #1 in DER.
    pub fn get(&self, id: &str) -> Result<Vec<u8>, Error> {
        let value = self.one(json!({"do": "get", "id": id}))?;
        unhex(&value).ok_or_else(|| strange(&value.into()))
    }

    /// The public half of a pair that the server made: SubjectPublicKeyInfo, PEM.
    pub fn public_key_pem(&self, pair: &KmipPair) -> Result<String, Error> {
        let mut file = self.file()?;
        file.write_all(&self.get(&pair.public)?).map_err(Error::io("writing", file.path()))?;
        let mut convert = program::command("openssl", "openssl")?;
        convert.args(["rsa", "-RSAPublicKey_in", "-inform", "DER", "-pubout", "-in"]).arg(file.path());
        program::run(convert, "openssl rsa").map(|pem| String::from_utf8_lossy(&pem).into_owned())
    }

    /// The steps of `hsm-sim/pykmip/client.py`, over one connection, and the answer to each: also those that the
    /// server refuses, as `{"failed": {"reason", "message"}}`.
    pub fn ask(&self, steps: &[Value]) -> Result<Vec<Value>, Error> {
        self.order(self.port, steps)?.carry_out()
    }

    /// The same by another port, to be carried out later.
    pub(super) fn order(&self, port: u16, steps: &[Value]) -> Result<Order, Error> {
        let order = json!({
            "host": Ipv4Addr::LOCALHOST.to_string(),
            "port": port,
            "cert": self.setup.client.certificate,
            "key": self.setup.client.key,
            "ca": self.setup.authority.certificate(),
            "version": self.setup.manner.version().to_string(),
            "steps": steps,
        });
        let mut file = self.file()?;
        file.write_all(order.to_string().as_bytes()).map_err(Error::io("writing", file.path()))?;
        let mut client = script(&self.dir, super::CLIENT.0)?;
        client.arg(file.path());
        Ok(Order { client, _file: file })
    }

    /// One step that must not be refused.
    fn step(&self, step: Value) -> Result<Value, Error> {
        let answer = self.ask(&[step])?.pop().unwrap_or_default();
        match answer.get("failed") {
            Some(failed) => Err(Error::Unexpected(format!("PyKMIP refused: {failed}"))),
            None => Ok(answer),
        }
    }

    fn one(&self, step: Value) -> Result<String, Error> {
        self.step(step).and_then(|answer| text(&answer))
    }

    /// Mode 0600, and gone when it is dropped.
    fn file(&self) -> Result<NamedTempFile, Error> {
        NamedTempFile::new_in(&self.dir).map_err(Error::io("making a file in", &self.dir))
    }
}

impl Order {
    pub(super) fn carry_out(self) -> Result<Vec<Value>, Error> {
        let answers = program::run(self.client, "PyKMIP's client")?;
        serde_json::from_slice(&answers)
            .map_err(|error| Error::Unexpected(format!("PyKMIP's client wrote something strange: {error}")))
    }
}

fn text(value: &Value) -> Result<String, Error> {
    value.as_str().map(str::to_owned).ok_or_else(|| strange(value))
}

/// Without what it was: it may be a key.
fn strange(_: &Value) -> Error {
    Error::Unexpected("PyKMIP's client gave another kind of answer than it was asked for".to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}
