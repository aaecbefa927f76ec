//! What a response code means here: the one place where it becomes an [`Error`].
//!
//! A code has 32 bits (TCG TSS 2.0 Overview, section 3.5): the layer that speaks in bits 16 to 23, and below
//! it, where that is the TPM or its resource manager, the TPM's own code (TPM 2.0 Library Part 2, section
//! 6.6). What command was under way is half of the meaning, as is whether a ciphertext was in it: libtpms says
//! TPM_RC_FAILURE of one that does not open, and other TPMs TPM_RC_VALUE. The server probes the TPM after
//! every rejection, so one that has failed in earnest is found out there.

use std::error::Error as _;

use holdfast_custody::Error;
use tss_esapi::Error as TssError;

/// Format zero.
pub(crate) const FAILURE: u32 = 0x101;
pub(crate) const PCR_CHANGED: u32 = 0x128;
const AUTH_UNAVAILABLE: u32 = 0x12f;
/// Format one, without the number of the parameter, handle or session that it is about.
const FORMAT_ONE: std::ops::Range<u32> = 0x080..0x0c0;
const ATTRIBUTES: u32 = 0x082;
pub(crate) const VALUE: u32 = 0x084;
const HANDLE: u32 = 0x08b;
const AUTH_FAIL: u32 = 0x08e;
const SIZE: u32 = 0x095;
pub(crate) const POLICY_FAIL: u32 = 0x09d;
const INTEGRITY: u32 = 0x09f;
const BAD_AUTH: u32 = 0x0a2;
const BINDING: u32 = 0x0a5;
const ECC_POINT: u32 = 0x0a7;
const KEY: u32 = 0x09c;
/// Warnings.
const OBJECT_MEMORY: u32 = 0x902;
const SESSION_MEMORY: u32 = 0x903;
const MEMORY: u32 = 0x904;
const SESSION_HANDLES: u32 = 0x905;
const OBJECT_HANDLES: u32 = 0x906;
const REFERENCES: std::ops::RangeInclusive<u32> = 0x910..=0x91f;
const LOCKOUT: u32 = 0x921;

/// What the TPM itself says, or what happened on the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Without parameter, handle and session number.
    Tpm(u32),
    /// The whole code.
    Layer(u32),
    /// The crate between could make nothing of the arguments or of the answer.
    Wrapper,
}

/// Takes a failure apart.
pub(crate) fn code(error: TssError) -> Code {
    match error {
        TssError::WrapperError(_) => Code::Wrapper,
        // Its number is private but for this text, which is "Response code value: 0xa000a".
        TssError::Tss2Error(response) => {
            let text = response.source().map(ToString::to_string).unwrap_or_default();
            let digits = text.rsplit_once("0x").map_or("", |(_, digits)| digits);
            u32::from_str_radix(digits, 16).map_or(Code::Wrapper, meaning)
        }
    }
}

fn meaning(number: u32) -> Code {
    const TPM: u32 = 0;
    const RESOURCE_MANAGERS: [u32; 2] = [0x0b, 0x0c];
    let layer = (number >> 16) & 0xff;
    if layer != TPM && !RESOURCE_MANAGERS.contains(&layer) {
        return Code::Layer(number);
    }
    let format_one = number & 0x80 != 0;
    Code::Tpm(if format_one { number & 0xbf } else { number & 0xfff })
}

/// The error of a command that was sent for `doing`: "loading the key".
pub(crate) fn failed(error: TssError, doing: &str) -> Error {
    match code(error) {
        Code::Tpm(OBJECT_MEMORY | SESSION_MEMORY | MEMORY | SESSION_HANDLES | OBJECT_HANDLES) => {
            Error::Unavailable(format!(
                "{doing}: other programs have taken all of the TPM's memory; use the resource manager, tcti = \"device:/dev/tpmrm0\", or see tpm2_getcap handles-transient"
            ))
        }
        Code::Tpm(LOCKOUT) => Error::TokenLocked(format!(
            "{doing}: the TPM has locked itself after too many wrong passwords (dictionary attack protection); it recovers by itself with time (tpm2_getcap properties-variable), or by tpm2_dictionarylockout --clear-lockout"
        )),
        Code::Tpm(AUTH_FAIL | BAD_AUTH | AUTH_UNAVAILABLE) => Error::KeyUnfit(format!(
            "{doing}: the TPM wants a password or a policy that holdfastd does not have; it uses keys without a password, bound to PCR values or to nothing"
        )),
        Code::Tpm(code) if REFERENCES.contains(&code) || code == HANDLE => Error::Unavailable(format!(
            "{doing}: what was in the TPM is gone ({code:#x}): it was restarted or cleaned"
        )),
        Code::Tpm(FAILURE) => Error::Unavailable(format!("{doing}: the TPM has failed (TPM_RC_FAILURE)")),
        Code::Tpm(code) => Error::Unavailable(format!(
            "{doing}: the TPM answers {code:#x} (tpm2_rc_decode {code:#x} explains it)"
        )),
        Code::Layer(number) => Error::Unavailable(format!(
            "{doing}: the TPM cannot be reached ({number:#x}); is it there, and may this user open it?"
        )),
        Code::Wrapper => {
            Error::Internal(format!("{doing}: the TPM's answer or our question has no meaning to tss-esapi"))
        }
    }
}

/// The error of the command that opens something with a key.
pub(crate) fn not_opened(error: TssError, doing: &str, bound_to: Option<&str>) -> Error {
    match (code(error), bound_to) {
        (Code::Tpm(POLICY_FAIL), Some(pcrs)) => state_refused(pcrs),
        (Code::Tpm(FAILURE | VALUE | SIZE | ECC_POINT | KEY | BINDING), _) => Error::Rejected,
        // A point or a number that does not fit the crate's buffers.
        (Code::Wrapper, _) => Error::Rejected,
        _ => failed(error, doing),
    }
}

/// The error of TPM2_Load: what is in the file.
pub(crate) fn not_loaded(error: TssError) -> Error {
    match code(error) {
        Code::Tpm(INTEGRITY | BINDING | SIZE | VALUE | KEY | HANDLE) => Error::KeyUnfit(
            "the TPM does not load the key: it is another TPM's, made under another storage key, or damaged; or the TPM was cleared since"
                .into(),
        ),
        _ => failed(error, "loading the key"),
    }
}

/// Nothing, if TPM2_Import refuses what it is given: it was sealed to another storage key, or is damaged. Which
/// of the two shows in no code.
pub(crate) fn not_imported(error: TssError, doing: &str) -> Result<(), Error> {
    match code(error) {
        Code::Tpm(ATTRIBUTES) => Err(Error::KeyUnfit(format!(
            "{doing}: the TPM does not take its attributes: a key that is brought in is neither fixedTPM nor fixedParent"
        ))),
        Code::Tpm(AUTH_FAIL | BAD_AUTH | HANDLE) => Err(failed(error, doing)),
        // libtpms says FAILURE of a seed that does not open, as of a ciphertext.
        Code::Tpm(FAILURE) => Ok(()),
        Code::Tpm(code) if FORMAT_ONE.contains(&code) => Ok(()),
        _ => Err(failed(error, doing)),
    }
}

/// The machine is not in the state that the key is bound to.
pub(crate) fn state_refused(pcrs: &str) -> Error {
    Error::StateRefused(format!(
        "the key is bound to {pcrs}, and at least one of these PCRs has another value now: boot what it was made under, or make a new key (tpm2_pcrread {pcrs} shows the values)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_behind_a_resource_manager() {
        assert_eq!(meaning(0x1c4), Code::Tpm(VALUE));
        assert_eq!(meaning(0xb01c4), Code::Tpm(VALUE));
        assert_eq!(meaning(0x99d), Code::Tpm(POLICY_FAIL));
        assert_eq!(meaning(0x18b), Code::Tpm(HANDLE));
        assert_eq!(meaning(0x921), Code::Tpm(LOCKOUT));
        assert_eq!(meaning(0x101), Code::Tpm(FAILURE));
        assert_eq!(meaning(0xa000a), Code::Layer(0xa000a));
        assert_eq!(meaning(0x70007), Code::Layer(0x70007));
    }

    #[test]
    fn the_crates_own_text_still_holds_the_number() {
        for number in [0x101, 0x1c4, 0x99d, 0x921, 0xa000a] {
            assert_eq!(code(TssError::Tss2Error(number.into())), meaning(number), "{number:#x}");
        }
    }

    #[test]
    fn each_code_has_its_error() {
        let of = |number: u32| TssError::Tss2Error(number.into());
        assert!(matches!(failed(of(0x902), "x"), Error::Unavailable(why) if why.contains("tpmrm0")));
        assert!(matches!(failed(of(0x921), "x"), Error::TokenLocked(_)));
        assert!(matches!(failed(of(0x98e), "x"), Error::KeyUnfit(_)));
        assert!(matches!(failed(of(0xa000a), "x"), Error::Unavailable(_)));
        assert!(matches!(failed(of(0x70007), "x"), Error::Unavailable(_)));
        assert_eq!(not_opened(of(0x101), "x", None), Error::Rejected);
        assert!(matches!(not_opened(of(0x99d), "x", Some("sha256:7")), Error::StateRefused(_)));
        assert!(matches!(not_opened(of(0x99d), "x", None), Error::Unavailable(_)));
        assert!(matches!(not_loaded(of(0x1df)), Error::KeyUnfit(_)));
        assert!(matches!(not_loaded(of(0x902)), Error::Unavailable(_)));
        for number in [0x3df, 0x4d5, 0x4e7, 0x2e1, 0x101] {
            assert_eq!(not_imported(of(number), "x"), Ok(()), "{number:#x}");
        }
        assert!(
            matches!(not_imported(of(0x2c2), "x"), Err(Error::KeyUnfit(why)) if why.contains("fixedTPM"))
        );
        assert!(matches!(not_imported(of(0x98e), "x"), Err(Error::KeyUnfit(_))));
        assert!(matches!(not_imported(of(0x902), "x"), Err(Error::Unavailable(_))));
    }
}
