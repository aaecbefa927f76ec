//! Who a packet is for, as far as it says so itself. For people to read: nothing here is checked,
//! and nothing of it decides how a packet is opened.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_wire::Algorithm;
use serde_json::{Map, Value};

use crate::identity::is_thumbprint;
use crate::{Identity, Name, Packet};

/// Most recipients listed of one packet.
const MAX_LISTED: usize = 64;
/// The schemes whose packets are no JWE.
const OTHERS: [&str; 3] = ["pkcs7", "pgp", "pkcs11"];

/// One recipient of a packet. Both members are hints that anyone could have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// JOSE's `alg`, or the name that other schemes' algorithms have here; absent for one that is not known.
    pub algorithm: Option<String>,
    /// What the packet calls the key: JOSE's `kid`, absent for keys given as PEM; `serial 420d…`, that of its
    /// certificate, in a `pkcs7`; `key 1234…`, its key ID, in a `pgp`; the `kid` that Holdfast writes, in a `pkcs11`.
    pub kid: Option<String>,
}

/// What a packet says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// At most [`MAX_LISTED`].
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) recipients_total: usize,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Reads a packet; `None` for what has no form that is known.
pub(crate) fn told(scheme: &str, data: &[u8]) -> Option<Told> {
    if !OTHERS.contains(&scheme) {
        return jwe(data);
    }
    let packet = holdfast_envelope::Packet::parse(scheme, data).ok()?;
    let recipients: Vec<_> = packet.recipients().iter().map(|one| recipient(scheme, one)).collect();
    Some(Told { recipients_total: recipients.len(), recipients, labels: BTreeMap::new() })
}

impl Packet {
    /// The key id of each recipient, by which keys know themselves; none where the packet does not say.
    pub fn key_ids(&self) -> Vec<Option<String>> {
        self.identities().into_iter().map(|identity| identity.kid).collect()
    }

    /// Who its recipients are, as far as it says so. Those of a packet whose form is not known count as one.
    pub fn identities(&self) -> Vec<Identity> {
        let told = match OTHERS.contains(&self.scheme.as_str()) {
            true => self.others(),
            false => jwe(&self.data).and_then(|told| {
                let all = told.recipients.len() == told.recipients_total;
                all.then(|| told.recipients.into_iter().map(Recipient::identity).collect())
            }),
        };
        told.filter(|all: &Vec<Identity>| !all.is_empty())
            .unwrap_or_else(|| vec![Identity::default(); told_total(self)])
    }

    fn others(&self) -> Option<Vec<Identity>> {
        let packet = holdfast_envelope::Packet::parse(&self.scheme, &self.data).ok()?;
        let identity = |of: &holdfast_envelope::Recipient| Identity {
            name: of.hint().and_then(|hint| Name::of_hint(&self.scheme, hint)),
            kid: of.kid().filter(|kid| is_thumbprint(kid)).map(str::to_owned),
        };
        Some(packet.recipients().iter().map(identity).collect())
    }
}

/// How many recipients nobody can say anything of.
fn told_total(packet: &Packet) -> usize {
    told(&packet.scheme, &packet.data).map_or(1, |told| told.recipients_total).max(1)
}

impl Recipient {
    /// Of a JWE. Its `kid` is a key's own id if it is an RFC 7638 thumbprint; of an AES key whatever it is configured
    /// with. A name that another program gave it (a JWK's own `kid`) says nothing about which of our keys it is.
    fn identity(self) -> Identity {
        let symmetric = self.algorithm.as_deref() == Some(Algorithm::A256GcmKw.name());
        let kid = self.kid.filter(|kid| symmetric || is_thumbprint(kid));
        kid.map_or_else(Identity::default, |kid| Identity::of_key("jwe", &kid))
    }
}

fn recipient(scheme: &str, of: &holdfast_envelope::Recipient) -> Recipient {
    let kid = of.hint().and_then(|hint| Name::of_hint(scheme, hint)).map(|name| name.to_string());
    Recipient { algorithm: of.algorithm().map(|algorithm| algorithm.name().to_owned()), kid }
}

/// Reads a JWE in any serialization (RFC 7516 section 7); `None` for anything else. More leniently than whoever
/// opens one: what is wrong with it shall be seen.
fn jwe(data: &[u8]) -> Option<Told> {
    let json: Map<String, Value> = match std::str::from_utf8(data).ok().and_then(compact) {
        Some(json) => json,
        None => serde_json::from_slice(data).ok()?,
    };
    let protected = match json.get("protected") {
        Some(text) => {
            let bytes = URL_SAFE_NO_PAD.decode(text.as_str()?).ok()?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).ok()?
        }
        None => Map::new(),
    };
    json.get("ciphertext")?;
    let shared = json.get("unprotected");
    let recipient = |own: Option<&Value>| {
        let find = |name: &str| {
            let found = own
                .and_then(|header| header.get(name))
                .or_else(|| protected.get(name))
                .or_else(|| shared?.get(name));
            found.and_then(Value::as_str).map(str::to_owned)
        };
        Recipient { algorithm: find("alg"), kid: find("kid") }
    };
    let (recipients, recipients_total) = match json.get("recipients").and_then(Value::as_array) {
        Some(list) => {
            let listed = list.iter().take(MAX_LISTED);
            (listed.map(|one| recipient(one.get("header"))).collect(), list.len())
        }
        None => (vec![recipient(json.get("header"))], 1),
    };
    let labels = protected
        .get("holdfast.labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    Some(Told { recipients, recipients_total, labels })
}

/// Five parts between dots, as the flattened serialization has them: it tells the same.
fn compact(text: &str) -> Option<Map<String, Value>> {
    let parts: Vec<&str> = text.split('.').collect();
    let [protected, _, _, ciphertext, _] = parts.as_slice() else {
        return None;
    };
    // No JSON: that has quotes.
    if text.contains('"') {
        return None;
    }
    let member = |name: &str, part: &str| (name.to_owned(), Value::from(part));
    Some(Map::from_iter([member("protected", protected), member("ciphertext", ciphertext)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(algorithm: &str, kid: Option<&str>) -> Recipient {
        Recipient { algorithm: Some(algorithm.to_owned()), kid: kid.map(str::to_owned) }
    }

    #[test]
    fn flattened_and_general_form_tell_their_recipients() {
        let protected =
            URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","kid":"k1","holdfast.labels":{"env":"prod"}}"#);
        let flat =
            format!(r#"{{"protected":"{protected}","encrypted_key":"","iv":"","ciphertext":"","tag":""}}"#);
        let read = jwe(flat.as_bytes()).unwrap();
        assert_eq!(read.recipients, [recipient("RSA-OAEP", Some("k1"))]);
        assert_eq!(read.labels.get("env").map(String::as_str), Some("prod"));

        let general = r#"{"recipients":[{"header":{"alg":"RSA-OAEP"}},{"header":{"alg":"ECDH-ES+A256KW","kid":"k2"}}],"ciphertext":""}"#;
        let read = jwe(general.as_bytes()).unwrap();
        assert_eq!(read.recipients, [recipient("RSA-OAEP", None), recipient("ECDH-ES+A256KW", Some("k2"))]);
        assert_eq!(read.recipients_total, 2);
    }

    #[test]
    fn the_compact_form_tells_its_recipient() {
        let protected = URL_SAFE_NO_PAD.encode(r#"{"alg":"ECDH-ES","kid":"k1","enc":"A256GCM"}"#);
        let read = jwe(format!("{protected}..aXY.Y2lwaGVydGV4dA.dGFn").as_bytes()).unwrap();
        assert_eq!(read.recipients, [recipient("ECDH-ES", Some("k1"))]);
        assert_eq!(read.recipients_total, 1);
    }

    #[test]
    fn a_pkcs7_tells_the_serial_numbers_of_its_certificates() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/skopeo-1.18");
        let packet = std::fs::read(format!("{dir}/pkcs7-rsa2048.c7a70bc02a61.pkcs7.der")).unwrap();
        let read = told("pkcs7", &packet).unwrap();
        assert_eq!(
            read.recipients,
            [recipient("RSA1_5", Some("serial 420dd2564433aca58b81a42e333dc57121500976"))]
        );
        assert_eq!(told("pkcs11", &packet), None);
    }

    #[test]
    fn a_name_of_somebody_elses_choice_is_no_key_id() {
        let thumbprint = "lyDyIuVAwQwJcj82dYVU18NAqK1G3YtJtCfWOBGqzso";
        let of = |algorithm, kid| {
            let header = serde_json::json!({"alg": algorithm, "kid": kid});
            let jwe = serde_json::json!({"recipients": [{"header": header}], "ciphertext": ""});
            Packet { scheme: "jwe".to_owned(), data: jwe.to_string().into_bytes() }.key_ids()
        };
        assert_eq!(of("RSA-OAEP", thumbprint), [Some(thumbprint.to_owned())]);
        assert_eq!(of("A256GCMKW", "aes-2026"), [Some("aes-2026".to_owned())]);
        for other in ["aes-2026", "", &thumbprint[1..], &format!("{thumbprint}A")] {
            assert_eq!(of("ECDH-ES+A256KW", other), [None], "{other}");
        }
    }

    #[test]
    fn what_is_no_jwe_tells_nothing() {
        for other in
            [&b"\x30\x82"[..], b"{}", b"{\"protected\":7,\"ciphertext\":\"\"}", b"", b"a.b.c.d.e", b"...."]
        {
            assert_eq!(jwe(other), None);
        }
    }
}
