//! AES key wrap (RFC 3394) with a key encryption key (KEK) of 16, 24 or 32 bytes.

use aws_lc_rs::cipher::{self, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap};
use zeroize::Zeroizing;

/// What wrapping adds, in bytes.
pub(crate) const OVERHEAD: usize = 8;

/// The initial value (section 2.2.3.1): what unwrapping with the right key ends in.
const INITIAL_VALUE: [u8; OVERHEAD] = [0xa6; OVERHEAD];

/// Wraps a key. None for a KEK of the wrong length, or a key that is not of whole blocks of 8 bytes, at least two.
pub(crate) fn wrap(kek: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let algorithm = match kek.len() {
        16 => &AES_128,
        24 => return wrap_192(kek, key),
        _ => &AES_256,
    };
    let mut wrapped = vec![0; key.len() + OVERHEAD];
    let len = AesKek::new(algorithm, kek).ok()?.wrap(key, &mut wrapped).ok()?.len();
    wrapped.truncate(len);
    Some(wrapped)
}

/// The wrapped key. None for another KEK as for a KEK or a wrapped key of the wrong length.
pub(crate) fn unwrap(kek: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let algorithm = match kek.len() {
        16 => &AES_128,
        24 => return unwrap_192(kek, wrapped),
        _ => &AES_256,
    };
    let mut key = Zeroizing::new(vec![0; wrapped.len().checked_sub(OVERHEAD)?]);
    let len = AesKek::new(algorithm, kek).ok()?.unwrap(wrapped, &mut key[..]).ok()?.len();
    (len == key.len()).then_some(key)
}

/// Section 2.2.1, as aws-lc-rs has no key wrap with AES-192: only its block cipher.
fn wrap_192(kek: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let count = key.len() / OVERHEAD;
    if count < 2 || !key.len().is_multiple_of(OVERHEAD) {
        return None;
    }
    let aes = EncryptingKey::ecb(UnboundCipherKey::new(&cipher::AES_192, kek).ok()?).ok()?;
    let mut check = Zeroizing::new(INITIAL_VALUE);
    let mut key = Zeroizing::new(key.to_vec());
    let mut block = Zeroizing::new([0; 2 * OVERHEAD]);
    for step in 1..=6 * count {
        let part = key.chunks_exact_mut(OVERHEAD).nth((step - 1) % count)?;
        block[..OVERHEAD].copy_from_slice(&*check);
        block[OVERHEAD..].copy_from_slice(part);
        aes.encrypt(&mut block[..]).ok()?;
        let (first, second) = block.split_first_chunk::<OVERHEAD>()?;
        *check = (u64::from_be_bytes(*first) ^ u64::try_from(step).ok()?).to_be_bytes();
        part.copy_from_slice(second);
    }
    Some([&check[..], &key].concat())
}

/// Section 2.2.2, likewise.
fn unwrap_192(kek: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (check, key) = wrapped.split_first_chunk::<OVERHEAD>()?;
    let count = key.len() / OVERHEAD;
    if count < 2 || !key.len().is_multiple_of(OVERHEAD) {
        return None;
    }
    let aes = DecryptingKey::ecb(UnboundCipherKey::new(&cipher::AES_192, kek).ok()?).ok()?;
    let mut check = Zeroizing::new(u64::from_be_bytes(*check));
    let mut key = Zeroizing::new(key.to_vec());
    let mut block = Zeroizing::new([0; 2 * OVERHEAD]);
    for step in (1..=6 * count).rev() {
        let part = key.chunks_exact_mut(OVERHEAD).nth((step - 1) % count)?;
        block[..OVERHEAD].copy_from_slice(&(*check ^ u64::try_from(step).ok()?).to_be_bytes());
        block[OVERHEAD..].copy_from_slice(part);
        aes.decrypt(&mut block[..], DecryptionContext::None).ok()?;
        let (first, second) = block.split_first_chunk::<OVERHEAD>()?;
        *check = u64::from_be_bytes(*first);
        part.copy_from_slice(second);
    }
    verify_slices_are_equal(&check.to_be_bytes(), &INITIAL_VALUE).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(from: u8, len: u8) -> Vec<u8> {
        (0..len).map(|i| from.wrapping_add(i)).collect()
    }

    /// RFC 3394 section 4: a KEK of 00 01 02 …, and a key of 00 11 22 … ff 00 01 ….
    fn key(len: usize) -> Vec<u8> {
        (0..16).map(|i| 0x11 * i).chain(0..16).take(len).collect()
    }

    #[test]
    fn rfc_3394_section_4_wraps_and_unwraps() {
        let cases: [(u8, usize, &[u8]); 5] = [
            (16, 16, b"\x1f\xa6\x8b\x0a\x81\x12\xb4\x47\xae\xf3\x4b\xd8\xfb\x5a\x7b\x82\x9d\x3e\x86\x23\x71\xd2\xcf\xe5"),
            (24, 16, b"\x96\x77\x8b\x25\xae\x6c\xa4\x35\xf9\x2b\x5b\x97\xc0\x50\xae\xd2\x46\x8a\xb8\xa1\x7a\xd8\x4e\x5d"),
            (32, 16, b"\x64\xe8\xc3\xf9\xce\x0f\x5b\xa2\x63\xe9\x77\x79\x05\x81\x8a\x2a\x93\xc8\x19\x1e\x7d\x6e\x8a\xe7"),
            (24, 24, b"\x03\x1d\x33\x26\x4e\x15\xd3\x32\x68\xf2\x4e\xc2\x60\x74\x3e\xdc\xe1\xc6\xc7\xdd\xee\x72\x5a\x93\x6b\xa8\x14\x91\x5c\x67\x62\xd2"),
            (32, 32, b"\x28\xc9\xf4\x04\xc4\xb8\x10\xf4\xcb\xcc\xb3\x5c\xfb\x87\xf8\x26\x3f\x57\x86\xe2\xd8\x0e\xd3\x26\xcb\xc7\xf0\xe7\x1a\x99\xf4\x3b\xfb\x98\x8b\x9b\x7a\x02\xdd\x21"),
        ];
        for (kek_len, len, wrapped) in cases {
            let kek = counting(0, kek_len);
            assert_eq!(*unwrap(&kek, wrapped).unwrap(), key(len), "{kek_len}");
            assert_eq!(wrap(&kek, &key(len)).unwrap(), wrapped);
            for at in 0..wrapped.len() {
                let mut damaged = wrapped.to_vec();
                damaged[at] ^= 0x80;
                assert!(unwrap(&kek, &damaged).is_none(), "{kek_len}, byte {at}");
            }
            assert!(unwrap(&counting(1, kek_len), wrapped).is_none());
        }
    }

    #[test]
    fn no_length_but_the_right_one_unwraps() {
        for kek_len in [0, 1, 15, 16, 17, 23, 24, 25, 31, 32, 33, 64] {
            for len in 0..50 {
                assert!(unwrap(&counting(0, kek_len), &vec![0xa6; len]).is_none(), "{kek_len}, {len}");
                let fits = [16, 24, 32].contains(&kek_len) && len >= 16 && len % 8 == 0;
                assert_eq!(wrap(&counting(0, kek_len), &vec![7; len]).is_some(), fits, "{kek_len}, {len}");
            }
        }
    }
}
