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
pub(crate) const FORMAT_ONE: std::ops::Range<u32> = 0x080..0x0c0;
const ATTRIBUTES: u32 = 0x082;
const HASH: u32 = 0x083;
const SCHEME: u32 = 0x092;
pub(crate) const VALUE: u32 = 0x084;
const TYPE: u32 = 0x08a;
const HANDLE: u32 = 0x08b;
pub(crate) const AUTH_FAIL: u32 = 0x08e;
const SIZE: u32 = 0x095;
pub(crate) const POLICY_FAIL: u32 = 0x09d;
const BAD_AUTH: u32 = 0x0a2;
const TICKET: u32 = 0x0a0;
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
const RETRY: u32 = 0x922;
const YIELDED: u32 = 0x908;
const TESTING: u32 = 0x90a;

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

/// What came of asking the TPM, and whether the same would come of asking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) again: Again,
}

/// What may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Nothing that is known here.
    No,
    /// To make anew what is kept in the TPM: it is not there any more.
    Gone,
    /// To put away what is kept in the TPM: it is full.
    Full,
    /// A moment's patience: the TPM tests itself, or was interrupted.
    Later,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, again: Again::No }
    }
}

/// The error of a command that was sent for `doing`: "loading the key".
pub(crate) fn failed(error: TssError, doing: &str) -> Failure {
    let code = code(error);
    let again = match code {
        Code::Tpm(OBJECT_MEMORY | SESSION_MEMORY | MEMORY | SESSION_HANDLES | OBJECT_HANDLES) => Again::Full,
        Code::Tpm(RETRY | YIELDED | TESTING) => Again::Later,
        // A session or a key that is another one now gives a wrong HMAC. BAD_AUTH, unlike AUTH_FAIL, is about what
        // no wrong password locks. A ticket is of no more use when the TPM was reset.
        Code::Tpm(code) if REFERENCES.contains(&code) || matches!(code, HANDLE | BAD_AUTH | TICKET) => {
            Again::Gone
        }
        _ => Again::No,
    };
    Failure { error: explained(code, doing), again }
}

/// Whether it says that something is not in the TPM any more.
pub(crate) fn is_gone(error: TssError) -> bool {
    matches!(code(error), Code::Tpm(code) if REFERENCES.contains(&code) || code == HANDLE)
}

fn explained(code: Code, doing: &str) -> Error {
    match code {
        Code::Tpm(OBJECT_MEMORY | SESSION_MEMORY | MEMORY | SESSION_HANDLES | OBJECT_HANDLES) => {
            Error::Unavailable(format!(
                "{doing}: other programs have taken all of the TPM's memory; use the resource manager, tcti = \"device:/dev/tpmrm0\"; where nothing but holdfastd uses the TPM, exclusive = true flushes what a lost connection left (tpm2_getcap handles-transient shows what is there)"
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
        Code::Tpm(TYPE) => Error::KeyUnfit(format!(
            "{doing}: what is to be the storage key is none (tpm2_readpublic -c 0x81000001 shows what is at its usual place)"
        )),
        Code::Tpm(code @ (RETRY | YIELDED | TESTING)) => Error::Unavailable(format!(
            "{doing}: the TPM is busy with itself ({code:#x}: it tests itself, or was interrupted too often)"
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
pub(crate) fn not_opened(error: TssError, doing: &str) -> Failure {
    match code(error) {
        Code::Tpm(FAILURE | VALUE | SIZE | ECC_POINT | KEY | BINDING) => Error::Rejected.into(),
        Code::Tpm(HASH | SCHEME) => Error::Unsupported("RSA with this padding or hash").into(),
        // A point or a number that does not fit the crate's buffers.
        Code::Wrapper => Error::Rejected.into(),
        _ => failed(error, doing),
    }
}

/// The error of TPM2_Load: what is in the file.
pub(crate) fn not_loaded(error: TssError) -> Failure {
    match code(error) {
        Code::Tpm(code) if is_about_what_was_given(code) => Error::KeyUnfit(
            "the TPM does not load the key: it is another TPM's, made under another storage key, of a kind that this TPM has not, or damaged; or the TPM was cleared since"
                .into(),
        )
        .into(),
        _ => failed(error, "loading the key"),
    }
}

/// The error of TPM2_Import. Rejected: it was sealed to another storage key, or is damaged; which of the two shows in
/// no code.
pub(crate) fn not_imported(error: TssError, doing: &str) -> Failure {
    match code(error) {
        Code::Tpm(ATTRIBUTES) => Error::KeyUnfit(format!(
            "{doing}: the TPM does not take its attributes: a key that is brought in is neither fixedTPM nor fixedParent"
        ))
        .into(),
        // libtpms says FAILURE of a seed that does not open, as of a ciphertext.
        Code::Tpm(FAILURE) => Error::Rejected.into(),
        Code::Tpm(code) if is_about_what_was_given(code) => Error::Rejected.into(),
        _ => failed(error, doing),
    }
}

/// Whether it is about the parameters, and neither about what is in the TPM nor about a password.
fn is_about_what_was_given(code: u32) -> bool {
    FORMAT_ONE.contains(&code) && !matches!(code, AUTH_FAIL | BAD_AUTH | HANDLE | TICKET | TYPE)
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
        let error = |number| failed(of(number), "x").error;
        assert!(matches!(error(0x902), Error::Unavailable(why) if why.contains("tpmrm0")));
        assert!(matches!(error(0x921), Error::TokenLocked(_)));
        assert!(matches!(error(0x98e), Error::KeyUnfit(_)));
        assert!(matches!(error(0xa000a), Error::Unavailable(_)));
        assert!(matches!(error(0x70007), Error::Unavailable(_)));
        assert_eq!(not_opened(of(0x101), "x").error, Error::Rejected);
        assert!(matches!(not_opened(of(0x99d), "x").error, Error::Unavailable(_)));
        assert!(matches!(not_loaded(of(0x1df)).error, Error::KeyUnfit(_)));
        assert!(matches!(not_loaded(of(0x902)).error, Error::Unavailable(_)));
        for number in [0x3df, 0x4d5, 0x4e7, 0x2e1, 0x101] {
            assert_eq!(not_imported(of(number), "x").error, Error::Rejected, "{number:#x}");
        }
        assert!(
            matches!(not_imported(of(0x2c2), "x"), Failure { error: Error::KeyUnfit(why), .. } if why.contains("fixedTPM"))
        );
        assert!(matches!(not_imported(of(0x98e), "x").error, Error::KeyUnfit(_)));
        assert!(matches!(not_imported(of(0x902), "x").error, Error::Unavailable(_)));
    }

    #[test]
    fn what_may_raise_the_count_of_wrong_passwords_is_never_asked_again() {
        let again = |number: u32| failed(TssError::Tss2Error(number.into()), "x").again;
        assert_eq!([0x98e, 0x921, 0x12f].map(again), [Again::No; 3]);
        assert_eq!([0x910, 0x918, 0x18b, 0x9a2, 0x5a0].map(again), [Again::Gone; 5]);
        assert_eq!([0x902, 0x903, 0x905].map(again), [Again::Full; 3]);
        assert_eq!([0x922, 0x908, 0x90a].map(again), [Again::Later; 3]);
        // A TPM that is not there stays so on this connection.
        assert_eq!([0xa000a, 0x70007].map(again), [Again::No; 2]);
    }
}
