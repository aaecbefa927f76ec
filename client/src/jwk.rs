//! A public key as a JSON Web Key (RFC 7517), for tools that encrypt.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_wire::PublicKey;
use serde_json::{Value, json};

/// `algorithm` is what skopeo will encrypt with; `kid` comes back in its packets, so that the daemon
/// finds the key without trying others. `None` for a kind of key that this version cannot write.
pub(crate) fn jwk(key: &PublicKey, kid: &str, algorithm: Option<&str>) -> Option<Value> {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut jwk = match key {
        // RFC 7518 section 6.3.1
        PublicKey::Rsa(key) => json!({"kty": "RSA", "n": text(&key.modulus), "e": text(&key.exponent)}),
        // RFC 7518 section 6.2.1: the point without its first byte is x and y.
        PublicKey::Ec(key) => {
            let (x, y) = key.point.get(1..)?.split_at_checked(key.curve.coordinate_len())?;
            json!({"kty": "EC", "crv": key.curve.name(), "x": text(x), "y": text(y)})
        }
        _ => return None,
    };
    jwk["use"] = "enc".into();
    if !kid.is_empty() {
        jwk["kid"] = kid.into();
    }
    if let Some(algorithm) = algorithm {
        jwk["alg"] = algorithm.into();
    }
    Some(jwk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::Curve;

    /// RFC 7517 appendix A.1, the EC key.
    #[test]
    fn the_ec_key_of_rfc_7517_is_written_as_there() {
        let x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
        let y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
        let mut point = vec![4];
        point.extend(URL_SAFE_NO_PAD.decode(x).unwrap());
        point.extend(URL_SAFE_NO_PAD.decode(y).unwrap());
        let key = PublicKey::ec(Curve::P256, &point).unwrap();
        assert_eq!(
            jwk(&key, "1", None).unwrap(),
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "enc", "kid": "1"})
        );
    }
}
