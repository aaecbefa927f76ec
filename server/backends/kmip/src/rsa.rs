//! RSA inside the server, with OAEP (RFC 8017 section 7.1; MGF1 with the same hash, no label) or PKCS#1 v1.5
//! (section 7.2).
//!
//! KMIP 1.4 takes SHA-1 for MGF1 where a request does not say otherwise, even with SHA-256 as the hash, and not all
//! servers do that or let it be said. So each way is tried on something that was sealed here: what opens it is
//! what is done, and it proves the public half too.

use aws_lc_rs::rand;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
    PublicEncryptingKey,
};
use holdfast_custody::Error;
use holdfast_wire::{OaepHash, Operation as Native, PublicKey, Secret};

use crate::client::Client;
use crate::errors::{Asked, refused};
use crate::message::Answer;
use crate::protocol::{Operation, tag, value};
use crate::ttlv::Item;

/// How a server is asked for a padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Oaep {
        hash: OaepHash,
        /// Whether the hash of MGF1 is said too.
        names_mgf_hash: bool,
    },
    Pkcs1v15,
}

/// In the order of [`Native::ALL`].
const WAYS: [Way; 5] = [
    Way::Oaep { hash: OaepHash::Sha1, names_mgf_hash: false },
    Way::Oaep { hash: OaepHash::Sha1, names_mgf_hash: true },
    Way::Oaep { hash: OaepHash::Sha256, names_mgf_hash: false },
    Way::Oaep { hash: OaepHash::Sha256, names_mgf_hash: true },
    Way::Pkcs1v15,
];

impl Way {
    pub(crate) fn operation(self) -> Native {
        match self {
            Way::Oaep { hash, .. } => Native::RsaOaep(hash),
            Way::Pkcs1v15 => Native::RsaPkcs1v15,
        }
    }
}

/// Every way that opens what is sealed to `public`, one for each padding and hash; never none.
pub(crate) fn ways(client: &mut Client, id: &str, public: &PublicKey) -> Result<Vec<Way>, Error> {
    let mut ways: Vec<Way> = Vec::new();
    let mut rejected = false;
    for way in WAYS {
        if ways.iter().any(|found| found.operation() == way.operation()) {
            continue;
        }
        match opens(client, id, public, way) {
            Ok(()) => ways.push(way),
            Err(Error::Unsupported(_)) => {}
            Err(Error::Rejected) => rejected = true,
            Err(error) => return Err(error),
        }
    }
    match (ways.is_empty(), rejected) {
        (false, _) => Ok(ways),
        (true, true) => Err(Error::KeyUnfit(
            "the key does not open what is sealed to the public key that the server tells with it; correct its Link, or the public key of its Name".into(),
        )),
        (true, false) => Err(Error::KeyUnfit(
            "the server takes RSA with neither OAEP (SHA-1 or SHA-256) nor PKCS#1 v1.5 (Decrypt); use an AES-256 key".into(),
        )),
    }
}

/// Opens what was sealed this way.
pub(crate) fn open(client: &mut Client, id: &str, way: Way, ciphertext: &[u8]) -> Result<Secret, Error> {
    let asked = Asked::ToOpen(way.operation().name());
    let answer = decrypt(client, id, way, ciphertext)?.map_err(|failure| refused(&failure, asked))?;
    match way {
        // A good padding around nothing: a server may leave Data out then, and nobody is to see that (RFC 3218
        // section 2.3.2).
        Way::Pkcs1v15 if answer.get_bytes(tag::DATA).is_none() => Ok(Secret::new(Vec::new())),
        _ => data(answer),
    }
}

fn opens(client: &mut Client, id: &str, public: &PublicKey, way: Way) -> Result<(), Error> {
    let mut known = [0; 32];
    rand::fill(&mut known).map_err(|_| Error::Internal("no random bytes can be made".into()))?;
    let ciphertext = seal(public, way, &known).ok_or_else(|| {
        Error::KeyUnfit("the server tells a public half to which nothing can be sealed".into())
    })?;
    let asked = Asked::Whether(way.operation().name());
    let opened = data(decrypt(client, id, way, &ciphertext)?.map_err(|failure| refused(&failure, asked))?)?;
    if opened.expose() == known { Ok(()) } else { Err(Error::Rejected) }
}

fn seal(public: &PublicKey, way: Way, known: &[u8]) -> Option<Vec<u8>> {
    let key = PublicEncryptingKey::from_der(&public.to_der().ok()?).ok()?;
    let mut ciphertext = vec![0; key.key_size_bytes()];
    let oaep = match way {
        Way::Oaep { hash: OaepHash::Sha1, .. } => &OAEP_SHA1_MGF1SHA1,
        Way::Oaep { hash: OaepHash::Sha256, .. } => &OAEP_SHA256_MGF1SHA256,
        Way::Pkcs1v15 => {
            Pkcs1PublicEncryptingKey::new(key).ok()?.encrypt(known, &mut ciphertext).ok()?;
            return Some(ciphertext);
        }
    };
    OaepPublicEncryptingKey::new(key).ok()?.encrypt(oaep, known, &mut ciphertext, None).ok()?;
    Some(ciphertext)
}

fn decrypt(client: &mut Client, id: &str, way: Way, ciphertext: &[u8]) -> Result<Answer, Error> {
    let rsa = Item::enumeration(tag::CRYPTOGRAPHIC_ALGORITHM, value::RSA);
    let parameters = match way {
        Way::Pkcs1v15 => vec![Item::enumeration(tag::PADDING_METHOD, value::PKCS1_V1_5), rsa],
        Way::Oaep { hash, names_mgf_hash } => {
            let hash = match hash {
                OaepHash::Sha1 => value::SHA_1,
                OaepHash::Sha256 => value::SHA_256,
            };
            let mut parameters = vec![
                Item::enumeration(tag::PADDING_METHOD, value::OAEP),
                Item::enumeration(tag::HASHING_ALGORITHM, hash),
                rsa,
            ];
            if names_mgf_hash {
                parameters.push(Item::enumeration(tag::MASK_GENERATOR, value::MGF1));
                parameters.push(Item::enumeration(tag::MASK_GENERATOR_HASHING_ALGORITHM, hash));
            }
            parameters
        }
    };
    client.ask(
        Operation::Decrypt,
        vec![
            Item::text(tag::UNIQUE_IDENTIFIER, id),
            Item::structure(tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
            Item::bytes(tag::DATA, ciphertext),
        ],
    )
}

/// The data of an answer.
pub(crate) fn data(answer: Item) -> Result<Secret, Error> {
    answer
        .get_bytes(tag::DATA)
        .map(Secret::copy_of)
        .ok_or_else(|| Error::Unavailable("the server's answer cannot be used: it has no Data".into()))
}
