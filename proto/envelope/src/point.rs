//! Points on the NIST curves.
//!
//! A point off its curve, given to a token's ECDH, can leak the private key piece by piece (the
//! invalid-curve attack). Not every token checks, so every point is checked here before one sees it. The
//! curves have cofactor 1: a point on the curve that is not the one at infinity is a valid public key
//! (SP 800-56A section 5.6.2.3.4), and an uncompressed encoding cannot be that of infinity.

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, ParsedPublicKey, UnparsedPublicKey};
use holdfast_wire::{Curve, EcPublicKey, Malformed, PublicKey};

/// Checks that the point lies on its curve: a few microseconds. Only the uncompressed form is taken.
pub fn check_point(key: &EcPublicKey) -> Result<(), Malformed> {
    // The form first: AWS-LC would also take compressed points and a whole SubjectPublicKeyInfo.
    PublicKey::ec(key.curve, &key.point)?;
    ParsedPublicKey::try_from(UnparsedPublicKey::new(ecdh(key.curve), &key.point))
        .map(|_| ())
        .map_err(|_| Malformed::new(format!("a point that does not lie on {}", key.curve)))
}

/// The ECDH of a curve.
pub(crate) fn ecdh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &ECDH_P256,
        Curve::P384 => &ECDH_P384,
        Curve::P521 => &ECDH_P521,
    }
}

/// The point's two coordinates. Halves of whatever is there, if it has the wrong length.
pub(crate) fn coordinates(point: &[u8]) -> (&[u8], &[u8]) {
    let numbers = point.get(1..).unwrap_or_default();
    numbers.split_at(numbers.len() / 2)
}

/// The point of two coordinates, each exactly as long as its curve has them (RFC 7518 section 6.2.1.2).
pub(crate) fn from_coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Result<EcPublicKey, Malformed> {
    let wanted = curve.coordinate_len();
    for (name, number) in [("x", x), ("y", y)] {
        if number.len() != wanted {
            return Err(Malformed::new(format!(
                "{name} has {} bytes; on {curve} it has {wanted}",
                number.len()
            )));
        }
    }
    let key = EcPublicKey { curve, point: [&[4], x, y].concat() };
    check_point(&key)?;
    Ok(key)
}
