//! RSAES-OAEP: as a mechanism of the token, and, for a key whose configuration asks for it, the padding
//! taken off here after the token did RSA alone.
//!
//! The second is for tokens without OAEP with SHA-256 (SoftHSM 2.6). It costs what the first has by nature:
//! the padded message is in this process, and taking it off in a time that depends on it would be the
//! oracle of Manger (CRYPTO 2001), by which some thousand questions open any message. So nothing here
//! branches on it or looks anything up by it before the one verdict, good or not: a wrong first byte, a
//! wrong hash, a missing 0x01 and a damaged message take the same steps and are one error. What the token
//! and its module do with the number on its way is theirs. No library that this project links has this step
//! by itself (aws-lc-rs and `rsa` have it behind a private key only); its parts are theirs: SHA-256 of
//! aws-lc-rs, selection and comparison of `subtle`.

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use holdfast_custody::Error;
use holdfast_wire::{OaepHash, Secret};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// RSAES-OAEP with one hash for label and MGF1, and an empty label.
pub(crate) fn mechanism(hash: OaepHash) -> Mechanism<'static> {
    let (digest, mgf) = match hash {
        OaepHash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        OaepHash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
    };
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(digest, mgf, PkcsOaepSource::empty()))
}

/// EME-OAEP decoding (RFC 8017 section 7.1.2 step 3) with SHA-256 and an empty label. `number` is what
/// raw RSA gave, big-endian, with or without leading zeros; `modulus_len` is in bytes.
pub(crate) fn unpad_sha256(number: &Secret, modulus_len: usize) -> Result<Secret, Error> {
    const HASH: usize = SHA256_OUTPUT_LEN;
    let number = number.expose();
    // Neither says anything of the message: a number of the token's that is no number below the modulus,
    // and a key that is too short for the padding.
    if number.len() > modulus_len || modulus_len < 2 * HASH + 2 {
        return Err(Error::Rejected);
    }
    let mut message = Secret::new(vec![0; modulus_len]);
    message.expose_mut()[modulus_len - number.len()..].copy_from_slice(number);
    let (first, masked) = message.expose_mut().split_at_mut(1);
    let (seed, block) = masked.split_at_mut(HASH);
    mask(seed, block);
    mask(block, seed);

    let label = digest(&SHA256, b"");
    let (label_hash, rest) = block.split_at(HASH);
    let mut good = first[0].ct_eq(&0) & label_hash.ct_eq(label.as_ref());
    // rest is zeros, 0x01 and the message: where does the message begin?
    let mut searching = Choice::from(1);
    let mut begins = 0_u32;
    for (at, byte) in (1_u32..).zip(rest) {
        let one = byte.ct_eq(&1);
        good &= !searching | one | byte.ct_eq(&0);
        begins.conditional_assign(&at, searching & one);
        searching &= !one;
    }
    good &= !searching;
    // The verdict, and the only branch on it. How long a good message is, is no secret.
    if bool::from(good) {
        rest.get(begins as usize..).map(Secret::copy_of).ok_or(Error::Rejected)
    } else {
        Err(Error::Rejected)
    }
}

/// Takes MGF1 with SHA-256 of `seed` (RFC 8017 appendix B.2.1) off `target`, or puts it on.
fn mask(target: &mut [u8], seed: &[u8]) {
    for (counter, part) in (0_u32..).zip(target.chunks_mut(SHA256_OUTPUT_LEN)) {
        let mut hash = Context::new(&SHA256);
        hash.update(seed);
        hash.update(&counter.to_be_bytes());
        for (byte, mask) in part.iter_mut().zip(hash.finish().as_ref()) {
            *byte ^= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 256;

    /// An encoded message, changed before it is masked: 32 bytes of hash, zeros, 0x01, the message.
    fn encoded(first: u8, message: &[u8], change: impl Fn(&mut [u8])) -> Secret {
        let mut block = vec![0; LEN - 33];
        block[..32].copy_from_slice(digest(&SHA256, b"").as_ref());
        let begins = block.len() - message.len();
        block[begins - 1] = 1;
        block[begins..].copy_from_slice(message);
        change(&mut block);
        let mut seed = [0x5a; 32];
        mask(&mut block, &seed);
        mask(&mut seed, &block);
        Secret::new([&[first][..], &seed, &block].concat())
    }

    fn unpadded(number: &Secret) -> Option<Vec<u8>> {
        match unpad_sha256(number, LEN) {
            Ok(message) => Some(message.expose().to_vec()),
            Err(error) => {
                assert_eq!(error, Error::Rejected);
                None
            }
        }
    }

    #[test]
    fn a_message_of_any_length_comes_back() {
        for len in [0, 1, 16, 32, 64, LEN - 66] {
            let message: Vec<u8> = (0..len).map(|at| u8::try_from(at).unwrap()).collect();
            assert_eq!(unpadded(&encoded(0, &message, |_| ())), Some(message));
        }
        assert_eq!(unpadded(&encoded(0, &[0, 1, 1, 0], |_| ())), Some(vec![0, 1, 1, 0]));
    }

    #[test]
    fn a_token_may_leave_leading_zeros_out() {
        let whole = encoded(0, &[7; 32], |_| ());
        let short = Secret::copy_of(&whole.expose()[1..]);
        assert_eq!(unpadded(&short), Some(vec![7; 32]));
    }

    #[test]
    fn every_defect_is_the_same_rejection() {
        type Change = fn(&mut [u8]);
        let defects: [(&str, u8, Change); 9] = [
            ("first_byte_one", 1, |_| ()),
            ("first_byte_high", 0x80, |_| ()),
            ("label_hash_first_bit", 0, |block| block[0] ^= 1),
            ("label_hash_last_bit", 0, |block| block[31] ^= 0x80),
            ("label_not_empty", 0, |block| block[..32].copy_from_slice(digest(&SHA256, b"x").as_ref())),
            ("no_one", 0, |block| block[32..].fill(0)),
            ("two_instead_of_one", 0, |block| *block.iter_mut().skip(32).find(|b| **b == 1).unwrap() = 2),
            ("padding_not_zero", 0, |block| block[40] = 2),
            ("first_byte_and_hash", 0, |block| block.fill(0xff)),
        ];
        for (name, first, change) in defects {
            assert_eq!(unpadded(&encoded(first, &[7; 32], change)), None, "{name}");
        }
        for number in [vec![0; LEN], vec![0xff; LEN], Vec::new(), vec![0; LEN + 1]] {
            assert_eq!(unpadded(&Secret::new(number)), None);
        }
        let flipped = |at: usize| {
            let mut number = encoded(0, &[7; 32], |_| ()).expose().to_vec();
            number[at] ^= 1;
            unpadded(&Secret::new(number))
        };
        for at in [1, 32, 33, 64, 100] {
            assert_eq!(flipped(at), None, "masked byte {at}");
        }
    }

    #[test]
    fn a_key_too_short_for_the_padding_opens_nothing() {
        assert_eq!(unpad_sha256(&Secret::new(vec![0; 65]), 65).unwrap_err(), Error::Rejected);
    }
}
