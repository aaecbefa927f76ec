//! By what a recipient is known: what packets call his key, and the key's own id. A scheme's packets call keys in its
//! own way, and the same key is a recipient once in each scheme that it is to be opened by.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_envelope::Hint;

/// Most bytes shown of a serial number, which has 20 at most (RFC 5280 section 4.1.2.2).
const MAX_SERIAL: usize = 20;

/// What the packets of one scheme call a key. A hint: anyone could have written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The key id of a JWE, `jwe` and key providers alike.
    Jwe(String),
    /// The certificate of a `pkcs7`.
    Certificate {
        /// The issuer's Name, DER.
        issuer: Vec<u8>,
        /// The serial number, the content of its INTEGER.
        serial: Vec<u8>,
    },
    /// The OpenPGP key ID of a `pgp`.
    OpenPgp([u8; 8]),
    /// The key id of a `pkcs11`; only what Holdfast writes has one.
    Pkcs11(String),
}

/// A recipient, or somebody who shall be one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// As packets have it; none where they do not say, or say nothing that tells him from others.
    pub name: Option<Name>,
    /// The key's own id, its RFC 7638 thumbprint or what an AES key is configured with, as far as it is known.
    pub kid: Option<String>,
}

impl Identity {
    /// Whose key has this id, in the packets of this scheme.
    pub fn of_key(scheme: &str, kid: &str) -> Identity {
        Identity { name: Name::of_key(scheme, kid), kid: Some(kid.to_owned()) }
    }

    /// Whether that is he, in the same scheme, so that there is no need to add him.
    pub fn is_there_as(&self, there: &Identity) -> bool {
        self.name.is_some() && self.name == there.name
    }

    /// Whether it is the same key, as far as either tells, in whichever scheme.
    pub fn has_key_of(&self, other: &Identity) -> bool {
        let same_kid = self.kid.is_some() && self.kid == other.kid;
        same_kid || self.is_there_as(other)
    }

    /// He turned out to have the key with this id.
    pub(crate) fn found(&mut self, scheme: &str, kid: &str) {
        self.kid = Some(kid.to_owned());
        if self.name.is_none() {
            self.name = Name::of_key(scheme, kid);
        }
    }
}

/// For people, as `image inspect` shows it.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.kid) {
            (Some(name), _) => name.fmt(f),
            (None, Some(kid)) => f.write_str(kid),
            (None, None) => f.write_str("unnamed"),
        }
    }
}

impl Name {
    /// In the packets of those schemes that call keys by their ids.
    fn of_key(scheme: &str, kid: &str) -> Option<Name> {
        match scheme {
            "pkcs7" | "pgp" => None,
            "pkcs11" => Some(Name::Pkcs11(kid.to_owned())),
            _ => Some(Name::Jwe(kid.to_owned())),
        }
    }

    /// What a packet says.
    pub(crate) fn of_hint(scheme: &str, hint: &Hint) -> Option<Name> {
        match hint {
            Hint::Kid(kid) => Name::of_key(scheme, kid),
            Hint::IssuerAndSerial { issuer, serial } => {
                Some(Name::Certificate { issuer: issuer.clone(), serial: serial.clone() })
            }
            hidden if *hidden == Hint::HIDDEN => None,
            Hint::KeyId(id) => Some(Name::OpenPgp(*id)),
            _ => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self {
            Name::Jwe(kid) | Name::Pkcs11(kid) => return f.write_str(kid),
            Name::Certificate { serial, .. } => ("serial", serial.get(..MAX_SERIAL).unwrap_or(serial)),
            Name::OpenPgp(id) => ("key", &id[..]),
        };
        write!(f, "{what} ")?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The RFC 7638 thumbprint in base64url, 32 bytes.
pub(crate) fn is_thumbprint(kid: &str) -> bool {
    URL_SAFE_NO_PAD.decode(kid).is_ok_and(|hash| hash.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(serial: u8, kid: Option<&str>) -> Identity {
        let name = Name::Certificate { issuer: vec![0x30, 0], serial: vec![serial] };
        Identity { name: Some(name), kid: kid.map(str::to_owned) }
    }

    #[test]
    fn one_key_is_another_recipient_in_each_scheme() {
        let [jwe, token] = ["provider.holdfast", "pkcs11"].map(|scheme| Identity::of_key(scheme, "k"));
        assert!(jwe.is_there_as(&Identity::of_key("jwe", "k")) && token.is_there_as(&token));
        assert!(!jwe.is_there_as(&token) && !token.is_there_as(&jwe));
        assert!(jwe.has_key_of(&token) && !jwe.has_key_of(&Identity::of_key("jwe", "other")));
    }

    #[test]
    fn a_certificate_is_told_by_issuer_and_serial_and_its_key_by_both() {
        let renewed = certificate(2, Some("k"));
        assert!(renewed.is_there_as(&certificate(2, None)));
        assert!(!renewed.is_there_as(&certificate(1, Some("k"))));
        assert!(renewed.has_key_of(&certificate(1, Some("k"))) && !renewed.has_key_of(&certificate(1, None)));
    }

    #[test]
    fn nobody_is_the_same_as_nobody() {
        let nobody = Identity::default();
        assert!(!nobody.is_there_as(&nobody) && !nobody.has_key_of(&nobody));
    }

    #[test]
    fn who_is_found_is_named_as_his_scheme_names_him() {
        for (scheme, name) in [
            ("jwe", Some(Name::Jwe("k".to_owned()))),
            ("pkcs11", Some(Name::Pkcs11("k".to_owned()))),
            ("pkcs7", None),
            ("pgp", None),
        ] {
            let mut found = Identity::default();
            found.found(scheme, "k");
            assert_eq!(found, Identity { name, kid: Some("k".to_owned()) }, "{scheme}");
        }
    }
}
