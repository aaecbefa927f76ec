//! A packet as it is written: RFC 7516 section 7.2 in serde's words.

use holdfast_wire::Labels;
use serde::Serialize;

use crate::SealError;

#[derive(Serialize, Default)]
pub(super) struct Packet<'a> {
    pub(super) protected: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recipients: Option<Vec<Recipient<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encrypted_key: Option<String>,
    pub(super) iv: String,
    pub(super) ciphertext: String,
    pub(super) tag: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Recipient<'a> {
    pub(super) header: Header<'a>,
    pub(super) encrypted_key: String,
}

#[derive(Debug, Serialize, Default)]
pub(super) struct Header<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enc: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epk: Option<Epk>,
    /// Of A256GCMKW (RFC 7518 section 4.7.1), not of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    // LABELS_HEADER; serde takes no constant here, the tests hold the two together.
    #[serde(rename = "holdfast.labels", skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<&'a Labels>,
}

#[derive(Debug, Serialize)]
pub(super) struct Epk {
    pub(super) kty: &'static str,
    pub(super) crv: &'static str,
    pub(super) x: String,
    pub(super) y: String,
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, SealError> {
    serde_json::to_vec(value).map_err(|_| SealError::Library("writing JSON"))
}
