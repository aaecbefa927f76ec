//! Keys from outside, as Register brings them into a server (KMIP 1.4, section 4.3): an RSA key as PKCS#1, its public
//! half as a SubjectPublicKeyInfo of the same Name, an AES key as its bytes.

use holdfast_custody::{Error, RsaPrivateKey};
use holdfast_wire::{PublicKey, Secret};
use pkcs1::UintRef;
use pkcs1::der::Encode as _;

use crate::attributes;
use crate::form::{Form, Given, Of};
use crate::message::Question;
use crate::protocol::{Operation, attribute, tag, usage, value};
use crate::ttlv::{Item, Tag, Value};

/// A key as a message has it.
struct Object<'a> {
    kind: u32,
    tag: Tag,
    format: u32,
    material: &'a Secret,
    algorithm: u32,
    bits: usize,
    usage: i32,
}

/// The private half.
pub(crate) fn private(
    form: Form,
    name: &str,
    key: &RsaPrivateKey,
    optional: Vec<Given>,
) -> Result<Question, Error> {
    let object = Object {
        kind: value::PRIVATE_KEY,
        tag: tag::PRIVATE_KEY,
        format: value::FORMAT_PKCS_1,
        material: &pkcs1(key)?,
        algorithm: value::RSA,
        bits: bits(&key.public),
        usage: usage::DECRYPT,
    };
    object.question(form, name, optional)
}

/// The public half: by it the private one is found to be the right one.
pub(crate) fn public(form: Form, name: &str, key: &RsaPrivateKey) -> Result<Question, Error> {
    let der = key.public.to_der().map_err(|error| Error::Internal(error.to_string()))?;
    let object = Object {
        kind: value::PUBLIC_KEY,
        tag: tag::PUBLIC_KEY,
        format: value::FORMAT_X_509,
        material: &Secret::new(der),
        algorithm: value::RSA,
        bits: bits(&key.public),
        usage: usage::ENCRYPT,
    };
    object.question(form, name, Vec::new())
}

/// An AES key.
pub(crate) fn secret(form: Form, name: &str, key: &Secret, optional: Vec<Given>) -> Result<Question, Error> {
    let object = Object {
        kind: value::SYMMETRIC_KEY,
        tag: tag::SYMMETRIC_KEY,
        format: value::FORMAT_RAW,
        material: key,
        algorithm: value::AES,
        bits: 8 * key.len(),
        usage: usage::ENCRYPT | usage::DECRYPT,
    };
    object.question(form, name, optional)
}

impl Object<'_> {
    fn question(self, form: Form, name: &str, optional: Vec<Given>) -> Result<Question, Error> {
        let bits = i32::try_from(self.bits).map_err(|_| Error::Internal("a key without an end".into()))?;
        let mut given = vec![attributes::name(name), (attribute::USAGE_MASK, Value::Integer(self.usage))];
        given.extend(optional);
        let material = Item::bytes(tag::KEY_MATERIAL, self.material.expose());
        let block = vec![
            Item::enumeration(tag::KEY_FORMAT_TYPE, self.format),
            Item::structure(tag::KEY_VALUE, vec![material]),
            Item::enumeration(tag::CRYPTOGRAPHIC_ALGORITHM, self.algorithm),
            Item::integer(tag::CRYPTOGRAPHIC_LENGTH, bits),
        ];
        let mut payload = vec![Item::enumeration(tag::OBJECT_TYPE, self.kind)];
        payload.extend(form.write(Of::New, given));
        payload.push(Item::structure(self.tag, vec![Item::structure(tag::KEY_BLOCK, block)]));
        Ok(Question { operation: Operation::Register, payload })
    }
}

/// Of the modulus.
fn bits(public: &PublicKey) -> usize {
    let PublicKey::Rsa(key) = public else { return 0 };
    8 * key.modulus.len() - key.modulus.first().map_or(0, |byte| byte.leading_zeros() as usize)
}

/// RSAPrivateKey (RFC 8017, appendix A.1.2), in a buffer that is made as long as it gets.
fn pkcs1(key: &RsaPrivateKey) -> Result<Secret, Error> {
    let unfit = |_| Error::KeyUnfit("the RSA key cannot be written as PKCS#1".into());
    let PublicKey::Rsa(public) = &key.public else {
        return Err(Error::Internal("an RSA key of another kind".into()));
    };
    let number = |bytes| UintRef::new(bytes).map_err(unfit);
    let structure = pkcs1::RsaPrivateKey {
        modulus: number(&public.modulus)?,
        public_exponent: number(&public.exponent)?,
        private_exponent: number(key.private_exponent.expose())?,
        prime1: number(key.prime1.expose())?,
        prime2: number(key.prime2.expose())?,
        exponent1: number(key.exponent1.expose())?,
        exponent2: number(key.exponent2.expose())?,
        coefficient: number(key.coefficient.expose())?,
        other_prime_infos: None,
    };
    let len = structure.encoded_len().and_then(usize::try_from).map_err(unfit)?;
    let mut der = Secret::new(vec![0; len]);
    structure.encode_to_slice(der.expose_mut()).map_err(unfit)?;
    Ok(der)
}
