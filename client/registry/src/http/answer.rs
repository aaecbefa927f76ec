//! What a registry answers, as far as it is the same for every question.

use std::io::Read as _;
use std::time::Duration;

use holdfast_image::printable;
use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{LINK, RETRY_AFTER};
use serde_json::Value;

use crate::Error;
use crate::error::in_its_words;

/// Longest error body that is looked at.
const MAX_COMPLAINT: u64 = 16 * 1024;

/// The body, if it is no longer than that.
pub(crate) fn bounded(response: Response, most: u64, what: &str) -> Result<Vec<u8>, Error> {
    let too_long =
        || Error::Odd(format!("the registry answers {what} of more than {most} bytes; that is not read"));
    if response.content_length().is_some_and(|length| length > most) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    response.take(most + 1).read_to_end(&mut bytes).map_err(|error| {
        Error::Unavailable(format!("the registry's answer broke off: {error}; run again"))
    })?;
    if bytes.len() as u64 > most { Err(too_long()) } else { Ok(bytes) }
}

/// Too many requests, or a fault on its side that may pass.
pub(super) fn is_later(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Not now.
pub(crate) struct Later {
    pub(crate) why: String,
    pub(crate) pause: Option<Duration>,
}

impl Later {
    pub(crate) fn of(response: Response) -> Later {
        // A date (RFC 9110 section 10.2.3) is not read: our clock may differ from its.
        let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        let said = in_its_words(&complaint(response));
        Later { why: format!("it answers {status}{said}"), pause: pause.map(Duration::from_secs) }
    }
}

/// The messages of a registry's error (OCI distribution-spec, "Error codes").
pub(super) fn complaint(response: Response) -> String {
    let mut bytes = Vec::new();
    // A complaint that broke off is none.
    let _ = response.take(MAX_COMPLAINT).read_to_end(&mut bytes);
    let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let errors = json.get("errors").and_then(Value::as_array).into_iter().flatten();
    let messages: Vec<&str> = errors.filter_map(|error| error.get("message")?.as_str()).collect();
    messages.join(", ")
}

/// Where `Link: <…>; rel="next"` leads (RFC 8288), as a path and query.
pub(super) fn next_page(response: &Response) -> Option<String> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    let (target, parameters) = link.trim_start().strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| target.to_owned())
}

/// Whether it is us who will not speak with it: its certificate, or where it redirects to. That will not pass.
pub(super) fn is_refusal_of_ours(error: &reqwest::Error) -> bool {
    // rustls' words; its type is hidden below two other libraries.
    let by_tls = why(error).starts_with("invalid peer certificate");
    error.is_redirect() || (error.is_connect() && by_tls)
}

/// The root of it: the library's own text has the whole URL in it.
pub(crate) fn why(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match error {
        _ if error.is_timeout() => "no answer in time".to_owned(),
        _ => printable(&cause.to_string()),
    }
}
