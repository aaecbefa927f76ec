//! Messages that are well-formed and were altered: one error, wherever they were altered.

use std::collections::BTreeSet;

use holdfast_envelope::FinishError;
use holdfast_envelope::pgp::Pgp;
use holdfast_wire::{Sealed, Secret};

use crate::keys::{open, optsdata, recipient_key, vector};

/// What came of a message with one bit flipped.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It has not the form of a message.
    Refused,
    /// Nobody can open its recipient any more.
    Unopenable,
    /// The token or the content says no.
    Rejected,
    /// It holds what it held.
    Opened,
}

fn outcome(message: &[u8], key: &str, good: &(Sealed, Secret)) -> Outcome {
    let Ok(message) = Pgp::parse(message) else { return Outcome::Refused };
    let Some(sealed) = message.recipients()[0].sealed() else { return Outcome::Unopenable };
    let opened = match *sealed == good.0 {
        true => Some(Secret::copy_of(good.1.expose())),
        false => open(key, sealed),
    };
    let opened = opened.unwrap_or_else(|| Secret::new(vec![0; 35]));
    match message.finish(0, opened, Some(&recipient_key(key))) {
        Ok(opened) => {
            assert_eq!(opened.raw().expose(), optsdata());
            Outcome::Opened
        }
        Err(error) => {
            assert_eq!(error, FinishError::Rejected);
            Outcome::Rejected
        }
    }
}

/// Flips these bits one by one and gives the octets where that made no difference.
fn survivors(name: &str, key: &str, bits: impl Iterator<Item = usize>) -> BTreeSet<usize> {
    let message = vector(&format!("{name}.pgp"));
    let sealed = Pgp::parse(&message).unwrap().recipients()[0].sealed().unwrap().clone();
    let good = (sealed.clone(), open(key, &sealed).unwrap());
    assert_eq!(outcome(&message, key, &good), Outcome::Opened);
    let mut survived = BTreeSet::new();
    for bit in bits {
        let mut altered = message.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        if outcome(&altered, key, &good) == Outcome::Opened {
            survived.insert(bit / 8);
        }
    }
    survived
}

/// The key ID is but a hint. A length in bits may be another one of the same length in octets.
#[test]
fn a_flipped_bit_opens_nothing_else_and_most_often_nothing() {
    for (name, key, hint, len_in_bits) in
        [("ec-P-256-aes256", "ec-P-256", 3..11, 13), ("ec-P-521", "ec-P-521", 3..11, 13)]
    {
        let every = 0..vector(&format!("{name}.pgp")).len() * 8;
        let survived = survivors(name, key, every);
        let mut wanted: BTreeSet<usize> = hint.collect();
        wanted.insert(len_in_bits);
        assert_eq!(survived, wanted, "{name}");
    }
}

/// One bit of each octet: RSA is slow.
#[test]
fn a_flipped_bit_in_an_rsa_message_opens_nothing_else() {
    let bits = (0..vector("rsa3072-aes256.pgp").len()).map(|octet| octet * 8 + octet * 3 % 8);
    let survived = survivors("rsa3072-aes256", "rsa3072", bits);
    let hint: BTreeSet<usize> = (4..12).collect();
    assert!(survived.is_superset(&hint), "{survived:?}");
    // And the length in bits.
    assert!(survived.difference(&hint).all(|octet| *octet == 14), "{survived:?}");
}

#[test]
fn no_beginning_of_a_message_is_taken() {
    for name in ["rsa3072-aes256", "ec-P-256-piped", "skopeo-pgp.411229ef7850", "five-recipients"] {
        let message = vector(&format!("{name}.pgp"));
        for len in 0..message.len() {
            assert!(Pgp::parse(&message[..len]).is_err(), "{len} bytes of {name} were taken");
        }
    }
}

#[test]
fn an_opened_value_of_any_length_is_the_same_error() {
    for (name, key) in [("rsa3072-aes256", "rsa3072"), ("ec-P-384", "ec-P-384")] {
        let message = Pgp::parse(&vector(&format!("{name}.pgp"))).unwrap();
        for len in [0, 1, 16, 18, 19, 20, 27, 31, 32, 34, 35, 36, 47, 48, 49, 66, 512] {
            for octet in [0, 7, 9] {
                let opened = Secret::new(vec![octet; len]);
                let error = message.finish(0, opened, Some(&recipient_key(key))).unwrap_err();
                assert_eq!(error, FinishError::Rejected, "{len} {name}");
            }
        }
    }
}
