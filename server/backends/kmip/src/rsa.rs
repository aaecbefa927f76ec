//! RSA-OAEP inside the server (RFC 8017 section 7.1; MGF1 with the same hash, no label).
//!
//! KMIP 1.4 takes SHA-1 for MGF1 where a request does not say otherwise, even with SHA-256 as the hash, and not all
//! servers do that or let it be said. So each way is tried on something that was sealed here: what opens it is
//! what is done, and it proves the public half too.

use aws_lc_rs::rand;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use holdfast_custody::Error;
use holdfast_wire::{OaepHash, Operation as Native, PublicKey, Secret};

use crate::client::Client;
use crate::errors::{Asked, refused};
use crate::message::Answer;
use crate::protocol::{Operation, tag, value};
use crate::ttlv::Item;

/// How a server is asked for OAEP with one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) hash: OaepHash,
    /// Whether the hash of MGF1 is said too.
    names_mgf_hash: bool,
}

/// Every way that opens what is sealed to `public`, one for each hash; never none.
pub(crate) fn ways(client: &mut Client, id: &str, public: &PublicKey) -> Result<Vec<Way>, Error> {
    let mut ways = Vec::new();
    let mut rejected = false;
    for hash in [OaepHash::Sha1, OaepHash::Sha256] {
        for names_mgf_hash in [false, true] {
            let way = Way { hash, names_mgf_hash };
            match opens(client, id, public, way) {
                Ok(()) => {
                    ways.push(way);
                    break;
                }
                Err(Error::Unsupported(_)) => {}
                Err(Error::Rejected) => rejected = true,
                Err(error) => return Err(error),
            }
        }
    }
    match (ways.is_empty(), rejected) {
        (false, _) => Ok(ways),
        (true, true) => Err(Error::KeyUnfit(
            "the key does not open what is sealed to the public key that the server tells with it; correct its Link, or the public key of its Name".into(),
        )),
        (true, false) => Err(Error::KeyUnfit(
            "the server takes RSA-OAEP with neither SHA-1 nor SHA-256 (Decrypt); use an AES-256 key".into(),
        )),
    }
}

/// Opens what was sealed by OAEP.
pub(crate) fn open(client: &mut Client, id: &str, way: Way, ciphertext: &[u8]) -> Result<Secret, Error> {
    let asked = Asked::ToOpen(Native::RsaOaep(way.hash).name());
    data(decrypt(client, id, way, ciphertext)?.map_err(|failure| refused(&failure, asked))?)
}

fn opens(client: &mut Client, id: &str, public: &PublicKey, way: Way) -> Result<(), Error> {
    let mut known = [0; 32];
    rand::fill(&mut known).map_err(|_| Error::Internal("no random bytes can be made".into()))?;
    let ciphertext = seal(public, way.hash, &known).ok_or_else(|| {
        Error::KeyUnfit("the server tells a public half to which nothing can be sealed".into())
    })?;
    let asked = Asked::Whether(Native::RsaOaep(way.hash).name());
    let opened = data(decrypt(client, id, way, &ciphertext)?.map_err(|failure| refused(&failure, asked))?)?;
    if opened.expose() == known { Ok(()) } else { Err(Error::Rejected) }
}

fn seal(public: &PublicKey, hash: OaepHash, known: &[u8]) -> Option<Vec<u8>> {
    let key = PublicEncryptingKey::from_der(&public.to_der().ok()?).ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let oaep = match hash {
        OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
    };
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(oaep, known, &mut ciphertext, None).ok()?;
    Some(ciphertext)
}

fn decrypt(client: &mut Client, id: &str, way: Way, ciphertext: &[u8]) -> Result<Answer, Error> {
    let hash = match way.hash {
        OaepHash::Sha1 => value::SHA_1,
        OaepHash::Sha256 => value::SHA_256,
    };
    let mut parameters = vec![
        Item::enumeration(tag::PADDING_METHOD, value::OAEP),
        Item::enumeration(tag::HASHING_ALGORITHM, hash),
        Item::enumeration(tag::CRYPTOGRAPHIC_ALGORITHM, value::RSA),
    ];
    if way.names_mgf_hash {
        parameters.push(Item::enumeration(tag::MASK_GENERATOR, value::MGF1));
        parameters.push(Item::enumeration(tag::MASK_GENERATOR_HASHING_ALGORITHM, hash));
    }
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
