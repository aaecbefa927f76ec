//! What a KMIP server's refusal means here: the one place where a Result Reason becomes an [`Error`].
//!
//! What was asked is half of the meaning. Once a server has a ciphertext, General Failure is what some say of one
//! that does not open (PyKMIP), and Cryptographic Failure what others say (Cosmian); nobody says it so that it
//! could be told from a fault of the server. So everything at that point is `Rejected` unless it can only be about
//! the key or the server, and the server of this program probes the token after every rejection.

use holdfast_custody::Error;
use holdfast_wire::Malformed;

use crate::message::Failure;

/// Result Reasons (section 9.1.3.2.29; from 0x19 on those of 2.0, which some servers use in 1.4 too).
pub(crate) mod reason {
    pub(crate) const ITEM_NOT_FOUND: u32 = 0x01;
    pub(crate) const RESPONSE_TOO_LARGE: u32 = 0x02;
    pub(crate) const AUTHENTICATION_NOT_SUCCESSFUL: u32 = 0x03;
    pub(crate) const INVALID_MESSAGE: u32 = 0x04;
    pub(crate) const OPERATION_NOT_SUPPORTED: u32 = 0x05;
    pub(crate) const MISSING_DATA: u32 = 0x06;
    pub(crate) const INVALID_FIELD: u32 = 0x07;
    pub(crate) const FEATURE_NOT_SUPPORTED: u32 = 0x08;
    pub(crate) const CRYPTOGRAPHIC_FAILURE: u32 = 0x0a;
    pub(crate) const ILLEGAL_OPERATION: u32 = 0x0b;
    pub(crate) const PERMISSION_DENIED: u32 = 0x0c;
    pub(crate) const OBJECT_ARCHIVED: u32 = 0x0d;
    pub(crate) const KEY_FORMAT_TYPE_NOT_SUPPORTED: u32 = 0x10;
    pub(crate) const KEY_VALUE_NOT_PRESENT: u32 = 0x13;
    pub(crate) const SENSITIVE: u32 = 0x16;
    pub(crate) const NOT_EXTRACTABLE: u32 = 0x17;
    pub(crate) const USAGE_LIMIT_EXCEEDED: u32 = 0x1a;
    pub(crate) const UNSUPPORTED_ATTRIBUTE: u32 = 0x1f;
    pub(crate) const BAD_CRYPTOGRAPHIC_PARAMETERS: u32 = 0x24;
    pub(crate) const INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK: u32 = 0x29;
    pub(crate) const INVALID_ATTRIBUTE: u32 = 0x2c;
    pub(crate) const INVALID_ATTRIBUTE_VALUE: u32 = 0x2d;
    pub(crate) const OBJECT_DESTROYED: u32 = 0x36;
    pub(crate) const OBJECT_NOT_FOUND: u32 = 0x37;
    pub(crate) const NOT_AUTHORISED: u32 = 0x39;
    pub(crate) const SERVER_LIMIT_EXCEEDED: u32 = 0x3a;
    pub(crate) const UNSUPPORTED_CRYPTOGRAPHIC_PARAMETERS: u32 = 0x3e;
    pub(crate) const WRONG_KEY_LIFECYCLE_STATE: u32 = 0x43;
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Whether the server can do something with a key; what it was given is ours.
    Whether(&'static str),
    /// To open what a caller sent.
    ToOpen(&'static str),
    /// To seal something.
    ToSeal(&'static str),
    /// Something in which no key is used.
    Other,
}

/// The error of a refusal.
pub(crate) fn refused(failure: &Failure, asked: Asked) -> Error {
    use reason as r;
    let said = || {
        let what = failure.operation.map_or("the request".to_owned(), |operation| operation.to_string());
        format!("the server refuses {what}: {} (reason {:#04x})", failure.text, failure.reason)
    };
    match (failure.reason, asked) {
        (r::ITEM_NOT_FOUND | r::OBJECT_NOT_FOUND, _) => Error::KeyNotFound,
        (r::OBJECT_DESTROYED, _) => {
            Error::KeyUnfit("the key was destroyed; only a backup of it helps".into())
        }
        (r::OBJECT_ARCHIVED, _) => {
            Error::KeyUnfit("the key is archived; have it recovered (KMIP operation Recover)".into())
        }
        (r::AUTHENTICATION_NOT_SUCCESSFUL, _) => Error::Unavailable(format!(
            "{}; it does not know the client certificate of this [[token]], or its user",
            said()
        )),
        (r::SERVER_LIMIT_EXCEEDED, _) => Error::Unavailable(said()),
        (
            r::PERMISSION_DENIED
            | r::NOT_AUTHORISED
            | r::ILLEGAL_OPERATION
            | r::SENSITIVE
            | r::NOT_EXTRACTABLE
            | r::KEY_VALUE_NOT_PRESENT
            | r::USAGE_LIMIT_EXCEEDED
            | r::INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK
            | r::WRONG_KEY_LIFECYCLE_STATE,
            _,
        ) => Error::KeyUnfit(format!("{}; see the key's state, usage mask and owner there", said())),
        (
            r::OPERATION_NOT_SUPPORTED
            | r::FEATURE_NOT_SUPPORTED
            | r::BAD_CRYPTOGRAPHIC_PARAMETERS
            | r::UNSUPPORTED_CRYPTOGRAPHIC_PARAMETERS,
            Asked::Whether(what) | Asked::ToOpen(what) | Asked::ToSeal(what),
        ) => Error::Unsupported(what),
        // That it takes the parameters has been seen, so it is the ciphertext.
        (_, Asked::ToOpen(_)) => {
            tracing::debug!(reason = failure.reason, "the server rejected a ciphertext");
            Error::Rejected
        }
        (
            r::INVALID_FIELD | r::INVALID_MESSAGE | r::MISSING_DATA,
            Asked::Whether(what) | Asked::ToSeal(what),
        ) => Error::Unsupported(what),
        (_, Asked::Whether(_)) => Error::Rejected,
        (
            r::RESPONSE_TOO_LARGE
            | r::OPERATION_NOT_SUPPORTED
            | r::FEATURE_NOT_SUPPORTED
            | r::KEY_FORMAT_TYPE_NOT_SUPPORTED
            | r::CRYPTOGRAPHIC_FAILURE
            | r::INVALID_FIELD
            | r::INVALID_MESSAGE
            | r::MISSING_DATA,
            _,
        ) => Error::KeyUnfit(said()),
        _ => Error::Unavailable(said()),
    }
}

/// The error of an answer that cannot be read: whoever gave it, the connection is of no more use.
pub(crate) fn unreadable(malformed: &Malformed) -> Error {
    Error::Unavailable(format!("the server's answer cannot be used: {malformed}"))
}

/// Whether a new key was refused because of the attributes that it shall have.
pub(crate) fn is_about_attributes(failure: &Failure) -> bool {
    use reason as r;
    matches!(
        failure.reason,
        r::INVALID_FIELD
            | r::INVALID_MESSAGE
            | r::FEATURE_NOT_SUPPORTED
            | r::UNSUPPORTED_ATTRIBUTE
            | r::INVALID_ATTRIBUTE
            | r::INVALID_ATTRIBUTE_VALUE
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Operation;

    fn of(reason: u32, asked: Asked) -> &'static str {
        let failure = Failure { operation: Some(Operation::Decrypt), reason, text: "because".into() };
        match refused(&failure, asked) {
            Error::Rejected => "rejected",
            Error::KeyNotFound => "not found",
            Error::Unsupported("GCM") => "unsupported",
            Error::Unavailable(line) => {
                assert!(line.starts_with("the server refuses Decrypt: because (reason 0x"), "{line}");
                "unavailable"
            }
            Error::KeyUnfit(_) => "unfit",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_reason_has_one_meaning_per_question() {
        use reason::*;
        // reason; whether it can; to open; to seal; other
        let table = [
            (0x100, "rejected", "rejected", "unavailable", "unavailable"),
            (CRYPTOGRAPHIC_FAILURE, "rejected", "rejected", "unfit", "unfit"),
            (INVALID_FIELD, "unsupported", "rejected", "unsupported", "unfit"),
            (INVALID_MESSAGE, "unsupported", "rejected", "unsupported", "unfit"),
            (MISSING_DATA, "unsupported", "rejected", "unsupported", "unfit"),
            (OPERATION_NOT_SUPPORTED, "unsupported", "unsupported", "unsupported", "unfit"),
            (FEATURE_NOT_SUPPORTED, "unsupported", "unsupported", "unsupported", "unfit"),
            (BAD_CRYPTOGRAPHIC_PARAMETERS, "unsupported", "unsupported", "unsupported", "unavailable"),
            (ITEM_NOT_FOUND, "not found", "not found", "not found", "not found"),
            (OBJECT_NOT_FOUND, "not found", "not found", "not found", "not found"),
            (OBJECT_DESTROYED, "unfit", "unfit", "unfit", "unfit"),
            (OBJECT_ARCHIVED, "unfit", "unfit", "unfit", "unfit"),
            (PERMISSION_DENIED, "unfit", "unfit", "unfit", "unfit"),
            (ILLEGAL_OPERATION, "unfit", "unfit", "unfit", "unfit"),
            (WRONG_KEY_LIFECYCLE_STATE, "unfit", "unfit", "unfit", "unfit"),
            (SENSITIVE, "unfit", "unfit", "unfit", "unfit"),
            (AUTHENTICATION_NOT_SUCCESSFUL, "unavailable", "unavailable", "unavailable", "unavailable"),
            (SERVER_LIMIT_EXCEEDED, "unavailable", "unavailable", "unavailable", "unavailable"),
            (RESPONSE_TOO_LARGE, "rejected", "rejected", "unfit", "unfit"),
            (0xdead, "rejected", "rejected", "unavailable", "unavailable"),
        ];
        for (reason, whether, open, seal, other) in table {
            assert_eq!(of(reason, Asked::Whether("GCM")), whether, "{reason:#x}, whether");
            assert_eq!(of(reason, Asked::ToOpen("GCM")), open, "{reason:#x}, to open");
            assert_eq!(of(reason, Asked::ToSeal("GCM")), seal, "{reason:#x}, to seal");
            assert_eq!(of(reason, Asked::Other), other, "{reason:#x}, other");
        }
    }
}
