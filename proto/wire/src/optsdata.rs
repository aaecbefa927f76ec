use std::borrow::Cow;

use serde::Deserialize;

use crate::json::Bytes;
use crate::{Malformed, Secret};

/// Bytes of a layer encryption key: AES-256 and HMAC-SHA-256 use the same 32.
pub const SYMKEY_LEN: usize = 32;
/// Bytes of the AES-CTR initial counter block.
pub const NONCE_LEN: usize = 16;

/// ocicrypt's private layer block cipher options ("optsdata"): the layer encryption key, the nonce,
/// and the digest of the plaintext layer. It is what every packet holds.
///
/// The original bytes are kept, so that what was wrapped is what is answered. A key that is not 32
/// bytes or a nonce that is not 16 is refused here, since a short nonce makes the Go peers panic and
/// an absent one makes them decrypt to garbage.
pub struct OptsData {
    raw: Secret,
    symkey: Secret,
    nonce: [u8; NONCE_LEN],
    digest: String,
}

#[derive(Deserialize)]
struct Json<'a> {
    #[serde(default)]
    symkey: Bytes,
    #[serde(default, borrow)]
    digest: Cow<'a, str>,
    #[serde(default)]
    cipheroptions: CipherOptions,
}

#[derive(Deserialize, Default)]
struct CipherOptions {
    #[serde(default)]
    nonce: Bytes,
}

impl OptsData {
    /// Longest optsdata taken, in bytes. ocicrypt's own has 193.
    pub const MAX_LEN: usize = 4096;

    /// Parses and checks the JSON form.
    pub fn parse(raw: Secret) -> Result<OptsData, Malformed> {
        if raw.len() > OptsData::MAX_LEN {
            return Err(Malformed::new(format!(
                "optsdata has {} bytes; at most {} are taken",
                raw.len(),
                OptsData::MAX_LEN
            )));
        }
        let json: Json<'_> =
            serde_json::from_slice(raw.expose()).map_err(|error| Malformed::json("optsdata", &error))?;
        if json.symkey.0.len() != SYMKEY_LEN {
            return Err(Malformed::new(format!(
                "symkey in optsdata has {} bytes; it must have {SYMKEY_LEN}",
                json.symkey.0.len()
            )));
        }
        let nonce: [u8; NONCE_LEN] = json.cipheroptions.nonce.0.as_slice().try_into().map_err(|_| {
            Malformed::new(format!(
                "nonce in optsdata has {} bytes; it must have {NONCE_LEN}",
                json.cipheroptions.nonce.0.len()
            ))
        })?;
        if json.digest.len() > 256
            || !json.digest.is_ascii()
            || json.digest.contains(|c: char| c.is_ascii_control())
        {
            return Err(Malformed::new("digest in optsdata is not a digest"));
        }
        let symkey = Secret::copy_of(&json.symkey.0);
        let digest = json.digest.into_owned();
        Ok(OptsData { raw, symkey, nonce, digest })
    }

    /// Makes the JSON form, as Go's encoder writes it.
    pub fn new(symkey: Secret, nonce: [u8; NONCE_LEN], digest: &str) -> Result<OptsData, Malformed> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        use zeroize::Zeroizing;

        let mut raw = Vec::with_capacity(256 + digest.len());
        let key_text = Zeroizing::new(STANDARD.encode(symkey.expose()));
        raw.extend_from_slice(br#"{"symkey":""#);
        raw.extend_from_slice(key_text.as_bytes());
        raw.extend_from_slice(br#"","digest":""#);
        raw.extend_from_slice(digest.as_bytes());
        raw.extend_from_slice(br#"","cipheroptions":{"nonce":""#);
        raw.extend_from_slice(STANDARD.encode(nonce).as_bytes());
        raw.extend_from_slice(br#""}}"#);
        OptsData::parse(Secret::new(raw))
    }

    /// The JSON bytes as they were wrapped.
    pub fn raw(&self) -> &Secret {
        &self.raw
    }

    /// The layer encryption key, 32 bytes.
    pub fn symkey(&self) -> &Secret {
        &self.symkey
    }

    /// The initial counter block, 16 bytes.
    pub fn nonce(&self) -> &[u8; NONCE_LEN] {
        &self.nonce
    }

    /// Digest of the plaintext layer blob, `sha256:…`; empty when the writer gave none.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl std::fmt::Debug for OptsData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OptsData").field("digest", &self.digest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<OptsData, String> {
        OptsData::parse(Secret::copy_of(json.as_bytes())).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_made_is_what_ocicrypt_makes() {
        let made =
            OptsData::new(Secret::new(vec![1; 32]), [2; 16], &format!("sha256:{}", "a".repeat(64))).unwrap();
        assert_eq!(made.raw().len(), 193);
        assert_eq!(made.symkey().expose(), [1; 32]);
        assert_eq!(made.nonce(), &[2; 16]);
    }

    #[test]
    fn keys_and_nonces_of_the_wrong_length_are_told_by_length() {
        let short_key =
            r#"{"symkey":"AQID","digest":"","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#;
        assert_eq!(parse(short_key).unwrap_err(), "symkey in optsdata has 3 bytes; it must have 32");
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let no_nonce = format!(r#"{{"symkey":"{key}","digest":"","cipheroptions":{{}}}}"#);
        assert_eq!(parse(&no_nonce).unwrap_err(), "nonce in optsdata has 0 bytes; it must have 16");
        let long_nonce = format!(r#"{{"symkey":"{key}","cipheroptions":{{"nonce":"{key}"}}}}"#);
        assert_eq!(parse(&long_nonce).unwrap_err(), "nonce in optsdata has 32 bytes; it must have 16");
    }

    #[test]
    fn an_error_never_quotes_the_key() {
        let error = parse(r#"{"symkey":"c2VjcmV0LXNlY3JldA","digest":""}"#).unwrap_err();
        assert!(!error.contains("c2Vj"), "{error}");
        let error = parse(r#"{"digest":{"symkey":"c2VjcmV0"}}"#).unwrap_err();
        assert!(!error.contains("c2Vj"), "{error}");
    }

    #[test]
    fn debug_shows_the_digest_alone() {
        let made = OptsData::new(Secret::new(vec![1; 32]), [2; 16], "sha256:00").unwrap();
        assert_eq!(format!("{made:?}"), r#"OptsData { digest: "sha256:00", .. }"#);
    }
}
