//! SubjectPublicKeyInfo (RFC 5280, RFC 5480) of an EC key, from what the token states.
//!
//! pkcs11-tool could read it out itself, but opensc 0.23 (Debian 12) fails at P-384 with "cannot create
//! EVP_PKEY". openssl checks the result afterwards, on its way to PEM.

/// id-ecPublicKey (RFC 5480), the content of its OBJECT IDENTIFIER.
pub(super) const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// From CKA_EC_PARAMS (the curve's OBJECT IDENTIFIER) and CKA_EC_POINT (an OCTET STRING), both in DER.
pub(super) fn of_ec(params: &[u8], point: &[u8]) -> Option<Vec<u8>> {
    let point = match point {
        [OCTET_STRING, 0x81, len, point @ ..] if point.len() == usize::from(*len) => point,
        [OCTET_STRING, len @ ..=0x7f, point @ ..] if point.len() == usize::from(*len) => point,
        _ => return None,
    };
    let algorithm = tlv(SEQUENCE, &[&tlv(OBJECT_IDENTIFIER, &[&EC_PUBLIC_KEY])?, params])?;
    tlv(SEQUENCE, &[&algorithm, &tlv(BIT_STRING, &[&[0], point])?])
}

/// Lengths up to 255 bytes: P-521 needs 158.
fn tlv(tag: u8, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let content = parts.concat();
    let header = match u8::try_from(content.len()).ok()? {
        short @ ..=0x7f => vec![tag, short],
        long => vec![tag, 0x81, long],
    };
    Some([header, content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_whose_length_is_wrong_is_no_point() {
        for point in [&[][..], &[4], &[4, 2, 1], &[4, 1, 1, 1], &[3, 1, 1], &[4, 0x82, 0, 0]] {
            assert_eq!(of_ec(&[6, 0], point), None, "{point:?}");
        }
        assert!(of_ec(&[6, 0], &[4, 1, 1]).is_some());
        assert!(of_ec(&[6, 0], &[4, 0x81, 1, 1]).is_some());
    }
}
