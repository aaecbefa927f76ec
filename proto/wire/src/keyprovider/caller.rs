//! The caller's side of WrapKey, for a client of ours that wraps as ocicrypt's programs do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::is_alias;
use crate::json::Bytes;
use crate::{Malformed, OptsData, Secret};

/// The body of a WrapKey call as ocicrypt writes it; `parameters` is what stood behind
/// `provider:NAME:`, at least one. A `provider` has the form of an alias.
pub fn wrap_request(provider: &str, parameters: &[String], optsdata: &OptsData) -> Result<Secret, Malformed> {
    if !is_alias(provider) {
        return Err(Malformed::new("a provider's name that is not 1 to 64 letters, digits, '.', '_' or '-'"));
    }
    let parameters: Vec<String> =
        parameters.iter().map(|text| format!("\"{}\"", STANDARD.encode(text))).collect();
    let head = format!(
        r#"{{"op":"keywrap","keywrapparams":{{"ec":{{"Parameters":{{"{provider}":[{}]}},"DecryptConfig":{{"Parameters":{{}}}}}},"optsdata":""#,
        parameters.join(",")
    );
    let wrapped = Zeroizing::new(STANDARD.encode(optsdata.raw().expose()));
    const TAIL: &[u8] = br#""},"keyunwrapparams":{"dc":null,"annotation":null}}"#;
    // Large enough from the start: growing would leave copies behind.
    let mut body = Vec::with_capacity(head.len() + wrapped.len() + TAIL.len());
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(wrapped.as_bytes());
    body.extend_from_slice(TAIL);
    Ok(Secret::new(body))
}

/// The packet in the answer to WrapKey.
pub fn wrapped_packet(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        keywrapresults: Option<Results>,
    }
    #[derive(Deserialize)]
    struct Results {
        #[serde(default)]
        annotation: Bytes,
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| Malformed::json("the answer", &error))?;
    match answer.keywrapresults {
        Some(Results { annotation: Bytes(mut packet) }) if !packet.is_empty() => {
            Ok(std::mem::take(&mut *packet))
        }
        _ => Err(Malformed::new("the answer holds no wrapped key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyprovider::{WrapRequest, wrap_response};

    #[test]
    fn what_is_asked_is_understood_and_so_is_the_answer() {
        let optsdata = OptsData::new(Secret::new(vec![1; 32]), [2; 16], "sha256:00").unwrap();
        let parameters = ["images".to_owned(), "spare;env=prod".to_owned()];
        let body = wrap_request("kp", &parameters, &optsdata).unwrap();
        let read = WrapRequest::parse(body.expose()).unwrap();
        assert_eq!(read.optsdata.raw().expose(), optsdata.raw().expose());
        assert_eq!(read.private_values, 0);
        let recipients = read.recipients("kp").unwrap();
        assert_eq!(recipients.aliases, ["images", "spare"]);
        assert_eq!(recipients.labels.get("env"), Some("prod"));

        assert_eq!(wrapped_packet(&wrap_response(b"packet")).unwrap(), b"packet");
        assert_eq!(wrapped_packet(br#"{"keywrapresults":{"annotation":"AQI="}}"#).unwrap(), [1, 2]);
    }

    #[test]
    fn an_answer_without_a_packet_is_told() {
        for body in ["{}", r#"{"keywrapresults":null}"#, r#"{"keywrapresults":{"annotation":""}}"#, "", "[]"]
        {
            assert!(wrapped_packet(body.as_bytes()).is_err(), "{body}");
        }
        let optsdata = OptsData::new(Secret::new(vec![1; 32]), [2; 16], "").unwrap();
        assert!(wrap_request("a\":", &[], &optsdata).is_err());
    }
}
