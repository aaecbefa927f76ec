//! ocicrypt's key provider messages: the JSON inside the protobuf's one bytes field.
//!
//! Parsed tolerantly (both halves always stand there, the unused one full of nulls; `dc` may be null,
//! empty or junk), answered strictly. `dc` and `ec.DecryptConfig` may carry the caller's own private
//! keys: they are counted while they are skipped and never become a value of ours. Wiping the buffer
//! they arrived in is the business of whoever owns it.

mod caller;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::json::{Bytes, write_array};
use crate::{Labels, Malformed, OptsData, Secret};

pub use caller::{wrap_request, wrapped_packet};

/// What `provider:NAME` without a parameter sends in place of one.
const NO_PARAMETER: &[u8] = b"Enabled";

/// A WrapKey request.
pub struct WrapRequest {
    /// What the caller gave behind `provider:NAME:`, by NAME. Other schemes' recipients stand there
    /// too, under ocicrypt's own names (`pubkeys`, `x509s`, …).
    parameters: BTreeMap<String, Vec<Bytes>>,
    /// What is to be wrapped.
    pub optsdata: OptsData,
    /// How many values in `DecryptConfig` may be the caller's private keys or passwords.
    pub private_values: usize,
}

/// An UnWrapKey request.
pub struct UnwrapRequest {
    /// The packet: exactly the bytes that were answered at wrap.
    pub annotation: Vec<u8>,
    /// How many values in `dc` may be the caller's private keys or passwords.
    pub private_values: usize,
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    op: Option<String>,
    #[serde(default)]
    keywrapparams: Option<WrapParams>,
    #[serde(default)]
    keyunwrapparams: Option<UnwrapParams>,
}

#[derive(Deserialize, Default)]
struct WrapParams {
    #[serde(default)]
    ec: Option<EncryptConfig>,
    #[serde(default)]
    optsdata: Bytes,
}

#[derive(Deserialize, Default)]
struct EncryptConfig {
    #[serde(default, rename = "Parameters")]
    parameters: Option<BTreeMap<String, Option<Vec<Bytes>>>>,
    #[serde(default, rename = "DecryptConfig")]
    decrypt_config: PrivateValues,
}

#[derive(Deserialize, Default)]
struct UnwrapParams {
    #[serde(default)]
    dc: PrivateValues,
    #[serde(default)]
    annotation: Bytes,
}

impl WrapRequest {
    /// Parses the body of a WrapKey call.
    pub fn parse(body: &[u8]) -> Result<WrapRequest, Malformed> {
        let input = parse_input(body, "keywrap")?;
        let params = input.keywrapparams.unwrap_or_default();
        let config = params.ec.unwrap_or_default();
        let optsdata = OptsData::parse(Secret::copy_of(&params.optsdata.0))?;
        let parameters = config
            .parameters
            .unwrap_or_default()
            .into_iter()
            .map(|(name, values)| (name, values.unwrap_or_default()))
            .collect();
        Ok(WrapRequest { parameters, optsdata, private_values: config.decrypt_config.0 })
    }

    /// Who it is to be wrapped to, from the parameters that stand under the provider's name.
    pub fn recipients(&self, provider: &str) -> Result<Recipients, Malformed> {
        let values = self.parameters.get(provider).ok_or_else(|| {
            Malformed::new(format!(
                "no parameter for provider {provider:?}: give provider:{provider}:ALIAS, or set [wrap] provider to the name in ocicrypt's configuration"
            ))
        })?;
        Recipients::parse(values.iter().map(|value| value.0.as_slice()))
    }
}

impl UnwrapRequest {
    /// Parses the body of an UnWrapKey call.
    pub fn parse(body: &[u8]) -> Result<UnwrapRequest, Malformed> {
        let input = parse_input(body, "keyunwrap")?;
        let mut params = input.keyunwrapparams.unwrap_or_default();
        if params.annotation.0.is_empty() {
            return Err(Malformed::new("no annotation to unwrap"));
        }
        Ok(UnwrapRequest {
            annotation: std::mem::take(&mut *params.annotation.0),
            private_values: params.dc.0,
        })
    }
}

fn parse_input(body: &[u8], op: &str) -> Result<Input, Malformed> {
    let input: Input =
        serde_json::from_slice(body).map_err(|error| Malformed::json("the request", &error))?;
    match &input.op {
        Some(given) if given != op => Err(Malformed::new(format!("op in the request is not {op:?}"))),
        _ => Ok(input),
    }
}

/// The answer to WrapKey: `packet` becomes the image's annotation.
pub fn wrap_response(packet: &[u8]) -> Vec<u8> {
    response(br#"{"keywrapresults":{"annotation":"#, packet)
}

/// The answer to UnWrapKey. The bytes hold the layer encryption key: the caller hands them to the
/// transport, which does not wipe them.
pub fn unwrap_response(optsdata: &OptsData) -> Vec<u8> {
    response(br#"{"keyunwrapresults":{"optsdata":"#, optsdata.raw().expose())
}

fn response(head: &[u8], bytes: &[u8]) -> Vec<u8> {
    // Large enough from the start: growing would leave copies behind.
    let mut out = Vec::with_capacity(head.len() + 4 * bytes.len() + 4);
    out.extend_from_slice(head);
    write_array(&mut out, bytes);
    out.extend_from_slice(b"}}");
    out
}

/// Parameters of `provider:NAME`: `ALIAS[+ALIAS…][;label=value…]`, several united.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recipients {
    /// Aliases in the order given, each once. Empty: the caller left the choice to the daemon.
    pub aliases: Vec<String>,
    /// The labels of all parameters.
    pub labels: Labels,
}

impl Recipients {
    /// Most aliases in one request.
    pub const MAX_ALIASES: usize = 64;

    fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Recipients, Malformed> {
        let mut united = Recipients::default();
        for value in values.filter(|value| *value != NO_PARAMETER) {
            let text = std::str::from_utf8(value)
                .map_err(|_| Malformed::new("a provider parameter that is not UTF-8"))?;
            let mut parts = text.split(';');
            for alias in parts.next().unwrap_or("").split('+') {
                united.add_alias(alias)?;
            }
            for pair in parts {
                let (name, value) = pair.split_once('=').ok_or_else(|| {
                    Malformed::new(
                        "a label in a provider parameter is name=value: provider:holdfast:ALIAS;name=value",
                    )
                })?;
                united.labels.insert(name, value)?;
            }
        }
        Ok(united)
    }

    fn add_alias(&mut self, alias: &str) -> Result<(), Malformed> {
        if !is_alias(alias) {
            return Err(Malformed::new(
                "a provider parameter is ALIAS[+ALIAS...][;label=value...]; an alias has 1 to 64 letters, digits, '.', '_' or '-'",
            ));
        }
        if self.aliases.iter().any(|known| known == alias) {
            return Ok(());
        }
        if self.aliases.len() == Recipients::MAX_ALIASES {
            return Err(Malformed::new(format!("more than {} aliases", Recipients::MAX_ALIASES)));
        }
        self.aliases.push(alias.to_owned());
        Ok(())
    }
}

/// Whether `text` can be a key's alias: 1 to 64 letters, digits, `.`, `_` or `-`.
pub fn is_alias(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// How many values of a decrypt configuration may be key material. Counted while they are skipped:
/// none of them ever becomes a value here.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrivateValues(pub usize);

/// Names in ocicrypt's DecryptConfig whose values are key material. A provider's own parameters
/// stand beside them under the provider's name and are not.
const PRIVATE_NAMES: [&str; 5] =
    ["privkeys", "privkeys-passwords", "gpg-privatekeys", "gpg-privatekeys-passwords", "pkcs11-yamls"];

impl<'de> Deserialize<'de> for PrivateValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seen = deserializer.deserialize_any(Skip)?;
        Ok(PrivateValues(seen.private))
    }
}

/// What was skipped: non-empty values in all, and those under a private name.
#[derive(Default)]
struct Skipped {
    values: usize,
    private: usize,
}

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Skip)
    }
}

/// Walks any JSON value, so that junk in `dc` is no error.
struct Skip;

impl Skip {
    fn leaf(is_value: bool) -> Skipped {
        Skipped { values: usize::from(is_value), private: 0 }
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = Skipped;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skipped, A::Error> {
        let mut all = Skipped::default();
        while let Some(name) = map.next_key::<String>()? {
            let inner: Skipped = map.next_value()?;
            all.values += inner.values;
            all.private += if PRIVATE_NAMES.contains(&name.as_str()) { inner.values } else { inner.private };
        }
        Ok(all)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Skipped, A::Error> {
        let mut all = Skipped::default();
        while let Some(inner) = seq.next_element::<Skipped>()? {
            all.values += inner.values;
            all.private += inner.private;
        }
        Ok(all)
    }

    fn visit_str<E>(self, text: &str) -> Result<Skipped, E> {
        Ok(Skip::leaf(!text.is_empty()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Skipped, E> {
        Ok(Skip::leaf(true))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Skipped, E> {
        Ok(Skip::leaf(true))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Skipped, E> {
        Ok(Skip::leaf(true))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Skipped, E> {
        Ok(Skip::leaf(true))
    }

    fn visit_unit<E>(self) -> Result<Skipped, E> {
        Ok(Skip::leaf(false))
    }
}

#[cfg(test)]
mod tests;
