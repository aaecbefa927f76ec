//! Messages as a careless or hostile writer makes them, to the key rsa3072.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};

use crate::keys::public;

/// What the messages here are encrypted with.
pub(crate) const KEY: [u8; 32] = [0x5a; 32];

/// A packet in new format.
pub(crate) fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap();
    [&[0xc0 | tag, 0xff], &len.to_be_bytes()[..], body].concat()
}

/// Algorithm, key and checksum.
pub(crate) fn session_key(algorithm: u8, key: &[u8]) -> Vec<u8> {
    let sum: u16 = key.iter().map(|octet| u16::from(*octet)).sum();
    [&[algorithm], key, &sum.to_be_bytes()].concat()
}

/// A PKESK packet with these octets under RSA.
pub(crate) fn pkesk(session_key: &[u8]) -> Vec<u8> {
    let key = PublicEncryptingKey::from_der(&public("rsa3072").to_der().unwrap()).unwrap();
    let key = Pkcs1PublicEncryptingKey::new(key).unwrap();
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(session_key, &mut ciphertext).unwrap();
    packet(1, &[&[3], &[0; 8][..], &[1], &3072_u16.to_be_bytes(), &ciphertext].concat())
}

/// A literal packet.
pub(crate) fn literal(data: &[u8]) -> Vec<u8> {
    packet(11, &[&b"b\x04name\0\0\0\0"[..], data].concat())
}

/// Prefix, packets and modification detection code, not yet encrypted.
pub(crate) fn protected(packets: &[u8]) -> Vec<u8> {
    let mut plaintext = [&b"sixteen octets.."[..], b"..", packets, &[0xd3, 0x14]].concat();
    let mdc = digest(&SHA1_FOR_LEGACY_USE_ONLY, &plaintext);
    plaintext.extend_from_slice(mdc.as_ref());
    plaintext
}

/// A SEIPD packet with this plaintext, by AES-256, or AES-128 if the key is for that.
pub(crate) fn seipd(key: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let aes = UnboundCipherKey::new(if key.len() == 16 { &AES_128 } else { &AES_256 }, key).unwrap();
    let mut body = plaintext.to_vec();
    let iv = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    EncryptingKey::cfb128(aes).unwrap().less_safe_encrypt(&mut body, iv).unwrap();
    packet(18, &[&[1], &body[..]].concat())
}

/// A message of [`KEY`] with this plaintext.
pub(crate) fn message(plaintext: &[u8]) -> Vec<u8> {
    [pkesk(&session_key(9, &KEY)), seipd(&KEY, plaintext)].concat()
}
