//! What a PKCS#11 return code means here: the one place where it becomes an [`Error`].
//!
//! The function that answered is half of the meaning. Before a token has seen a ciphertext,
//! CKR_GENERAL_ERROR is a fault of the token; after, it is what most tokens say of a ciphertext that does
//! not open (SoftHSM CKR_GENERAL_ERROR, kryoptic CKR_DEVICE_ERROR, others CKR_ENCRYPTED_DATA_INVALID).
//! The two cannot be told apart by code, so everything after that point is `Rejected` unless it can only
//! be the connection, and the server probes the token after every rejection.

mod making;

use cryptoki::context::Function;
use cryptoki::error::{Error as Pkcs11Error, RvError};
use holdfast_custody::Error;

pub(crate) use making::not_made;

/// The error of a call made for `doing`, which names an algorithm or an action: "RSA-OAEP-256".
pub(crate) fn failed(error: Pkcs11Error, doing: &'static str) -> Error {
    match error {
        Pkcs11Error::Pkcs11(code, function) => returned(code, function, doing),
        // An optional function that the module leaves out.
        Pkcs11Error::NullFunctionPointer => Error::Unsupported(doing),
        other => Error::Internal(format!("{doing}: the module's answer has no meaning: {other}")),
    }
}

/// Whether the library answered that it is not initialized: it was, so something finalized it.
pub(crate) fn is_not_initialized(error: &Pkcs11Error) -> bool {
    matches!(error, Pkcs11Error::Pkcs11(RvError::CryptokiNotInitialized, _))
}

/// How a C_Login that failed is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginFailure {
    /// Another thread or a part of this process outside Holdfast was first: as good as success.
    AlreadyDone,
    /// The PIN is wrong. It must not be tried again.
    WrongPin,
    /// The token has locked the PIN.
    Locked,
    /// The PIN is right but must be changed first.
    Expired,
    /// The token has no user PIN yet.
    NoPinSet,
    /// The security officer is logged in by another part of this process.
    AnotherUser,
    /// Anything else. The token may have counted it as a wrong PIN.
    Other,
}

/// What C_Login's error says of the PIN.
pub(crate) fn login_failure(error: &Pkcs11Error) -> LoginFailure {
    let Pkcs11Error::Pkcs11(code, _) = error else {
        return LoginFailure::Other;
    };
    match code {
        RvError::UserAlreadyLoggedIn => LoginFailure::AlreadyDone,
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => LoginFailure::WrongPin,
        RvError::PinLocked => LoginFailure::Locked,
        RvError::PinExpired => LoginFailure::Expired,
        RvError::UserPinNotInitialized => LoginFailure::NoPinSet,
        RvError::UserAnotherAlreadyLoggedIn | RvError::UserTooManyTypes => LoginFailure::AnotherUser,
        _ => LoginFailure::Other,
    }
}

/// How far a call had come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A key is about to be used; the token has seen the mechanism, not the ciphertext.
    Start,
    /// The token has seen what the caller sent.
    Open,
    /// No key is used.
    Other,
}

fn returned(code: RvError, function: Function, doing: &'static str) -> Error {
    let phase = match function {
        Function::DecryptInit | Function::EncryptInit => Phase::Start,
        Function::Decrypt | Function::DeriveKey => Phase::Open,
        _ => Phase::Other,
    };
    let line = || format!("{doing}: C_{function:?} answered {}", name(code));
    match (code, phase) {
        // Handles that name nothing any more, a token that went away, resources that are used up.
        (
            RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::CryptokiNotInitialized
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::SessionCount
            | RvError::OperationActive
            | RvError::OperationNotInitialized
            | RvError::HostMemory
            | RvError::DeviceMemory
            | RvError::FipsSelfTestFailed,
            _,
        ) => Error::Unavailable(line()),
        (RvError::PinExpired, _) => Error::PinRefused(format!(
            "{}: the PIN has expired; set a new one with the token's own tool",
            line()
        )),
        (
            RvError::KeyFunctionNotPermitted | RvError::KeyTypeInconsistent | RvError::KeySizeRange,
            Phase::Start | Phase::Open,
        ) => Error::KeyUnfit(format!(
            "{}: the token does not let this key do that; make a key that may",
            line()
        )),
        (RvError::MechanismInvalid | RvError::FunctionNotSupported, Phase::Start | Phase::Open) => {
            Error::Unsupported(doing)
        }
        (RvError::MechanismParamInvalid | RvError::ArgumentsBad, Phase::Start) => Error::Unsupported(doing),
        // Only C_DeriveKey has a template: the token does not let a shared secret be read.
        (
            RvError::TemplateInconsistent
            | RvError::TemplateIncomplete
            | RvError::AttributeValueInvalid
            | RvError::AttributeTypeInvalid
            | RvError::AttributeReadOnly,
            Phase::Open,
        ) => Error::Unsupported(doing),
        (code, Phase::Open) => {
            tracing::debug!(?code, ?function, "the token rejected a ciphertext");
            Error::Rejected
        }
        (_, Phase::Start | Phase::Other) => Error::Unavailable(line()),
    }
}

/// The name that PKCS#11 and every vendor's manual have for it, from cryptoki's: `DeviceError` is
/// CKR_DEVICE_ERROR.
fn name(code: RvError) -> String {
    if let RvError::VendorDefined(code) = code {
        return format!("{code:#x}, a code of the vendor's own");
    }
    let mut name = "CKR".to_owned();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_by_the_name_that_manuals_have_for_it() {
        for (code, told) in [
            (RvError::DeviceError, "CKR_DEVICE_ERROR"),
            (RvError::CryptokiNotInitialized, "CKR_CRYPTOKI_NOT_INITIALIZED"),
            (RvError::PinLenRange, "CKR_PIN_LEN_RANGE"),
            (RvError::VendorDefined(0x8000_0001), "0x80000001, a code of the vendor's own"),
        ] {
            assert_eq!(name(code), told);
        }
    }

    fn of(code: RvError, function: Function) -> &'static str {
        match failed(Pkcs11Error::Pkcs11(code, function), "RSA-OAEP") {
            Error::Rejected => "rejected",
            Error::Unavailable(line) => {
                assert!(line.starts_with("RSA-OAEP: C_"), "{line}");
                "unavailable"
            }
            Error::Unsupported("RSA-OAEP") => "unsupported",
            Error::KeyUnfit(_) => "unfit",
            Error::PinRefused(_) => "pin",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_code_has_one_meaning_per_phase() {
        use RvError::*;
        // code; C_DecryptInit, C_EncryptInit; C_Decrypt; C_DeriveKey; C_Encrypt, C_GetAttributeValue
        let table = [
            (GeneralError, "unavailable", "rejected", "rejected", "unavailable"),
            (DeviceError, "unavailable", "rejected", "rejected", "unavailable"),
            (FunctionFailed, "unavailable", "rejected", "rejected", "unavailable"),
            (EncryptedDataInvalid, "unavailable", "rejected", "rejected", "unavailable"),
            (EncryptedDataLenRange, "unavailable", "rejected", "rejected", "unavailable"),
            (DataInvalid, "unavailable", "rejected", "rejected", "unavailable"),
            (DataLenRange, "unavailable", "rejected", "rejected", "unavailable"),
            (PublicKeyInvalid, "unavailable", "rejected", "rejected", "unavailable"),
            (DomainParamsInvalid, "unavailable", "rejected", "rejected", "unavailable"),
            (VendorDefined(0x8000_0001), "unavailable", "rejected", "rejected", "unavailable"),
            (ArgumentsBad, "unsupported", "rejected", "rejected", "unavailable"),
            (MechanismParamInvalid, "unsupported", "rejected", "rejected", "unavailable"),
            (MechanismInvalid, "unsupported", "unsupported", "unsupported", "unavailable"),
            (FunctionNotSupported, "unsupported", "unsupported", "unsupported", "unavailable"),
            (TemplateInconsistent, "unavailable", "unsupported", "unsupported", "unavailable"),
            (AttributeValueInvalid, "unavailable", "unsupported", "unsupported", "unavailable"),
            (KeyFunctionNotPermitted, "unfit", "unfit", "unfit", "unavailable"),
            (KeyTypeInconsistent, "unfit", "unfit", "unfit", "unavailable"),
            (SessionHandleInvalid, "unavailable", "unavailable", "unavailable", "unavailable"),
            (SessionClosed, "unavailable", "unavailable", "unavailable", "unavailable"),
            (ObjectHandleInvalid, "unavailable", "unavailable", "unavailable", "unavailable"),
            (KeyHandleInvalid, "unavailable", "unavailable", "unavailable", "unavailable"),
            (UserNotLoggedIn, "unavailable", "unavailable", "unavailable", "unavailable"),
            (CryptokiNotInitialized, "unavailable", "unavailable", "unavailable", "unavailable"),
            (DeviceRemoved, "unavailable", "unavailable", "unavailable", "unavailable"),
            (TokenNotPresent, "unavailable", "unavailable", "unavailable", "unavailable"),
            (SlotIdInvalid, "unavailable", "unavailable", "unavailable", "unavailable"),
            (OperationActive, "unavailable", "unavailable", "unavailable", "unavailable"),
            (HostMemory, "unavailable", "unavailable", "unavailable", "unavailable"),
            (PinExpired, "pin", "pin", "pin", "pin"),
        ];
        for (code, start, decrypt, derive, other) in table {
            assert_eq!(of(code, Function::DecryptInit), start, "{code:?} at C_DecryptInit");
            assert_eq!(of(code, Function::EncryptInit), start, "{code:?} at C_EncryptInit");
            assert_eq!(of(code, Function::Encrypt), other, "{code:?} at C_Encrypt");
            assert_eq!(of(code, Function::Decrypt), decrypt, "{code:?} at C_Decrypt");
            assert_eq!(of(code, Function::DeriveKey), derive, "{code:?} at C_DeriveKey");
            assert_eq!(of(code, Function::GetAttributeValue), other, "{code:?} elsewhere");
        }
    }

    #[test]
    fn only_a_refusal_of_the_pin_itself_counts_as_one() {
        let of = |code| login_failure(&Pkcs11Error::Pkcs11(code, Function::Login));
        for code in [RvError::PinIncorrect, RvError::PinInvalid, RvError::PinLenRange] {
            assert_eq!(of(code), LoginFailure::WrongPin);
        }
        assert_eq!(of(RvError::PinLocked), LoginFailure::Locked);
        assert_eq!(of(RvError::PinExpired), LoginFailure::Expired);
        assert_eq!(of(RvError::UserPinNotInitialized), LoginFailure::NoPinSet);
        assert_eq!(of(RvError::UserAlreadyLoggedIn), LoginFailure::AlreadyDone);
        assert_eq!(of(RvError::UserAnotherAlreadyLoggedIn), LoginFailure::AnotherUser);
        for code in [RvError::GeneralError, RvError::DeviceError, RvError::TokenNotPresent] {
            assert_eq!(of(code), LoginFailure::Other);
        }
    }

    #[test]
    fn a_function_left_out_of_the_module_is_unsupported() {
        assert_eq!(
            failed(Pkcs11Error::NullFunctionPointer, "ECDH-ES+A256KW"),
            Error::Unsupported("ECDH-ES+A256KW")
        );
    }
}
