//! The attributes of new keys (PKCS #11 sections 4.7 to 4.10).

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use der::Encode as _;
use der::asn1::OctetStringRef;
use holdfast_custody::{Error, KeyKind, PrivateKey};
use holdfast_wire::{PublicKey, Secret};

use super::Name;
use crate::gcm;

/// 2^16 + 1
const PUBLIC_EXPONENT: [u8; 3] = [1, 0, 1];

/// How a kind of key is made.
pub(super) enum Generating {
    /// By C_GenerateKey.
    Secret(Mechanism<'static>, Vec<Attribute>),
    /// By C_GenerateKeyPair: the public half's, then the private half's.
    Pair(Mechanism<'static>, Vec<Attribute>, Vec<Attribute>),
}

/// What a private key does for Holdfast.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Decrypt,
    Derive,
}

pub(super) fn generating(kind: KeyKind, name: &Name) -> Result<Generating, Error> {
    Ok(match kind {
        KeyKind::Rsa(bits) => {
            let mut public = of_public_key(name, Usage::Decrypt);
            public.push(Attribute::ModulusBits(u64::from(bits).into()));
            public.push(Attribute::PublicExponent(PUBLIC_EXPONENT.to_vec()));
            Generating::Pair(Mechanism::RsaPkcsKeyPairGen, public, of_private_key(name, Usage::Decrypt))
        }
        KeyKind::Ec(curve) => {
            let mut public = of_public_key(name, Usage::Derive);
            public.push(Attribute::EcParams(curve.to_der()));
            Generating::Pair(Mechanism::EccKeyPairGen, public, of_private_key(name, Usage::Derive))
        }
        KeyKind::Aes256 => Generating::Secret(Mechanism::AesKeyGen, of_secret_key(name)),
        _ => return Err(Error::Unsupported("keys of this kind")),
    })
}

/// For C_CreateObject. To be given to [`wipe`] after use.
pub(super) fn private(key: &PrivateKey, name: &Name) -> Result<Vec<Attribute>, Error> {
    let copy = |secret: &Secret| secret.expose().to_vec();
    let mut all = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    match (key, key.public()) {
        (PrivateKey::Rsa(key), PublicKey::Rsa(public)) => {
            all.extend(of_private_key(name, Usage::Decrypt));
            all.extend([
                Attribute::KeyType(KeyType::RSA),
                Attribute::Modulus(public.modulus.clone()),
                Attribute::PublicExponent(public.exponent.clone()),
                Attribute::PrivateExponent(copy(&key.private_exponent)),
                Attribute::Prime1(copy(&key.prime1)),
                Attribute::Prime2(copy(&key.prime2)),
                Attribute::Exponent1(copy(&key.exponent1)),
                Attribute::Exponent2(copy(&key.exponent2)),
                Attribute::Coefficient(copy(&key.coefficient)),
            ]);
        }
        (PrivateKey::Ec { curve, scalar, .. }, _) => {
            all.extend(of_private_key(name, Usage::Derive));
            all.extend([
                Attribute::KeyType(KeyType::EC),
                Attribute::EcParams(curve.to_der()),
                Attribute::Value(copy(scalar)),
            ]);
        }
        _ => return Err(Error::Unsupported("keys of this type")),
    }
    Ok(all)
}

/// The public half beside it, for C_CreateObject: an EC private key does not tell it.
pub(super) fn public(key: &PrivateKey, name: &Name) -> Result<Vec<Attribute>, Error> {
    let mut all = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
    match key.public() {
        PublicKey::Rsa(public) => {
            all.extend(of_public_key(name, Usage::Decrypt));
            all.extend([
                Attribute::KeyType(KeyType::RSA),
                Attribute::Modulus(public.modulus.clone()),
                Attribute::PublicExponent(public.exponent.clone()),
            ]);
        }
        PublicKey::Ec(public) => {
            let point = OctetStringRef::new(&public.point).and_then(|point| point.to_der());
            let point = point.map_err(|error| Error::Internal(format!("a point in DER: {error}")))?;
            all.extend(of_public_key(name, Usage::Derive));
            all.extend([
                Attribute::KeyType(KeyType::EC),
                Attribute::EcParams(public.curve.to_der()),
                Attribute::EcPoint(point),
            ]);
        }
        _ => return Err(Error::Unsupported("keys of this type")),
    }
    Ok(all)
}

/// Wipes the secret numbers in a template.
pub(super) fn wipe(template: Vec<Attribute>) {
    for attribute in template {
        if let Attribute::PrivateExponent(number)
        | Attribute::Prime1(number)
        | Attribute::Prime2(number)
        | Attribute::Exponent1(number)
        | Attribute::Exponent2(number)
        | Attribute::Coefficient(number)
        | Attribute::Value(number) = attribute
        {
            drop(Secret::new(number));
        }
    }
}

fn of_private_key(name: &Name, usage: Usage) -> Vec<Attribute> {
    let mut all = guarded(name);
    all.extend([
        Attribute::Decrypt(usage == Usage::Decrypt),
        Attribute::Derive(usage == Usage::Derive),
        Attribute::Sign(false),
        Attribute::SignRecover(false),
        Attribute::Unwrap(false),
    ]);
    all
}

fn of_secret_key(name: &Name) -> Vec<Attribute> {
    let mut all = guarded(name);
    all.extend([
        Attribute::ValueLen(gcm::KEY_LEN.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Derive(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
    ]);
    all
}

fn of_public_key(name: &Name, usage: Usage) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Label(name.label.clone()),
        Attribute::Id(name.id.clone()),
        Attribute::Encrypt(usage == Usage::Decrypt),
        Attribute::Verify(false),
        Attribute::Wrap(false),
    ]
}

/// It stays, is seen after login alone, and its value never leaves the token.
fn guarded(name: &Name) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Label(name.label.clone()),
        Attribute::Id(name.id.clone()),
    ]
}
