//! OpenPGP messages, and certificates.

use std::sync::LazyLock;

use holdfast_envelope::pgp::{Certificate, EncryptionKey, MAX_RECIPIENTS, Pgp, RecipientKey};
use holdfast_envelope::{FinishError, check_point};
use holdfast_wire::{EcPublicKey, PublicKey, Sealed, Secret};

use crate::one_printable_line;

/// A certificate to finish with, of a key on P-256.
static CERTIFIED: LazyLock<RecipientKey> = LazyLock::new(|| {
    let certificate = include_bytes!("../../tests/vectors/openpgp/ec-P-256.asc");
    let public = include_str!("../../tests/vectors/openpgp/ec-P-256.pub.pem");
    let public = PublicKey::from_pem(public).expect("the vector's public half");
    let certificate = Certificate::parse(certificate).expect("the vector's certificate");
    certificate.key_of(&public).expect("its key").clone()
});

/// When the certificates of the corpus are valid.
const NOW: u64 = 1_798_761_600;

/// A message, finished with what a broken token or somebody else's key might open it to; and a certificate, whose key is
/// chosen too.
pub fn openpgp(bytes: &[u8]) {
    match Pgp::parse(bytes) {
        Ok(message) => of_message(&message),
        Err(error) => one_printable_line(&error),
    }
    match Certificate::parse(bytes) {
        Ok(certificate) => {
            for key in certificate.keys() {
                one_printable_line(key);
                if let PublicKey::Ec(public) = key.public() {
                    assert_eq!(check_point(public), Ok(()), "a point that does not lie on its curve");
                }
                match certificate.key_of(key.public()) {
                    Ok(found) => assert_eq!(found, key),
                    Err(error) => one_printable_line(&error),
                }
            }
        }
        Err(error) => one_printable_line(&error),
    }
    match EncryptionKey::choose(bytes, NOW) {
        Ok(key) => assert!(key.public().is_some() || key.type_name() == "Curve25519"),
        Err(error) => one_printable_line(&error),
    }
}

fn of_message(message: &Pgp) {
    let recipients = message.recipients();
    assert!((1..=MAX_RECIPIENTS).contains(&recipients.len()));
    for (index, recipient) in recipients.iter().enumerate() {
        assert_eq!(recipient.algorithm().is_some(), recipient.sealed().is_some());
        if let Some(Sealed::Ecdh { curve, ephemeral }) = recipient.sealed() {
            let point = EcPublicKey { curve: *curve, point: ephemeral.clone() };
            assert_eq!(check_point(&point), Ok(()), "a point that a token must never see");
        }
        // Session keys of zeros, which the corpus has content for; a shared secret; and what nothing has.
        for (algorithm, len) in [(7, 16), (8, 24), (9, 32), (9, 16), (0, 29)] {
            let mut opened = vec![0; 1 + len + 2];
            opened[0] = algorithm;
            finish(message, index, opened);
        }
        finish(message, index, Vec::new());
    }
    let beyond = message.finish(recipients.len(), Secret::new(vec![0; 35]), None);
    assert!(matches!(beyond, Err(FinishError::Rejected)));
}

fn finish(message: &Pgp, index: usize, opened: Vec<u8>) {
    match message.finish(index, Secret::new(opened), Some(&CERTIFIED)) {
        Ok(optsdata) => crate::messages::well_formed(&optsdata),
        Err(error) => one_printable_line(&error),
    }
}
