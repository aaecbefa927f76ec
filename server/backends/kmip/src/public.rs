//! The public half of an RSA key. The private key itself is never asked for.
//!
//! A server tells which public key goes with a private one by a Link; some have none (PyKMIP), and then it is the
//! public key of the same Name. Either way it is only believed when the private key opens what was sealed to it:
//! see [`crate::rsa`].

use holdfast_custody::Error;
use holdfast_wire::PublicKey;
use pkcs1::der::Decode as _;

use crate::attributes::Attributes;
use crate::client::Client;
use crate::errors::{Asked, refused};
use crate::object;
use crate::protocol::{Operation, attribute, tag, value};
use crate::ttlv::{Item, Value};

/// The public half of the private key with these attributes.
pub(crate) fn find(client: &mut Client, private: &Attributes) -> Result<PublicKey, Error> {
    let id = match private.link(value::PUBLIC_KEY_LINK) {
        Some(id) => id.to_owned(),
        None => by_name(client, private)?,
    };
    // A link may lead anywhere, and what it leads to is fetched.
    let kind = Attributes::fetch(client, &id)?.enumeration(attribute::OBJECT_TYPE);
    if kind != Some(value::PUBLIC_KEY) {
        return Err(unfit("the object that its Link names is no public key; correct the Link"));
    }
    let answer = client.ask(Operation::Get, vec![Item::text(tag::UNIQUE_IDENTIFIER, &id)])?;
    let object = answer.map_err(|failure| refused(&failure, Asked::Other))?;
    read(&object)
}

fn by_name(client: &mut Client, private: &Attributes) -> Result<String, Error> {
    let names: Vec<String> = private.names().map(str::to_owned).collect();
    let mut found = Vec::new();
    for name in names {
        found.extend(object::named(client, &name, &[value::PUBLIC_KEY])?);
    }
    found.sort();
    found.dedup();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(unfit(
            "the server does not tell the public half of this RSA key: there is neither a Link to it nor a public key of the same Name; register its public key under that Name",
        )),
        (Some(_), false) => Err(unfit(
            "there are several public keys of this key's Name and no Link says which is its; leave one, or add a Link",
        )),
    }
}

/// The key in the answer to Get: as PKCS#1, as a SubjectPublicKeyInfo, or as two numbers (section 2.1.7).
pub(crate) fn read(answer: &Item) -> Result<PublicKey, Error> {
    let block = answer.get(tag::PUBLIC_KEY).and_then(|key| key.get(tag::KEY_BLOCK));
    let format = block.and_then(|block| block.get_enumeration(tag::KEY_FORMAT_TYPE));
    let key_value = block.and_then(|block| block.get(tag::KEY_VALUE));
    let (Some(format), Some(key_value)) = (format, key_value) else {
        return Err(unfit("the server tells its public key in no form that can be read"));
    };
    let der = key_value.get_bytes(tag::KEY_MATERIAL);
    let unusable = |why: &dyn std::fmt::Display| {
        Error::KeyUnfit(format!("the server tells a public half that cannot be used: {why}"))
    };
    match (format, der) {
        (value::FORMAT_PKCS_1, Some(der)) => {
            let key = pkcs1::RsaPublicKey::from_der(der).map_err(|_| unusable(&"not PKCS#1"))?;
            PublicKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
        }
        (value::FORMAT_X_509, Some(der)) => PublicKey::from_der(der),
        (value::FORMAT_TRANSPARENT_RSA_PUBLIC_KEY, None) => {
            let number = |tag| match &key_value.get(tag::KEY_MATERIAL)?.get(tag)?.value {
                Value::BigInteger(number) => Some(number.as_slice()),
                _ => None,
            };
            match (number(tag::MODULUS), number(tag::PUBLIC_EXPONENT)) {
                (Some(modulus), Some(exponent)) => PublicKey::rsa(modulus, exponent),
                _ => return Err(unusable(&"without modulus or exponent")),
            }
        }
        (format, _) => return Err(unusable(&format!("Key Format Type {format:#x}"))),
    }
    .map_err(|malformed| unusable(&malformed))
}

fn unfit(why: &str) -> Error {
    Error::KeyUnfit(why.to_owned())
}
