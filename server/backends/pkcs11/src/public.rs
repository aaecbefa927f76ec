//! The public half of a private key on a token.
//!
//! A wrong public half is not refused by anything: what is sealed to it is lost. So every place that
//! tells it is read, and when two of them disagree the key is not used. For EC, [`crate::ecdh::prove`] then
//! asks the token itself.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::Decode as _;
use der::asn1::OctetStringRef;
use holdfast_custody::Error;
use holdfast_wire::{Curve, Malformed, PublicKey};

use crate::attributes::bytes;
use crate::errors::failed;

/// The public half of the RSA or EC key at `private`: from its own attributes, and from every public key
/// object beside it.
pub(crate) fn find(session: &Session, private: ObjectHandle, kind: KeyType) -> Result<PublicKey, Error> {
    let mut told = told_by(session, private, kind)?;
    for beside in public_objects(session, private, kind)? {
        told.extend(told_by(session, beside, kind)?);
    }
    let Some(public) = told.pop() else {
        return Err(Error::KeyUnfit(match kind {
            KeyType::EC => "the token does not tell the public half of this EC key; store its public key beside it, with the same CKA_ID".into(),
            _ => "the token does not tell the public half of this key; store its public key beside it, with the same CKA_ID".into(),
        }));
    };
    if told.iter().any(|other| *other != public) {
        return Err(Error::KeyUnfit(
            "the public key stored beside this key (same CKA_ID, or same CKA_LABEL) is another key's; give each pair a CKA_ID of its own".into(),
        ));
    }
    if let Some(named) = curve(session, private)? {
        match &public {
            PublicKey::Ec(point) if point.curve == named => {}
            _ => {
                return Err(Error::KeyUnfit(
                    "the public key stored beside this EC key is on another curve; store its own".into(),
                ));
            }
        }
    }
    Ok(public)
}

/// Public key objects of the same type that go with a private key: with its CKA_ID, or, if that finds
/// nothing, with its label.
fn public_objects(
    session: &Session,
    private: ObjectHandle,
    kind: KeyType,
) -> Result<Vec<ObjectHandle>, Error> {
    let id = bytes(session, private, AttributeType::Id)?.map(Attribute::Id);
    let label = bytes(session, private, AttributeType::Label)?.map(Attribute::Label);
    for name in [id, label].into_iter().flatten() {
        let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(kind), name];
        let found =
            session.find_objects(&template).map_err(|error| failed(error, "looking for the public key"))?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Every public key that one object tells: in its own attributes, and as CKA_PUBLIC_KEY_INFO.
fn told_by(session: &Session, object: ObjectHandle, kind: KeyType) -> Result<Vec<PublicKey>, Error> {
    let mut told = Vec::new();
    if let Some(info) = bytes(session, object, AttributeType::PublicKeyInfo)? {
        told.push(PublicKey::from_der(&info).map_err(unfit)?);
    }
    if kind == KeyType::RSA {
        let modulus = bytes(session, object, AttributeType::Modulus)?;
        let exponent = bytes(session, object, AttributeType::PublicExponent)?;
        if let (Some(modulus), Some(exponent)) = (modulus, exponent) {
            told.push(PublicKey::rsa(&modulus, &exponent).map_err(unfit)?);
        }
    } else if let Some(point) = bytes(session, object, AttributeType::EcPoint)?
        && let Some(curve) = curve(session, object)?
    {
        told.push(PublicKey::ec(curve, raw_point(&point)).map_err(unfit)?);
    }
    Ok(told)
}

/// The curve that an object names; one that this version does not know makes the key unfit.
fn curve(session: &Session, object: ObjectHandle) -> Result<Option<Curve>, Error> {
    let Some(params) = bytes(session, object, AttributeType::EcParams)? else {
        return Ok(None);
    };
    match Curve::from_der(&params) {
        Some(curve) => Ok(Some(curve)),
        None => Err(Error::KeyUnfit(
            "the key is on a curve other than P-256, P-384 and P-521; make one on one of these".into(),
        )),
    }
}

/// CKA_EC_POINT is the DER OCTET STRING of the point (PKCS #11 section 6.3); older modules give the point.
fn raw_point(attribute: &[u8]) -> &[u8] {
    match OctetStringRef::from_der(attribute) {
        Ok(inner) => inner.as_bytes(),
        Err(_) => attribute,
    }
}

fn unfit(malformed: Malformed) -> Error {
    Error::KeyUnfit(format!("the token tells a public half that cannot be used: {malformed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_taken_wrapped_or_raw() {
        for len in [65usize, 97, 133] {
            let raw = [&[4][..], &vec![7; len - 1]].concat();
            let wrapped = match u8::try_from(len) {
                Ok(len @ ..128) => [&[4, len][..], &raw].concat(),
                Ok(len) => [&[4, 0x81, len][..], &raw].concat(),
                Err(_) => unreachable!(),
            };
            assert_eq!(raw_point(&wrapped), raw);
            assert_eq!(raw_point(&raw), raw);
        }
    }
}
