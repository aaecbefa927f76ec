//! The annotations that ocicrypt's users put on an encrypted layer: the packets that hold its key,
//! and the public options of its cipher.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::MAX_PACKETS;
use serde_json::{Map, Value};

use crate::Error;

/// What the names of all these annotations begin with.
const PREFIX: &str = "org.opencontainers.image.enc.";
const KEYS: &str = "org.opencontainers.image.enc.keys.";
const PUBOPTS: &str = "org.opencontainers.image.enc.pubopts";
/// The one layer cipher there is.
const CIPHER: &str = "AES_256_CTR_HMAC_SHA256";

/// One wrapped form of a layer's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// The last part of `org.opencontainers.image.enc.keys.SCHEME`: `jwe`, `pkcs7`, `pgp`, `pkcs11`, or
    /// `provider.NAME`.
    pub scheme: String,
    /// The bytes, base64 removed.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packet({}, {} bytes)", crate::error::shown(&self.scheme), self.data.len())
    }
}

/// The public options of the layer cipher (`pubopts`). Its own `cipheroptions` are not read: nothing
/// authenticates them, and the nonce that counts is in the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicOptions {
    /// HMAC-SHA-256 over the encrypted blob, 32 bytes.
    pub hmac: [u8; 32],
}

impl PublicOptions {
    /// What stands in the annotation, as Go's encoder writes it.
    pub fn to_annotation(&self) -> String {
        let hmac = STANDARD.encode(self.hmac);
        STANDARD.encode(format!(r#"{{"cipher":"{CIPHER}","hmac":"{hmac}","cipheroptions":{{}}}}"#))
    }

    /// From a layer's annotations.
    pub(crate) fn of(annotations: &Map<String, Value>) -> Result<PublicOptions, Error> {
        let (cipher, hmac) = parse_pubopts(annotations)?;
        if cipher != CIPHER {
            return Err(Error::image(format!(
                "the layer's cipher is not {CIPHER}, the only one this version knows; open it with what encrypted it"
            )));
        }
        let hmac = STANDARD.decode(hmac).ok().and_then(|hmac| hmac.try_into().ok()).ok_or_else(|| {
            Error::image("the layer's pubopts hold no HMAC of 32 bytes in base64; encrypt the image again")
        })?;
        Ok(PublicOptions { hmac })
    }
}

/// The annotations of a layer encrypted here, as ocicrypt writes them: several packets of a scheme are
/// joined by commas.
pub(crate) fn write(packets: &[Packet], public: &PublicOptions) -> Map<String, Value> {
    let mut all = keys(packets);
    all.insert(PUBOPTS.to_owned(), public.to_annotation().into());
    all
}

/// Those of them that hold the packets.
pub(crate) fn keys(packets: &[Packet]) -> Map<String, Value> {
    let mut by_scheme: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for packet in packets {
        by_scheme.entry(&packet.scheme).or_default().push(STANDARD.encode(&packet.data));
    }
    by_scheme.into_iter().map(|(scheme, texts)| (format!("{KEYS}{scheme}"), texts.join(",").into())).collect()
}

/// The cipher a layer names, whether or not this version knows it.
pub(crate) fn cipher(annotations: &Map<String, Value>) -> Option<String> {
    parse_pubopts(annotations).ok().map(|(cipher, _)| cipher)
}

/// All packets, schemes in the order of their annotations.
pub(crate) fn packets(annotations: &Map<String, Value>) -> Result<Vec<Packet>, Error> {
    let mut packets = Vec::new();
    for (name, value) in annotations {
        let Some(scheme) = name.strip_prefix(KEYS) else {
            continue;
        };
        for text in value.as_str().unwrap_or_default().split(',') {
            let data = STANDARD.decode(text).map_err(|_| {
                Error::image(format!(
                    "the annotation {} is not base64; encrypt the image again",
                    crate::error::shown(name)
                ))
            })?;
            if packets.len() == MAX_PACKETS {
                return Err(Error::image(format!(
                    "the layer has more than {MAX_PACKETS} packets; encrypt it again to fewer recipients"
                )));
            }
            packets.push(Packet { scheme: scheme.to_owned(), data });
        }
    }
    if packets.is_empty() {
        return Err(Error::image(
            "the layer is marked as encrypted but no annotation holds its key, so nobody can open it; copy the image again from its source",
        ));
    }
    Ok(packets)
}

/// Whether an annotation is one of these.
pub(crate) fn is_encryption(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Whether an annotation holds packets.
pub(crate) fn is_key(name: &str) -> bool {
    name.starts_with(KEYS)
}

/// The members `cipher` and `hmac`, empty where absent.
fn parse_pubopts(annotations: &Map<String, Value>) -> Result<(String, String), Error> {
    let text = annotations.get(PUBOPTS).and_then(Value::as_str).ok_or_else(|| {
        Error::image(format!(
            "the layer has no annotation {PUBOPTS}, so it cannot be checked; copy the image again from its source"
        ))
    })?;
    let json: Map<String, Value> = STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| {
            Error::image(format!("the annotation {PUBOPTS} is not JSON in base64; encrypt the image again"))
        })?;
    let member = |name| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok((member("cipher"), member("hmac")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(name: &str, value: &str) -> Map<String, Value> {
        Map::from_iter([(name.to_owned(), Value::from(value))])
    }

    #[test]
    fn several_packets_of_a_scheme_are_comma_joined() {
        let found =
            packets(&annotations("org.opencontainers.image.enc.keys.provider.kp", "AQ==,Ag==")).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].scheme.as_str(), found[1].data.as_slice()), ("provider.kp", &[2u8][..]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let packet = |scheme: &str, data: u8| Packet { scheme: scheme.to_owned(), data: vec![data; 3] };
        let options = PublicOptions { hmac: [7; 32] };
        let written =
            write(&[packet("provider.kp", 1), packet("jwe", 2), packet("provider.kp", 3)], &options);
        let names: Vec<_> = written.keys().map(|name| name.trim_start_matches(PREFIX)).collect();
        assert_eq!(names, ["keys.jwe", "keys.provider.kp", "pubopts"]);
        let read = packets(&written).unwrap();
        assert_eq!(read, [packet("jwe", 2), packet("provider.kp", 1), packet("provider.kp", 3)]);
        assert_eq!(PublicOptions::of(&written).unwrap(), options);
    }

    #[test]
    fn pubopts_come_back_as_they_went_in() {
        let options = PublicOptions { hmac: [7; 32] };
        let read = PublicOptions::of(&annotations(PUBOPTS, &options.to_annotation())).unwrap();
        assert_eq!(read, options);
    }

    #[test]
    fn each_defect_has_its_own_line() {
        let says = |value: &str| PublicOptions::of(&annotations(PUBOPTS, value)).unwrap_err().to_string();
        assert!(says("%").contains("is not JSON in base64"));
        assert!(says(&STANDARD.encode("[]")).contains("is not JSON in base64"));
        assert!(
            says(&STANDARD.encode(r#"{"cipher":"AES_GCM","hmac":""}"#)).contains("cipher is not AES_256")
        );
        assert!(
            says(&STANDARD.encode(format!(r#"{{"cipher":"{CIPHER}","hmac":"AQ=="}}"#))).contains("32 bytes")
        );
        let none = PublicOptions::of(&Map::new()).unwrap_err().to_string();
        assert!(none.contains("has no annotation"), "{none}");
        let none =
            packets(&annotations("org.opencontainers.image.enc.keys.jwe", "e30")).unwrap_err().to_string();
        assert!(none.contains("keys.jwe is not base64"), "{none}");
    }
}
