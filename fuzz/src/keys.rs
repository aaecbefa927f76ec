//! Names of keys, and public keys.

use holdfast_envelope::{check_point, jwk};
use holdfast_wire::{KeyUri, PublicKey};

use crate::one_printable_line;

/// Key URIs: what is taken is written in one way, and reads back as the same.
pub fn key_uri(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let uri = match text.parse::<KeyUri>() {
        Ok(uri) => uri,
        Err(error) => return one_printable_line(&error),
    };
    let written = uri.to_string();
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "not printable: {written:?}");
    let again: KeyUri = written.parse().unwrap_or_else(|error| panic!("{written}: {error}"));
    assert_eq!(again, uri, "{written}");
    assert_eq!(again.to_string(), written);

    let token = uri.token();
    assert!(token.is_token_of(&uri) && !token.names_key(), "{token} of {uri}");
    assert_eq!(token.token(), token);
}

/// Public keys as DER, PEM and JWK: what is taken can be written, and reads back as the same key.
pub fn public_key(bytes: &[u8]) {
    each_form(PublicKey::from_der(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        each_form(PublicKey::from_pem(text));
    }
    each_form(jwk::from_json(bytes));
}

fn each_form(read: Result<PublicKey, impl std::fmt::Display>) {
    let key = match read {
        Ok(key) => key,
        Err(error) => return one_printable_line(&error),
    };
    assert_eq!(PublicKey::from_der(&key.to_der().expect("DER")).as_ref(), Ok(&key));
    assert_eq!(PublicKey::from_pem(&key.to_pem().expect("PEM")).as_ref(), Ok(&key));
    assert_eq!(jwk::thumbprint(&key).len(), 43);
    // Only a JWK's reader checks that a point lies on its curve.
    let usable = match &key {
        PublicKey::Ec(key) => check_point(key).is_ok(),
        _ => true,
    };
    match jwk::from_json(jwk::to_json(&key, Some("kid"), None).as_bytes()) {
        Ok(again) => assert!(usable && again == key),
        Err(error) => assert!(!usable, "{error}"),
    }
}
