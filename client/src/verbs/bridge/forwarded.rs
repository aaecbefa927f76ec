//! What of a caller's request goes on to the daemon.
//!
//! ocicrypt sends a provider all the key material it was given: `dc` and `ec.DecryptConfig` hold the
//! caller's private keys and their passwords, and a PKCS#11 recipient in `ec.Parameters` may hold a PIN.
//! The daemon needs none of them, so they end here. They are skipped in the buffer they came in and
//! never become a value, so wiping that buffer wipes them.

use std::collections::BTreeMap;

use holdfast_wire::{Malformed, Secret};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Which of the two calls it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Wrap,
    Unwrap,
}

/// A request without anybody's private keys. A wrap request still holds the layer's key.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub(super) call: Call,
    pub(super) body: Secret,
}

/// Names in `ec.Parameters` that belong to ocicrypt's own schemes. No provider has one of them.
const OTHER_SCHEMES: [&str; 6] =
    ["pubkeys", "x509s", "gpg-recipients", "gpg-pubkeyringfile", "pkcs11-pubkeys", "pkcs11-yamls"];

#[derive(Deserialize)]
struct Input<'a> {
    op: String,
    #[serde(borrow)]
    keywrapparams: Option<WrapParams<'a>>,
    #[serde(borrow)]
    keyunwrapparams: Option<UnwrapParams<'a>>,
}

#[derive(Deserialize)]
struct WrapParams<'a> {
    #[serde(borrow)]
    ec: Option<EncryptConfig<'a>>,
    #[serde(borrow)]
    optsdata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct EncryptConfig<'a> {
    #[serde(borrow, rename = "Parameters")]
    parameters: Option<BTreeMap<String, &'a RawValue>>,
}

#[derive(Deserialize)]
struct UnwrapParams<'a> {
    #[serde(borrow)]
    annotation: Option<&'a RawValue>,
}

impl Forwarded {
    pub(super) fn of(request: &[u8]) -> Result<Forwarded, Malformed> {
        let input: Input<'_> = serde_json::from_slice(request)
            .map_err(|error| Malformed::json("the request on stdin", &error))?;
        // Larger than it can become: growing would leave copies behind.
        let mut body = Vec::with_capacity(request.len() + 256);
        let call = match input.op.as_str() {
            "keywrap" => Call::Wrap,
            "keyunwrap" => Call::Unwrap,
            _ => return Err(Malformed::new("op in the request on stdin is neither keywrap nor keyunwrap")),
        };
        match call {
            Call::Wrap => write_wrap(&mut body, input.keywrapparams),
            Call::Unwrap => write_unwrap(&mut body, input.keyunwrapparams),
        }
        Ok(Forwarded { call, body: Secret::new(body) })
    }
}

fn write_wrap(body: &mut Vec<u8>, params: Option<WrapParams<'_>>) {
    let (ec, optsdata) = params.map_or((None, None), |params| (params.ec, params.optsdata));
    body.extend_from_slice(br#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":{"#);
    let parameters = ec.and_then(|ec| ec.parameters).unwrap_or_default();
    let ours = parameters.iter().filter(|(name, _)| !OTHER_SCHEMES.contains(&name.as_str()));
    for (i, (name, values)) in ours.enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(serde_json::Value::from(name.as_str()).to_string().as_bytes());
        body.push(b':');
        body.extend_from_slice(values.get().as_bytes());
    }
    body.extend_from_slice(br#"},"DecryptConfig":null},"optsdata":"#);
    body.extend_from_slice(text(optsdata));
    body.extend_from_slice(br#"},"keyunwrapparams":{"dc":null,"annotation":null}}"#);
}

fn write_unwrap(body: &mut Vec<u8>, params: Option<UnwrapParams<'_>>) {
    body.extend_from_slice(
        br#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":null,"annotation":"#,
    );
    body.extend_from_slice(text(params.and_then(|params| params.annotation)));
    body.extend_from_slice(b"}}");
}

fn text(value: Option<&RawValue>) -> &[u8] {
    value.map_or(b"null", |value| value.get().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(request: &str) -> (Call, serde_json::Value) {
        let forwarded = Forwarded::of(request.as_bytes()).unwrap();
        (forwarded.call, serde_json::from_slice(forwarded.body.expose()).unwrap())
    }

    #[test]
    fn an_unwrap_request_goes_on_without_dc() {
        let request = r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":{"Parameters":{"privkeys":["UEVN"],"privkeys-passwords":["cHc="]}},"annotation":"cGFja2V0"}}"#;
        let (call, body) = forwarded(request);
        assert_eq!(call, Call::Unwrap);
        assert_eq!(body["keyunwrapparams"], serde_json::json!({"dc": null, "annotation": "cGFja2V0"}));
        assert!(!body.to_string().contains("UEVN"));
    }

    #[test]
    fn a_wrap_request_goes_on_with_the_providers_parameters_alone() {
        let request = r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":{"holdfast":["aW1hZ2Vz"],"pkcs11-yamls":["cGlu"],"pubkeys":["UEVN"]},"DecryptConfig":{"Parameters":{"privkeys":["a2V5"]}}},"optsdata":"b3B0cw=="},"keyunwrapparams":{"dc":null,"annotation":null}}"#;
        let (call, body) = forwarded(request);
        assert_eq!(call, Call::Wrap);
        assert_eq!(
            body["keywrapparams"],
            serde_json::json!({
                "ec": {"Parameters": {"holdfast": ["aW1hZ2Vz"]}, "DecryptConfig": null},
                "optsdata": "b3B0cw=="
            })
        );
    }

    #[test]
    fn the_rust_clients_arrays_and_missing_half_go_on() {
        let request =
            r#"{"op":"keyunwrap","keyunwrapparams":{"dc":{"Parameters":{}},"annotation":[112, 107]}}"#;
        let (_, body) = forwarded(request);
        assert_eq!(body["keyunwrapparams"]["annotation"], serde_json::json!([112, 107]));
        let (_, body) = forwarded(
            r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":null},"optsdata":[1]},"keyunwrapparams":null}"#,
        );
        assert_eq!(body["keywrapparams"]["optsdata"], serde_json::json!([1]));
    }

    #[test]
    fn what_does_not_fit_is_told_without_a_quote() {
        let secret = "c2VjcmV0";
        for (request, says) in [
            (String::new(), "ends too early"),
            (format!(r#"{{"op":"{secret}"}}"#), "neither keywrap nor keyunwrap"),
            (format!(r#"{{"keyunwrapparams":"{secret}"}}"#), "does not have the expected form"),
            (secret.to_owned(), "is not JSON"),
        ] {
            let error = Forwarded::of(request.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains(secret), "{error}");
        }
    }

    #[test]
    fn a_deep_dc_is_skipped_and_no_stack_overflow() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let request =
            format!(r#"{{"op":"keyunwrap","keyunwrapparams":{{"dc":{deep},"annotation":"cGFja2V0"}}}}"#);
        assert_eq!(forwarded(&request).1["keyunwrapparams"]["dc"], serde_json::Value::Null);
    }

    #[test]
    fn the_body_never_outgrows_its_first_buffer() {
        let request = r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":{"\"\\":[]}},"optsdata":""}}"#;
        let forwarded = Forwarded::of(request.as_bytes()).unwrap();
        assert!(forwarded.body.len() <= request.len() + 256);
    }
}
