//! What a token states of a key's custody (PKCS #11 section 4.9, common key attributes).
//!
//! The statement is only as good as the token and the way to it: PKCS#11 has no signature over it.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::TokenInfo;
use holdfast_custody::{Custody, Error};

use crate::attributes::{flag, read};

const UNREADABLE: &str = "unreadable";

/// What is told of every key, in this order.
const CUSTODY: [AttributeType; 7] = [
    AttributeType::Sensitive,
    AttributeType::AlwaysSensitive,
    AttributeType::Extractable,
    AttributeType::NeverExtractable,
    AttributeType::Local,
    AttributeType::Token,
    AttributeType::Private,
];
/// And then of a private key.
const OF_PRIVATE: [AttributeType; 6] = [
    AttributeType::Decrypt,
    AttributeType::Unwrap,
    AttributeType::Derive,
    AttributeType::Sign,
    AttributeType::WrapWithTrusted,
    AttributeType::AlwaysAuthenticate,
];
/// Or of a secret one.
const OF_SECRET: [AttributeType; 7] = [
    AttributeType::Encrypt,
    AttributeType::Decrypt,
    AttributeType::Wrap,
    AttributeType::Unwrap,
    AttributeType::Derive,
    AttributeType::Sign,
    AttributeType::WrapWithTrusted,
];

/// Everything the token says of the key at `object`, and of itself.
pub(crate) fn gather(
    session: &Session,
    object: ObjectHandle,
    kind: KeyType,
    token: &TokenInfo,
    library: &str,
) -> Result<Custody, Error> {
    let mut custody = Custody::default();
    let usage: &[AttributeType] = if kind == KeyType::AES { &OF_SECRET } else { &OF_PRIVATE };
    for which in CUSTODY.iter().chain(usage).copied() {
        let value = flag(session, object, which)?;
        match which {
            AttributeType::Sensitive => custody.sensitive = value,
            AttributeType::AlwaysSensitive => custody.always_sensitive = value,
            AttributeType::Extractable => custody.extractable = value,
            AttributeType::NeverExtractable => custody.never_extractable = value,
            AttributeType::Local => custody.local = value,
            _ => {}
        }
        let told = value.map_or(UNREADABLE.to_owned(), |value| value.to_string());
        custody.evidence.push((which.to_string(), told));
    }
    let made_by = match read(session, object, AttributeType::KeyGenMechanism)? {
        Some(Attribute::KeyGenMechanism(mechanism)) => mechanism.to_string(),
        _ => UNREADABLE.to_owned(),
    };
    custody.evidence.push((AttributeType::KeyGenMechanism.to_string(), made_by));
    custody.evidence.extend(
        [
            ("token label", token.label().to_owned()),
            ("token serial", token.serial_number().to_owned()),
            ("token manufacturer", token.manufacturer_id().to_owned()),
            ("token model", token.model().to_owned()),
            ("hardware version", token.hardware_version().to_string()),
            ("firmware version", token.firmware_version().to_string()),
            ("library", library.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    Ok(custody)
}
