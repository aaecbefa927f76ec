//! What a return code means of a key that was to be made or brought in.

use cryptoki::error::{Error as Pkcs11Error, RvError};
use holdfast_custody::Error;

use super::failed;

/// The error of a C_GenerateKey, C_GenerateKeyPair or C_CreateObject. What the token will never do is
/// [`Error::KeyUnfit`]; `instead` says what to do then.
pub(crate) fn not_made(error: Pkcs11Error, doing: &'static str, instead: &str) -> Error {
    match error {
        Pkcs11Error::Pkcs11(
            RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::KeySizeRange
            | RvError::CurveNotSupported
            | RvError::DomainParamsInvalid
            | RvError::TemplateInconsistent
            | RvError::TemplateIncomplete
            | RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::AttributeReadOnly
            | RvError::ActionProhibited
            | RvError::FunctionNotSupported
            | RvError::TokenWriteProtected
            | RvError::SessionReadOnly,
            function,
        ) => Error::KeyUnfit(format!("{doing}: the token refuses ({error}, C_{function:?}); {instead}")),
        Pkcs11Error::NullFunctionPointer => {
            Error::KeyUnfit(format!("{doing}: the module has no function for it; {instead}"))
        }
        other => failed(other, doing),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn what_a_token_never_does_is_told_with_the_way_out() {
        let of = |code| {
            let error = Pkcs11Error::Pkcs11(code, Function::CreateObject);
            not_made(error, "importing the key", "use the token's own tool")
        };
        for code in [RvError::TemplateInconsistent, RvError::ActionProhibited, RvError::AttributeReadOnly] {
            let Error::KeyUnfit(line) = of(code) else { panic!("{code:?}") };
            assert!(line.ends_with("; use the token's own tool"), "{line}");
        }
        for code in [RvError::DeviceRemoved, RvError::DeviceMemory, RvError::GeneralError] {
            assert!(matches!(of(code), Error::Unavailable(_)), "{code:?}");
        }
    }
}
