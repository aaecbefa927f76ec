//! CMS packets, put together from parts that a test can replace.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};

use crate::{optsdata, token};

pub(crate) const CEK: [u8; 32] = *b"a content key that all may know.";
pub(crate) const NONCE: [u8; 12] = *b"nonce of 96b";

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let header = match len {
        0..=0x7f => vec![tag, u8::try_from(len).unwrap()],
        0x80..=0xff => vec![tag, 0x81, u8::try_from(len).unwrap()],
        _ => [&[tag, 0x83][..], &u32::try_from(len).unwrap().to_be_bytes()[1..]].concat(),
    };
    let header = match header.as_slice() {
        [tag, 0x83, 0, rest @ ..] => [&[*tag, 0x82][..], rest].concat(),
        _ => header,
    };
    [header, content.to_vec()].concat()
}

/// A SEQUENCE.
pub(crate) fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub(crate) fn oid(hex: &[u8]) -> Vec<u8> {
    tlv(6, hex)
}

pub(crate) const PKCS7: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];
pub(crate) const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const AES: [u8; 8] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];

pub(crate) fn pkcs7(last: u8) -> Vec<u8> {
    oid(&[&PKCS7[..], &[last]].concat())
}

pub(crate) fn aes(last: u8) -> Vec<u8> {
    oid(&[&AES[..], &[last]].concat())
}

/// What a packet is made of, each part a whole value.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) version: Vec<u8>,
    pub(crate) recipients: Vec<Vec<u8>>,
    pub(crate) content_algorithm: Vec<u8>,
    /// None: the encrypted content, in the form that ocicrypt 1.1 writes it in.
    pub(crate) encrypted: Option<Vec<u8>>,
    /// What stands behind the encrypted content.
    pub(crate) rest: Vec<u8>,
    pub(crate) cek_len: usize,
}

impl Parts {
    /// As ocicrypt 1.1 writes it, for rsa2048.
    pub(crate) fn ocicrypt() -> Parts {
        Parts {
            version: vec![2, 1, 0],
            recipients: vec![recipient("rsa2048", &[], 16)],
            content_algorithm: seq(&[aes(6), primitive_parameters(&NONCE, 16)]),
            encrypted: None,
            rest: Vec::new(),
            cek_len: 16,
        }
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let encrypted =
            self.encrypted.clone().unwrap_or_else(|| tlv(0xa0, &tlv(4, &encrypted(self.cek_len))));
        let content = seq(&[pkcs7(1), self.content_algorithm.clone(), encrypted]);
        let recipients = tlv(0x31, &self.recipients.concat());
        let data = seq(&[self.version.clone(), recipients, content, self.rest.clone()]);
        seq(&[pkcs7(3), tlv(0xa0, &data)])
    }
}

/// ocicrypt's own: a primitive SEQUENCE around a SEQUENCE, the nonce as [4].
pub(crate) fn primitive_parameters(nonce: &[u8], icv_len: u8) -> Vec<u8> {
    tlv(0x10, &seq(&[tlv(0x84, nonce), vec![2, 1, icv_len]]))
}

/// RFC 5084's.
pub(crate) fn parameters(nonce: &[u8], icv_len: u8) -> Vec<u8> {
    seq(&[tlv(4, nonce), vec![2, 1, icv_len]])
}

/// optsdata and tag under the first bytes of [`CEK`].
pub(crate) fn encrypted(cek_len: usize) -> Vec<u8> {
    let algorithm = match cek_len {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        _ => &AES_256_GCM,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &CEK[..cek_len]).unwrap());
    let mut buffer = optsdata().raw().expose().to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(NONCE), Aad::empty(), &mut buffer).unwrap();
    buffer
}

pub(crate) fn issuer_and_serial() -> Vec<u8> {
    let name = seq(&[tlv(0x31, &seq(&[oid(&[0x55, 4, 3]), tlv(12, b"an issuer")]))]);
    seq(&[name, vec![2, 1, 0x2a]])
}

/// A KeyTransRecipientInfo; `parameters` stand behind rsaEncryption.
pub(crate) fn recipient(key: &str, parameters: &[u8], cek_len: usize) -> Vec<u8> {
    let algorithm = seq(&[oid(&RSA), parameters.to_vec()]);
    seq(&[vec![2, 1, 0], issuer_and_serial(), algorithm, tlv(4, &wrapped(key, &CEK[..cek_len]))])
}

pub(crate) fn wrapped(key: &str, cek: &[u8]) -> Vec<u8> {
    let key = PublicEncryptingKey::from_der(&token::public_key(key).to_der().unwrap()).unwrap();
    let key = Pkcs1PublicEncryptingKey::new(key).unwrap();
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(cek, &mut ciphertext).unwrap();
    ciphertext
}
