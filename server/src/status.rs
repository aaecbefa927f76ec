//! Every failure there is, and the one place that makes it a gRPC status.
//!
//! The text is one line that stands alone, because kubelet shows it in the pod's event: what happened,
//! with which alias, what to do, the request's id. It never holds a URI, PIN, path, handle or a library's
//! words; those go to the log under the same id. `google.rpc.ErrorInfo` carries the reason for machines.

use std::borrow::Cow;
use std::collections::HashMap;

use holdfast_custody::Error as CustodyError;
use holdfast_wire::Malformed;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::request::RequestId;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The request does not have the form it must have.
    Malformed(Malformed),
    /// A packet of a scheme or with algorithms that this version does not open.
    NotSupported(Malformed),
    /// No key that the caller may use opens the packet.
    Rejected,
    /// As many of its recipients were tried as may be, none opens it, and there are more.
    TooManyRecipients,
    /// The kernel gave no identity.
    NoIdentity,
    /// No rule allows it, or there is no such key.
    Denied,
    /// A custodian's failure, with the alias it was about.
    Custody {
        /// The alias.
        alias: String,
        /// What happened.
        error: CustodyError,
    },
    /// The alias has only retired keys.
    Retired {
        /// The alias.
        alias: String,
    },
    /// The audit log cannot be written, so no key is used.
    AuditDown,
    /// The caller has as many requests under way as one may have.
    TooMany,
    /// The request's own time is up.
    OutOfTime,
    /// A fault of this program.
    Internal,
}

impl Failure {
    /// One word for the audit log and for machines.
    pub fn reason(&self) -> &'static str {
        use CustodyError as E;
        match self {
            Failure::Malformed(_) => "MALFORMED",
            Failure::NotSupported(_) => "NOT_SUPPORTED",
            Failure::Rejected => "REJECTED",
            Failure::TooManyRecipients => "TOO_MANY_RECIPIENTS",
            Failure::NoIdentity => "NO_IDENTITY",
            Failure::Denied => "DENIED",
            Failure::Retired { .. } => "KEY_RETIRED",
            Failure::AuditDown => "AUDIT_DOWN",
            Failure::TooMany => "TOO_MANY_REQUESTS",
            Failure::OutOfTime => "OUT_OF_TIME",
            Failure::Internal => "INTERNAL",
            Failure::Custody { error, .. } => match error {
                E::KeyNotFound => "KEY_NOT_FOUND",
                E::KeyAmbiguous(_) => "KEY_AMBIGUOUS",
                E::KeyUnfit(_) | E::Unsupported(_) => "KEY_UNFIT",
                E::Rejected => "REJECTED",
                E::PinRefused(_) => "PIN_REFUSED",
                E::TokenLocked(_) => "TOKEN_LOCKED",
                E::StateRefused { .. } => "PCR_POLICY_NOT_MET",
                E::TokenReplaced(_) => "TOKEN_REPLACED",
                E::Unavailable(_) => "TOKEN_UNAVAILABLE",
                E::Busy => "TOKEN_BUSY",
                E::OutOfTime => "OUT_OF_TIME",
                _ => "INTERNAL",
            },
        }
    }

    /// Whether another try may succeed with the same input.
    pub fn is_transient(&self) -> bool {
        match self {
            Failure::Custody { error, .. } => error.is_transient(),
            Failure::OutOfTime | Failure::TooMany => true,
            _ => false,
        }
    }

    /// Whether a key cannot be used at all, or not now: whatever it is given, and not for one algorithm alone.
    pub fn is_of_the_key(&self) -> bool {
        use CustodyError as E;
        matches!(self, Failure::Custody { error, .. } if !matches!(error, E::Rejected | E::Unsupported(_)))
    }

    /// The status for the caller.
    pub fn into_status(self, request: RequestId) -> Status {
        let (code, text) = self.translate();
        let line = format!("{text} (request {request})");
        let metadata = HashMap::from([("request".to_owned(), request.to_string())]);
        let details = ErrorDetails::with_error_info(self.reason(), "holdfast", metadata);
        Status::with_error_details(code, line, details)
    }

    fn translate(&self) -> (Code, String) {
        match self {
            Failure::Malformed(what) => (Code::InvalidArgument, format!("malformed request: {what}")),
            Failure::NotSupported(what) => (Code::InvalidArgument, what.to_string()),
            Failure::Rejected => (
                Code::InvalidArgument,
                "no key that this caller may use opens this packet; it was wrapped to another key or is damaged".into(),
            ),
            Failure::TooManyRecipients => (
                Code::InvalidArgument,
                "more recipients of this packet may be keys of this caller than are tried for one request, and those tried do not open it; encrypt to the key as a JWK (holdfast key export --format jwk), so that the packet names it"
                    .into(),
            ),
            Failure::NoIdentity => (Code::Unauthenticated, "the connection does not say who is calling".into()),
            Failure::Denied => (
                Code::PermissionDenied,
                "no rule allows this caller to do this with this key, or there is no such key; see [[allow]] in holdfastd's configuration"
                    .into(),
            ),
            Failure::Retired { alias } => (
                Code::FailedPrecondition,
                format!("{alias}: all its keys are retired and wrap no more; name another alias"),
            ),
            Failure::AuditDown => (
                Code::Unavailable,
                "the audit log cannot be written, so no key is used; make room for it or mend it, then try again".into(),
            ),
            Failure::TooMany => (
                Code::ResourceExhausted,
                "this caller has too many requests under way; wait for some of them, or raise [limits] requests_per_caller"
                    .into(),
            ),
            Failure::OutOfTime => (Code::DeadlineExceeded, "the request ran out of time; try again".into()),
            Failure::Internal => (Code::Internal, "a fault of holdfastd; its log has more".into()),
            Failure::Custody { alias, error } => {
                let (code, text) = explain(error);
                (code, format!("{alias}: {text}"))
            }
        }
    }
}

/// A custodian's failure as a code, and as a line for people that names nothing of the token.
pub fn explain(error: &CustodyError) -> (Code, Cow<'static, str>) {
    use CustodyError as E;
    let (code, text) = match error {
        E::KeyNotFound => {
            (Code::FailedPrecondition, "its key is not on its token; run holdfastd check --tokens")
        }
        E::KeyAmbiguous(_) => {
            (Code::FailedPrecondition, "more than one key on its token matches; run holdfastd check --tokens")
        }
        E::KeyUnfit(_) | E::Unsupported(_) => (
            Code::FailedPrecondition,
            "its key must not or cannot be used for this; run holdfastd check --tokens",
        ),
        E::Rejected => (Code::InvalidArgument, "its key does not open this"),
        E::PinRefused(_) => (
            Code::FailedPrecondition,
            "its token refused the PIN, which is not tried again; give holdfastd the right one",
        ),
        E::TokenLocked(_) => (
            Code::FailedPrecondition,
            "its token has locked itself; unlock it with its own tools, or wait where it recovers by itself: holdfastd's log says when",
        ),
        E::StateRefused { differ, .. } if !differ.is_empty() => {
            return (Code::FailedPrecondition, differing(differ).into());
        }
        E::StateRefused { .. } => (
            Code::FailedPrecondition,
            "this machine is not in the state that its key is bound to (PCR values); holdfastd's log has more",
        ),
        E::TokenReplaced(_) => (
            Code::FailedPrecondition,
            "another token answers than the one that is configured; holdfastd's log says which",
        ),
        E::Unavailable(_) => {
            (Code::Unavailable, "its token does not answer; holdfastd's log says why; try again")
        }
        E::Busy => (Code::ResourceExhausted, "its token has all it can take; try again"),
        E::OutOfTime => (Code::DeadlineExceeded, "its token did not answer in time; try again"),
        _ => (Code::Internal, "a fault of holdfastd; its log has more"),
    };
    (code, text.into())
}

fn differing(pcrs: &[u8]) -> String {
    let numbers: Vec<String> = pcrs.iter().map(u8::to_string).collect();
    let (subject, verb) = if pcrs.len() == 1 { ("PCR", "has") } else { ("PCRs", "have") };
    format!(
        "{subject} {} of this machine {verb} another value than its key is bound to; holdfastd's log has more",
        numbers.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custody(error: CustodyError) -> Failure {
        Failure::Custody { alias: "images".into(), error }
    }

    #[test]
    fn each_failure_has_its_code_and_reason() {
        use CustodyError as E;
        let lib = || "/usr/lib/secret.so: CKR_DEVICE_ERROR".to_owned();
        for (failure, code, reason) in [
            (Failure::Malformed(Malformed::new("x")), Code::InvalidArgument, "MALFORMED"),
            (Failure::NotSupported(Malformed::new("x")), Code::InvalidArgument, "NOT_SUPPORTED"),
            (Failure::Rejected, Code::InvalidArgument, "REJECTED"),
            (Failure::TooManyRecipients, Code::InvalidArgument, "TOO_MANY_RECIPIENTS"),
            (Failure::NoIdentity, Code::Unauthenticated, "NO_IDENTITY"),
            (Failure::Denied, Code::PermissionDenied, "DENIED"),
            (Failure::Retired { alias: "images".into() }, Code::FailedPrecondition, "KEY_RETIRED"),
            (Failure::AuditDown, Code::Unavailable, "AUDIT_DOWN"),
            (Failure::TooMany, Code::ResourceExhausted, "TOO_MANY_REQUESTS"),
            (Failure::OutOfTime, Code::DeadlineExceeded, "OUT_OF_TIME"),
            (Failure::Internal, Code::Internal, "INTERNAL"),
            (custody(E::KeyNotFound), Code::FailedPrecondition, "KEY_NOT_FOUND"),
            (custody(E::KeyAmbiguous(2)), Code::FailedPrecondition, "KEY_AMBIGUOUS"),
            (custody(E::KeyUnfit(lib())), Code::FailedPrecondition, "KEY_UNFIT"),
            (custody(E::Unsupported("x")), Code::FailedPrecondition, "KEY_UNFIT"),
            (custody(E::Rejected), Code::InvalidArgument, "REJECTED"),
            (custody(E::PinRefused(lib())), Code::FailedPrecondition, "PIN_REFUSED"),
            (custody(E::TokenLocked(lib())), Code::FailedPrecondition, "TOKEN_LOCKED"),
            (
                custody(E::StateRefused { differ: vec![7, 11], why: lib() }),
                Code::FailedPrecondition,
                "PCR_POLICY_NOT_MET",
            ),
            (custody(E::TokenReplaced(lib())), Code::FailedPrecondition, "TOKEN_REPLACED"),
            (custody(E::Unavailable(lib())), Code::Unavailable, "TOKEN_UNAVAILABLE"),
            (custody(E::Busy), Code::ResourceExhausted, "TOKEN_BUSY"),
            (custody(E::OutOfTime), Code::DeadlineExceeded, "OUT_OF_TIME"),
            (custody(E::Internal(lib())), Code::Internal, "INTERNAL"),
        ] {
            let id = RequestId::new();
            let status = failure.clone().into_status(id);
            assert_eq!(status.code(), code, "{failure:?}");
            assert!(status.message().ends_with(&format!("(request {id})")), "{}", status.message());
            assert!(
                !status.message().contains('\n') && !status.message().contains("secret.so"),
                "{}",
                status.message()
            );
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "holdfast"));
        }
    }

    #[test]
    fn a_custodians_failure_names_its_alias() {
        let status = custody(CustodyError::Busy).into_status(RequestId::new());
        assert!(status.message().starts_with("images: "), "{}", status.message());
    }
}
