//! What a peer on the socket, an image's author or an operator hands us.

use holdfast_envelope::{FinishError, Packet, check_point, jwe};
use holdfast_wire::keyprovider::{
    Recipients, UnwrapRequest, WrapRequest, is_alias, unwrap_response, wrap_response,
};
use holdfast_wire::{Algorithm, EcPublicKey, Labels, NONCE_LEN, OptsData, SYMKEY_LEN, Sealed, Secret};
use holdfastd::config::Config;

use crate::one_printable_line;

/// The bodies of WrapKey and UnWrapKey, and the optsdata inside them.
pub fn keyprovider_message(bytes: &[u8]) {
    match WrapRequest::parse(bytes) {
        Ok(request) => {
            well_formed(&request.optsdata);
            match request.recipients("holdfast") {
                Ok(recipients) => {
                    assert!(recipients.aliases.len() <= Recipients::MAX_ALIASES);
                    assert!(recipients.aliases.iter().all(|alias| is_alias(alias)));
                    assert!(recipients.labels.iter().count() <= Labels::MAX);
                }
                Err(error) => one_printable_line(&error),
            }
        }
        Err(error) => one_printable_line(&error),
    }
    match UnwrapRequest::parse(bytes) {
        Ok(request) => {
            assert!(!request.annotation.is_empty() && request.annotation.len() <= bytes.len());
            assert!(request.private_values <= bytes.len());
            assert!(wrap_response(&request.annotation).is_ascii());
        }
        Err(error) => one_printable_line(&error),
    }
    match OptsData::parse(Secret::copy_of(bytes)) {
        Ok(optsdata) => {
            assert_eq!(optsdata.raw().expose(), bytes, "the bytes that were wrapped are answered");
            well_formed(&optsdata);
        }
        Err(error) => one_printable_line(&error),
    }
}

/// What every peer relies on: a short nonce makes the Go programs panic.
pub(crate) fn well_formed(optsdata: &OptsData) {
    assert_eq!(optsdata.symkey().len(), SYMKEY_LEN);
    assert_eq!(optsdata.nonce().len(), NONCE_LEN);
    assert!(unwrap_response(optsdata).is_ascii());
    let again =
        OptsData::new(Secret::copy_of(optsdata.symkey().expose()), *optsdata.nonce(), "").expect("made");
    assert_eq!(again.symkey().expose(), optsdata.symkey().expose());
}

/// A JWE.
pub fn packet(bytes: &[u8]) {
    packet_of("jwe", bytes);
}

/// A CMS EnvelopedData.
pub fn packet_pkcs7(bytes: &[u8]) {
    packet_of("pkcs7", bytes);
}

/// ocicrypt's PKCS#11 JSON.
pub fn packet_pkcs11(bytes: &[u8]) {
    packet_of("pkcs11", bytes);
}

/// A packet, finished with what a broken token or somebody else's key might open it to.
fn packet_of(scheme: &str, bytes: &[u8]) {
    let packet = match Packet::parse(scheme, bytes) {
        Ok(packet) => packet,
        Err(error) => return one_printable_line(&error),
    };
    let recipients = packet.recipients();
    assert!((1..=jwe::MAX_RECIPIENTS).contains(&recipients.len()));
    assert!(packet.labels().iter().count() <= Labels::MAX);
    for (index, recipient) in recipients.iter().enumerate() {
        assert_eq!(recipient.algorithm().is_some(), recipient.sealed().is_some());
        assert!(recipient.algorithm().is_none_or(|algorithm| packet.algorithms().contains(&algorithm)));
        match recipient.sealed() {
            Some(Sealed::Ecdh { curve, ephemeral }) => {
                let point = EcPublicKey { curve: *curve, point: ephemeral.clone() };
                assert_eq!(check_point(&point), Ok(()), "a point that a token must never see");
            }
            Some(Sealed::RsaOaep { ciphertext, .. } | Sealed::RsaPkcs1v15 { ciphertext }) => {
                assert!((256..=1024).contains(&ciphertext.len()), "no length of an RSA key's");
            }
            _ => {}
        }
        // The lengths of CEKs and of each curve's shared secret, and two that nothing has.
        for len in [0, 16, 24, 31, 32, 48, 66] {
            finish(&packet, index, Secret::new(vec![0; len]));
        }
        finish(&packet, index, Secret::copy_of(&bytes[bytes.len().saturating_sub(32)..]));
        let decoy = packet.decoy(index);
        assert_eq!(decoy.is_some(), recipient.algorithm() == Some(Algorithm::Rsa1_5));
        if let Some(decoy) = decoy {
            assert!(matches!(packet.finish(index, decoy), Err(FinishError::Rejected)), "a decoy opened it");
        }
    }
    let beyond = packet.finish(recipients.len(), Secret::new(vec![0; 32]));
    assert!(matches!(beyond, Err(FinishError::Rejected)));
}

fn finish(packet: &Packet, index: usize, opened: Secret) {
    match packet.finish(index, opened) {
        Ok(optsdata) => well_formed(&optsdata),
        Err(error) => one_printable_line(&error),
    }
}

/// The configuration file: whatever is wrong with it is told with a line that it has.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text) {
        Ok(config) => {
            assert!(config.keys.iter().all(|key| is_alias(&key.alias) && key.token < config.tokens.len()));
            assert!(config.rules.iter().all(|rule| !rule.to.is_empty() && !rule.keys.is_empty()));
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused, and no word why");
            for fault in faults {
                assert!((1..=text.matches('\n').count() + 1).contains(&fault.line), "line {}", fault.line);
                assert!(!fault.what.is_empty());
            }
        }
    }
}
