//! What a registry asks for before it answers (RFC 9110 section 11.6.1), and what it is given: Basic, or a
//! token of the server that it names, for one scope (the distribution project's token specification).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::Error;
use crate::credentials::Credential;

/// Longest answer of a token server, in bytes. Tokens with many scopes are a few KiB.
pub(crate) const MAX_TOKEN: u64 = 1 << 20;

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// The first challenge in the headers that can be met; Bearer before Basic, as Docker has it.
pub(crate) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for (scheme, parameters) in challenges(headers) {
        let parameter = |name: &str| parameters.get(name).cloned();
        if scheme == "bearer"
            && let Some(realm) = parameter("realm")
        {
            return Some(Challenge::Bearer { realm, service: parameter("service") });
        }
        if scheme == "basic" {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// Whether it knows the user, whom it gave a token, and that is not good for this (RFC 6750 section 3.1).
pub(crate) fn lacks_scope(headers: &HeaderMap) -> bool {
    let error = |(_, parameters): (_, HashMap<String, String>)| parameters.get("error").cloned();
    challenges(headers).filter_map(error).any(|error| error == "insufficient_scope")
}

/// Schemes and the names of parameters are in small letters.
fn challenges(headers: &HeaderMap) -> impl Iterator<Item = (String, HashMap<String, String>)> {
    let headers = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|header| header.to_str().ok());
    headers.flat_map(|header| http_auth::parse_challenges(header).unwrap_or_default()).map(|challenge| {
        let parameters = challenge.params.iter();
        let parameters = parameters.map(|(name, value)| (name.to_ascii_lowercase(), value.to_unescaped()));
        (challenge.scheme.to_ascii_lowercase(), parameters.collect())
    })
}

/// `Authorization: Basic` (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    secret_header(&Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
}

/// `Authorization: Bearer` (RFC 6750), from what a token server answered.
pub(crate) fn bearer(answer: &[u8]) -> Result<HeaderValue, Error> {
    let odd =
        || Error::Odd("the registry's token server answers without a token; ask who runs it".to_owned());
    let json: Map<String, Value> = serde_json::from_slice(answer).map_err(|_| odd())?;
    let token = ["token", "access_token"].into_iter().find_map(|name| json.get(name)?.as_str());
    let token = token.filter(|token| !token.is_empty()).ok_or_else(odd)?;
    secret_header(&Zeroizing::new(format!("Bearer {token}"))).ok_or_else(odd)
}

/// The parameters of a token request: a GET with them as query, or a form that is posted for an identity
/// token, which must not stand in a URL.
pub(crate) fn token_parameters(
    service: Option<&str>,
    scope: &str,
    identity: Option<&Credential>,
) -> Vec<(&'static str, String)> {
    // Of a query each is a parameter of its own; a form has them in one (RFC 6749 section 3.3).
    let mut parameters: Vec<_> = match identity {
        Some(Credential::Identity(_)) => vec![("scope", scope.to_owned())],
        _ => scope.split(' ').map(|scope| ("scope", scope.to_owned())).collect(),
    };
    if let Some(service) = service {
        parameters.push(("service", service.to_owned()));
    }
    if let Some(Credential::Identity(token)) = identity {
        parameters.push(("grant_type", "refresh_token".to_owned()));
        parameters.push(("client_id", "holdfast".to_owned()));
        parameters.push(("refresh_token", token.to_string()));
    }
    parameters
}

/// Marked, so that no log or `Debug` of a library shows it.
fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[&str]) -> Option<Challenge> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        challenge(&map)
    }

    #[test]
    fn bearer_goes_before_basic() {
        let bearer = Some(Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("r.example".into()),
        });
        let header = r#"Bearer realm="https://auth.example/token",service="r.example",scope="x""#;
        assert_eq!(of(&[header]), bearer);
        assert_eq!(of(&[r#"Basic realm="r""#, header]), bearer);
        assert_eq!(of(&[r#"BASIC realm="r""#]), Some(Challenge::Basic));
        for other in
            [&["Negotiate"][..], &["Bearer service=\"no-realm\""], &["\u{7f}"][..0], &["Bearer realm=\""]]
        {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_token_has_either_name_and_is_never_printed() {
        let header = bearer(br#"{"access_token":"hunter2"}"#).unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer hunter2");
        assert!(!format!("{header:?}").contains("hunter2"));
        assert!(!format!("{:?}", basic("me", "hunter2")).contains("hunter2"));
        for odd in [&b"{}"[..], b"{\"token\":\"\"}", b"{\"token\":\"a\\nb\"}", b"[]", b""] {
            assert!(bearer(odd).unwrap_err().to_string().contains("without a token"));
        }
    }
}
