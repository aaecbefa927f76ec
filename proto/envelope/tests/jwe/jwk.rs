//! JSON Web Keys.

use holdfast_envelope::jwk::{from_json, thumbprint, to_json};
use holdfast_wire::Algorithm;
use serde_json::{Value, json};

use crate::token::{self, public_key};

/// RFC 7638 section 3.1.
const RFC_KEY: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

#[test]
fn rfc_7638_3_1_has_its_thumbprint() {
    let key = from_json(RFC_KEY.as_bytes()).unwrap();
    assert_eq!(thumbprint(&key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn an_ec_key_has_the_thumbprint_others_give_it() {
    // RFC 7517 appendix A.1; the value is jwcrypto's.
    let jwk = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}"#;
    assert_eq!(
        thumbprint(&from_json(jwk.as_bytes()).unwrap()),
        "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"
    );
}

#[test]
fn every_key_comes_back_as_it_went_out() {
    for name in token::KEYS {
        let key = public_key(name);
        let jwk = to_json(&key, Some("a \"kid\""), Some(Algorithm::RsaOaep256));
        assert_eq!(from_json(jwk.as_bytes()).unwrap(), key, "{name}");
        let jwk: Value = serde_json::from_str(&jwk).unwrap();
        assert_eq!(jwk["kid"], "a \"kid\"");
        assert_eq!((&jwk["alg"], &jwk["use"]), (&json!("RSA-OAEP-256"), &json!("enc")));
        assert_eq!(from_json(to_json(&key, None, None).as_bytes()).unwrap(), key, "{name}");
    }
}

#[test]
fn the_same_key_in_pem_and_jwk_is_one_key() {
    for name in ["rsa3072", "ec-P-256"] {
        let jwk = from_json(&token::vector(&format!("keys/{name}.pub.jwk"))).unwrap();
        assert_eq!(jwk, public_key(name));
    }
}

#[test]
fn josekit_reads_what_is_written() {
    for (name, algorithm) in crate::sealing::every_public_way() {
        let jwk = to_json(&public_key(name), Some("k"), Some(algorithm));
        let jwk = josekit::jwk::Jwk::from_bytes(jwk).unwrap();
        match algorithm {
            Algorithm::EcdhEsA256Kw => josekit::jwe::ECDH_ES_A256KW.encrypter_from_jwk(&jwk).map(drop),
            Algorithm::RsaOaep => josekit::jwe::RSA_OAEP.encrypter_from_jwk(&jwk).map(drop),
            _ => josekit::jwe::RSA_OAEP_256.encrypter_from_jwk(&jwk).map(drop),
        }
        .unwrap();
    }
}

#[test]
fn each_defect_has_its_own_line() {
    let ec = || serde_json::from_slice::<Value>(&token::vector("keys/ec-P-256.pub.jwk")).unwrap();
    let with = |name: &str, value: Value| {
        let mut jwk = ec();
        jwk[name] = value;
        jwk.to_string()
    };
    let without = |name: &str| {
        let mut jwk = ec();
        jwk.as_object_mut().unwrap().remove(name);
        jwk.to_string()
    };
    let private =
        "the JWK holds a private or symmetric key; give the public JWK, and treat this file as exposed";
    let cases: &[(&str, String, &str)] = &[
        ("private_ec", with("d", json!("c2VjcmV0")), private),
        ("private_rsa", with("p", json!("c2VjcmV0")), private),
        ("symmetric", r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(), private),
        ("a_set", r#"{"keys":[]}"#.to_owned(), "a JWK Set; give one of its keys alone"),
        ("for_signatures", with("use", json!("sig")), "the JWK is not for encryption (its use is not enc)"),
        ("kty_unknown", with("kty", json!("OKP")), "the JWK is neither RSA nor EC"),
        ("kty_missing", without("kty"), "the JWK has no kty"),
        ("crv_unknown", with("crv", json!("secp256k1")), "the JWK is not on P-256, P-384 or P-521"),
        ("crv_wrong", with("crv", json!("P-384")), "the JWK: x has 32 bytes; on P-384 it has 48"),
        ("y_missing", without("y"), "the JWK has no y"),
        ("y_padded", with("y", json!("AA==")), "y of the JWK is not base64url without padding"),
        ("y_a_number", with("y", json!(1)), "y of the JWK is not a string"),
        ("off_curve", with("y", json!("A".repeat(43))), "the JWK: a point that does not lie on P-256"),
        (
            "n_short",
            r#"{"kty":"RSA","n":"_w","e":"AQAB"}"#.to_owned(),
            "an RSA modulus of 8 bits; 2048 to 8192 are taken",
        ),
        (
            "twice",
            r#"{"kty":"EC","kty":"EC"}"#.to_owned(),
            "the JWK has the same member twice (line 1, column 17)",
        ),
        ("too_long", " ".repeat(16_385), "the JWK has 16385 bytes; at most 16384 are taken"),
    ];
    for (name, jwk, line) in cases {
        let error = from_json(jwk.as_bytes()).unwrap_err().to_string();
        assert_eq!(&error, line, "{name}");
    }
}
