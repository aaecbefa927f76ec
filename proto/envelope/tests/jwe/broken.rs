//! Good packets to break, one member at a time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_envelope::jwe::Jwe;
use holdfast_wire::{Algorithm, Labels};
use serde_json::{Value, json};

use crate::josekit_peer::{Form, josekits};
use crate::sealing::sealed_to;
use crate::token;

/// A good packet taken apart: the protected header apart from the rest.
pub(crate) struct Packet {
    protected: Value,
    pub(crate) rest: Value,
}

impl Packet {
    fn of(ways: &[(&str, Algorithm)]) -> Packet {
        Packet::taken_apart(serde_json::from_slice(&sealed_to(ways, &Labels::default())).unwrap())
    }

    fn taken_apart(mut rest: Value) -> Packet {
        let protected = rest.as_object_mut().unwrap().remove("protected").unwrap();
        let protected = URL_SAFE_NO_PAD.decode(protected.as_str().unwrap()).unwrap();
        Packet { protected: serde_json::from_slice(&protected).unwrap(), rest }
    }

    pub(crate) fn rsa() -> Packet {
        Packet::of(&[("rsa2048", Algorithm::RsaOaep)])
    }

    pub(crate) fn ec() -> Packet {
        Packet::of(&[("ec-P-256", Algorithm::EcdhEsA256Kw)])
    }

    pub(crate) fn aes() -> Packet {
        Packet::of(&[(token::AES, Algorithm::A256GcmKw)])
    }

    /// ECDH-ES without key wrap, which we do not write.
    pub(crate) fn direct() -> Packet {
        let compact = josekits("ec-P-256", Algorithm::EcdhEs, "A256GCM", Form::Compact);
        let names = ["protected", "encrypted_key", "iv", "ciphertext", "tag"];
        let members = names.into_iter().zip(compact.split('.')).filter(|(_, text)| !text.is_empty());
        Packet::taken_apart(members.map(|(name, text)| (name.to_owned(), json!(text))).collect())
    }

    pub(crate) fn two() -> Packet {
        Packet::of(&[("rsa2048", Algorithm::RsaOaep), ("ec-P-256", Algorithm::EcdhEsA256Kw)])
    }

    pub(crate) fn with_protected(mut self, name: &str, value: Value) -> Packet {
        self.protected[name] = value;
        self
    }

    pub(crate) fn with_epk(mut self, name: &str, value: Value) -> Packet {
        self.protected["epk"][name] = value;
        self
    }

    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Packet {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = self.rest.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
            _ => parent[name] = value,
        }
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Packet {
        self.protected.as_object_mut().unwrap().remove(name);
        self.rest.as_object_mut().unwrap().remove(name);
        self
    }

    pub(crate) fn without_protected(mut self, name: &str) -> Packet {
        self.protected.as_object_mut().unwrap().remove(name);
        self
    }

    pub(crate) fn compact(self) -> String {
        let protected = URL_SAFE_NO_PAD.encode(self.protected.to_string());
        let text = |name: &str| self.rest[name].as_str().unwrap_or_default().to_owned();
        [protected, text("encrypted_key"), text("iv"), text("ciphertext"), text("tag")].join(".")
    }

    pub(crate) fn json(self) -> String {
        let protected = self.protected.to_string();
        self.json_with_protected(&URL_SAFE_NO_PAD.encode(protected))
    }

    pub(crate) fn json_with_protected(mut self, protected: &str) -> String {
        self.rest["protected"] = json!(protected);
        self.rest.to_string()
    }
}

pub(crate) fn bytes(len: usize) -> Value {
    json!(URL_SAFE_NO_PAD.encode(vec![7; len]))
}

pub(crate) fn line(packet: &str) -> String {
    match Jwe::parse(packet.as_bytes()) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn tell(cases: Vec<(&str, String, &str)>) {
    for (name, packet, expected) in cases {
        assert_eq!(line(&packet), expected, "{name}");
    }
}
