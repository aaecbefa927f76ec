//! Public keys as JSON Web Keys (RFC 7517, RFC 7518 section 6), and their thumbprints (RFC 7638).
//!
//! Only public keys: a JWK with private members is refused rather than read past, because whoever gave
//! it to a tool of ours has put a private key where none belongs and should hear of it.

use aws_lc_rs::digest;
use holdfast_wire::{Algorithm, Curve, EcPublicKey, Malformed, PublicKey};
use serde_json::{Map, Value};

use crate::json::Object;
use crate::{base64url, point};

/// Longest JWK taken, in bytes.
const MAX_LEN: usize = 16 * 1024;

/// Members that only a private or a symmetric key has (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The SHA-256 thumbprint in base64url, 43 characters: the `kid` of a recipient. It names a key by what
/// it is, so that a packet tells nothing about where the key is kept.
pub fn thumbprint(key: &PublicKey) -> String {
    // RFC 7638 section 3: the required members alone, by name, without white space.
    let canonical = match members(key) {
        Members::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        Members::Ec { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
        // Another type of key has a JWK form that must be added here; till then no two are alike.
        Members::Other { der } => der,
    };
    base64url::encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
}

/// Writes a public JWK for encryption. skopeo takes it as `--encryption-key jwe:FILE`, and then uses
/// `algorithm` where for a PEM key it would choose RSA-OAEP or ECDH-ES+A256KW, and writes `kid`.
pub fn to_json(key: &PublicKey, kid: Option<&str>, algorithm: Option<Algorithm>) -> String {
    let mut jwk = Map::new();
    let mut put = |name: &str, value: &str| jwk.insert(name.to_owned(), Value::from(value));
    match members(key) {
        Members::Rsa { n, e } => {
            put("kty", "RSA");
            put("n", &n);
            put("e", &e);
        }
        Members::Ec { crv, x, y } => {
            put("kty", "EC");
            put("crv", crv);
            put("x", &x);
            put("y", &y);
        }
        Members::Other { .. } => {}
    }
    put("use", "enc");
    if let Some(kid) = kid {
        put("kid", kid);
    }
    if let Some(algorithm) = algorithm {
        put("alg", algorithm.name());
    }
    Value::Object(jwk).to_string()
}

/// Reads a public JWK, RSA or EC. An EC point is checked to lie on its curve. `kid` is not looked at, nor
/// is `alg`, which [`algorithm`] reads.
pub fn from_json(json: &[u8]) -> Result<PublicKey, Malformed> {
    const JWK: &str = "the JWK";
    if json.len() > MAX_LEN {
        return Err(Malformed::new(format!("the JWK has {} bytes; at most {MAX_LEN} are taken", json.len())));
    }
    let jwk = Object::parse(json, JWK)?;
    if jwk.has("keys") {
        return Err(Malformed::new("a JWK Set; give one of its keys alone"));
    }
    if PRIVATE_MEMBERS.iter().any(|name| jwk.has(name)) {
        return Err(Malformed::new(
            "the JWK holds a private or symmetric key; give the public JWK, and treat this file as exposed",
        ));
    }
    if jwk.text("use", JWK)?.is_some_and(|purpose| purpose != "enc") {
        return Err(Malformed::new("the JWK is not for encryption (its use is not enc)"));
    }
    let number =
        |name: &str| jwk.bytes(name, JWK)?.ok_or_else(|| Malformed::new(format!("the JWK has no {name}")));
    match jwk.text("kty", JWK)? {
        Some("RSA") => PublicKey::rsa(&number("n")?, &number("e")?),
        Some("EC") => ec_point(&jwk, JWK).map(PublicKey::Ec),
        Some(_) => Err(Malformed::new("the JWK is neither RSA nor EC")),
        None => Err(Malformed::new("the JWK has no kty")),
    }
}

/// The algorithm that a JWK asks for with `alg`. None: it asks for none.
pub fn algorithm(json: &[u8]) -> Result<Option<Algorithm>, Malformed> {
    let jwk = Object::parse(json, "the JWK")?;
    match jwk.text("alg", "the JWK")? {
        None => Ok(None),
        Some(name) => match name.parse::<Algorithm>() {
            Ok(algorithm) if algorithm.in_jwe() => Ok(Some(algorithm)),
            _ => Err(Malformed::new("the JWK asks for an algorithm (alg) that this version does not know")),
        },
    }
}

/// The public key in an object of kty EC, on its curve. Also how an `epk` is read.
pub(crate) fn ec_point(jwk: &Object, what: &str) -> Result<EcPublicKey, Malformed> {
    let crv = jwk.text("crv", what)?.ok_or_else(|| Malformed::new(format!("{what} has no crv")))?;
    let curve = Curve::ALL
        .into_iter()
        .find(|curve| curve.name() == crv)
        .ok_or_else(|| Malformed::new(format!("{what} is not on P-256, P-384 or P-521")))?;
    let number =
        |name: &str| jwk.bytes(name, what)?.ok_or_else(|| Malformed::new(format!("{what} has no {name}")));
    point::from_coordinates(curve, &number("x")?, &number("y")?)
        .map_err(|error| Malformed::new(format!("{what}: {error}")))
}

enum Members {
    Rsa {
        n: String,
        e: String,
    },
    Ec {
        crv: &'static str,
        x: String,
        y: String,
    },
    /// A type that `PublicKey` has learnt since; nothing makes one today.
    Other {
        der: String,
    },
}

fn members(key: &PublicKey) -> Members {
    match key {
        PublicKey::Rsa(key) => {
            Members::Rsa { n: base64url::encode(&key.modulus), e: base64url::encode(&key.exponent) }
        }
        PublicKey::Ec(key) => {
            let (x, y) = point::coordinates(&key.point);
            Members::Ec { crv: key.curve.name(), x: base64url::encode(x), y: base64url::encode(y) }
        }
        other => Members::Other { der: base64url::encode(other.to_der().unwrap_or_default()) },
    }
}
