//! The session key as it stands under RSA or AES key wrap (RFC 9580 section 5.1.3): its algorithm, itself,
//! and the sum of its octets.

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, Algorithm};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use holdfast_wire::Secret;
use zeroize::Zeroizing;

/// Symmetric algorithms (section 9.3). No others are taken: a message decides which, and the rest is what
/// OpenPGP had before AES, or in other countries.
const ALGORITHMS: [(u8, &Algorithm, usize); 3] = [(7, &AES_128, 16), (8, &AES_192, 24), (9, &AES_256, 32)];

/// Octets of a padded session key: those of AES-256, and 5 more.
const PADDED_LEN: usize = 40;

/// A key of AES with 128, 192 or 256 bits.
pub(super) struct SessionKey {
    algorithm: &'static Algorithm,
    key: Zeroizing<Vec<u8>>,
}

impl SessionKey {
    /// One that opens nothing.
    pub(super) fn random() -> Option<SessionKey> {
        let mut key = Zeroizing::new(vec![0; 32]);
        aws_lc_rs::rand::fill(&mut key).ok()?;
        Some(SessionKey { algorithm: &AES_256, key })
    }

    /// Without padding, as RSA has it.
    pub(super) fn read(bytes: &[u8]) -> Option<SessionKey> {
        let (key, rest) = SessionKey::split(bytes)?;
        rest.is_empty().then_some(key)
    }

    /// With one to 255 octets behind it that each tell how many they are, as ECDH has it
    /// (section 11.5).
    pub(super) fn read_padded(bytes: &[u8]) -> Option<SessionKey> {
        let (key, padding) = SessionKey::split(bytes)?;
        let len = u8::try_from(padding.len()).ok().filter(|len| *len > 0)?;
        padding.iter().all(|octet| *octet == len).then_some(key)
    }

    /// As RSA has it.
    pub(super) fn written(&self) -> Secret {
        let id = ALGORITHMS.into_iter().find(|(_, known, _)| *known == self.algorithm).map(|(id, ..)| id);
        let mut written = Vec::with_capacity(1 + self.key.len() + size_of::<u16>());
        written.extend(id);
        written.extend_from_slice(&self.key);
        written.extend_from_slice(&checksum(&self.key));
        Secret::new(written)
    }

    /// With padding up to whole blocks of AES key wrap, as ECDH has it, and to one length for every algorithm
    /// (section 11.5).
    pub(super) fn written_padded(&self) -> Secret {
        let written = self.written();
        let len = PADDED_LEN.saturating_sub(written.len()) as u8;
        let mut padded = Secret::new(vec![len; PADDED_LEN]);
        padded.expose_mut()[..written.len()].copy_from_slice(written.expose());
        padded
    }

    fn split(bytes: &[u8]) -> Option<(SessionKey, &[u8])> {
        let (id, rest) = bytes.split_first()?;
        let (_, algorithm, len) = ALGORITHMS.into_iter().find(|(known, ..)| known == id)?;
        let (key, rest) = rest.split_at_checked(len)?;
        let (sum, rest) = rest.split_at_checked(size_of::<u16>())?;
        verify_slices_are_equal(sum, &checksum(key)).ok()?;
        Some((SessionKey { algorithm, key: Zeroizing::new(key.to_vec()) }, rest))
    }

    pub(super) fn algorithm(&self) -> &'static Algorithm {
        self.algorithm
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.key
    }
}

/// The sum of the octets, modulo 65536.
fn checksum(key: &[u8]) -> [u8; 2] {
    key.iter().fold(0_u16, |sum, octet| sum.wrapping_add(u16::from(*octet))).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(id: u8, len: usize, checksum: u16) -> Vec<u8> {
        [&[id][..], &vec![3; len], &checksum.to_be_bytes()].concat()
    }

    #[test]
    fn the_three_sizes_of_aes_are_read_and_nothing_else() {
        for (id, len) in [(7, 16), (8, 24), (9, 32)] {
            let good = written(id, len, 3 * u16::try_from(len).unwrap());
            let key = SessionKey::read(&good).unwrap();
            assert_eq!(key.expose(), vec![3; len]);
            assert_eq!(key.written().expose(), good);
            let padded = key.written_padded();
            assert_eq!(
                (padded.len(), SessionKey::read_padded(padded.expose()).unwrap().expose()),
                (40, key.expose())
            );
            assert!(SessionKey::read(&written(id, len, 3)).is_none(), "bad checksum");
            assert!(SessionKey::read(&[&good[..], &[0]].concat()).is_none(), "one octet more");
            for short in 0..good.len() {
                assert!(SessionKey::read(&good[..short]).is_none(), "{short} octets");
            }
        }
        for id in (0..=255).filter(|id| !(7..=9).contains(id)) {
            assert!(SessionKey::read(&written(id, 32, 96)).is_none(), "algorithm {id}");
        }
    }

    #[test]
    fn padding_tells_its_own_length() {
        let key = written(9, 32, 96);
        for padding in [&[5; 5][..], &[1], &[21; 21], &[255; 255]] {
            assert!(SessionKey::read_padded(&[&key, padding].concat()).is_some(), "{padding:?}");
        }
        for padding in [&[][..], &[0], &[4; 5], &[5, 5, 5, 5, 6], &[1, 5, 5, 5, 5], &[0; 256]] {
            assert!(SessionKey::read_padded(&[&key, padding].concat()).is_none(), "{padding:?}");
        }
    }
}
