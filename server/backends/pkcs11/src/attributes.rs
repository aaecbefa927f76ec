//! Reading an object's attributes, and telling "false" from "could not be read".
//!
//! cryptoki leaves out what a token does not give, and hands fixed-size attributes a zeroed buffer: with
//! a module that stops at the first attribute it does not know, the ones after it would read as false.
//! So each attribute is asked for alone, and first whether it is there. A key is described once per
//! connection; that it takes twenty short calls instead of two is no matter.

use cryptoki::error::Error as Pkcs11Error;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use holdfast_custody::Error;

use crate::errors::failed;

/// An attribute; `None` if the token does not give it or it is not of its type.
pub(crate) fn read(
    session: &Session,
    object: ObjectHandle,
    which: AttributeType,
) -> Result<Option<Attribute>, Error> {
    let there = session
        .get_attribute_info(object, &[which])
        .map_err(|error| failed(error, "asking for an attribute"))?;
    if !matches!(there.first(), Some(AttributeInfo::Available(_))) {
        return Ok(None);
    }
    match session.get_attributes(object, &[which]) {
        Ok(mut attributes) => Ok(attributes.pop()),
        Err(error @ Pkcs11Error::Pkcs11(..)) => Err(failed(error, "reading an attribute")),
        // A boolean of two bytes, a mechanism without a number (CKA_KEY_GEN_MECHANISM of an imported key).
        Err(_not_of_its_type) => Ok(None),
    }
}

/// A boolean attribute of a private or secret key; `None` if it cannot be read.
pub(crate) fn flag(
    session: &Session,
    object: ObjectHandle,
    which: AttributeType,
) -> Result<Option<bool>, Error> {
    Ok(match read(session, object, which)? {
        Some(
            Attribute::Token(value)
            | Attribute::Private(value)
            | Attribute::Sensitive(value)
            | Attribute::AlwaysSensitive(value)
            | Attribute::Extractable(value)
            | Attribute::NeverExtractable(value)
            | Attribute::Local(value)
            | Attribute::Encrypt(value)
            | Attribute::Decrypt(value)
            | Attribute::Wrap(value)
            | Attribute::Unwrap(value)
            | Attribute::Derive(value)
            | Attribute::Sign(value)
            | Attribute::WrapWithTrusted(value)
            | Attribute::AlwaysAuthenticate(value),
        ) => Some(value),
        _ => None,
    })
}

/// A byte-string attribute that is public; `None` if it cannot be read or is empty.
pub(crate) fn bytes(
    session: &Session,
    object: ObjectHandle,
    which: AttributeType,
) -> Result<Option<Vec<u8>>, Error> {
    Ok(match read(session, object, which)? {
        Some(
            Attribute::Id(value)
            | Attribute::Label(value)
            | Attribute::Modulus(value)
            | Attribute::PublicExponent(value)
            | Attribute::PublicKeyInfo(value)
            | Attribute::EcParams(value)
            | Attribute::EcPoint(value),
        ) if !value.is_empty() => Some(value),
        _ => None,
    })
}
