//! Messages of skopeo 1.18 (ocicrypt 1.1.10) and of gpg 2.2, opened by the keys they are for.

use holdfast_envelope::pgp::Pgp;
use holdfast_envelope::{FinishError, Hint, Packet};
use holdfast_wire::{Algorithm, Secret};

use crate::keys::{finish, message, open, optsdata, recipient_key, vector};
use crate::token;

/// Message, which of its recipients, and the key that opens it.
const OF_GPG: [(&str, usize, &str); 14] = [
    ("rsa3072-aes128", 0, "rsa3072"),
    ("rsa3072-aes192", 0, "rsa3072"),
    ("rsa3072-aes256", 0, "rsa3072"),
    ("rsa3072-short", 0, "rsa3072"),
    ("ec-P-256-aes128", 0, "ec-P-256"),
    ("ec-P-256-aes192", 0, "ec-P-256"),
    ("ec-P-256-aes256", 0, "ec-P-256"),
    ("ec-P-256-piped", 0, "ec-P-256"),
    ("ec-P-384", 0, "ec-P-384"),
    ("ec-P-521", 0, "ec-P-521"),
    ("ec-P-256-and-password", 0, "ec-P-256"),
    ("five-recipients", 2, "rsa3072"),
    ("five-recipients", 3, "ec-P-256"),
    ("five-recipients", 4, "ec-P-521"),
];

#[test]
fn what_gpg_encrypts_opens() {
    for (name, index, key) in OF_GPG {
        let message = message(name);
        assert_eq!(finish(&message, index, key).unwrap().raw().expose(), optsdata(), "{name} {key}");
    }
}

#[test]
fn what_skopeo_encrypts_opens() {
    for (name, optsdata) in [
        ("skopeo-pgp.411229ef7850", "openpgp/skopeo-pgp.411229ef7850"),
        ("skopeo-pgp.7e66b14b836a", "openpgp/skopeo-pgp.7e66b14b836a"),
        ("skopeo-mix-all.2ca5441ef670", "skopeo-1.18/mix-all.2ca5441ef670"),
        ("skopeo-mix-all.448e7ec3c535", "skopeo-1.18/mix-all.448e7ec3c535"),
    ] {
        let message = message(name);
        assert_eq!(message.recipients().len(), 1, "{name}");
        let wanted = token::vector(&format!("{optsdata}.optsdata.json"));
        assert_eq!(finish(&message, 0, "rsa3072").unwrap().raw().expose(), wanted, "{name}");
    }
}

#[test]
fn rsa_needs_no_certificate_and_ecdh_does() {
    let rsa = message("rsa3072-aes256");
    let opened = open("rsa3072", rsa.recipients()[0].sealed().unwrap()).unwrap();
    assert!(rsa.finish(0, opened, None).is_ok());
    let ec = message("ec-P-256-aes256");
    let opened = || open("ec-P-256", ec.recipients()[0].sealed().unwrap()).unwrap();
    assert_eq!(ec.finish(0, opened(), None).unwrap_err(), FinishError::Rejected);
    let of_another = recipient_key("ec-P-384");
    assert_eq!(ec.finish(0, opened(), Some(&of_another)).unwrap_err(), FinishError::Rejected);
}

#[test]
fn recipients_are_called_as_their_certificates_call_them() {
    for (name, index, key) in OF_GPG {
        let hint = message(name).recipients()[index].hint().cloned();
        assert_eq!(hint, Some(Hint::KeyId(recipient_key(key).key_id())), "{name} {key}");
    }
}

#[test]
fn hidden_recipients_are_called_nothing_and_open() {
    let message = message("hidden-recipients");
    for (index, key) in [(0, "rsa3072"), (1, "ec-P-384")] {
        assert_eq!(message.recipients()[index].hint(), Some(&Hint::KeyId([0; 8])));
        assert_eq!(finish(&message, index, key).unwrap().raw().expose(), optsdata(), "{key}");
    }
}

#[test]
fn recipients_that_nobody_here_can_open_stand_beside_others() {
    let algorithms = |name: &str| -> Vec<Option<Algorithm>> {
        message(name).recipients().iter().map(holdfast_envelope::Recipient::algorithm).collect()
    };
    let (rsa, ecdh) = (Some(Algorithm::Rsa1_5), Some(Algorithm::OpenPgpEcdh));
    // Curve25519 and Brainpool P-256, whose points are as long as those of P-256.
    assert_eq!(algorithms("five-recipients"), [None, None, rsa, ecdh, ecdh]);
    assert_eq!(algorithms("ec-P-256-and-password"), [ecdh, None]);
    assert_eq!(algorithms("password-only"), [None]);
    let message = message("five-recipients");
    assert!(message.recipients()[0].sealed().is_none());
    let nothing = message.finish(0, Secret::new(vec![0; 32]), Some(&recipient_key("ec-P-256")));
    assert_eq!(nothing.unwrap_err(), FinishError::Rejected);
}

#[test]
fn another_key_of_the_same_type_is_rejected() {
    let message = message("five-recipients");
    let opened = open("ec-P-256", message.recipients()[3].sealed().unwrap()).unwrap();
    let key = recipient_key("ec-P-256");
    for (index, opened) in [
        (2, Secret::copy_of(opened.expose())),
        (3, Secret::new(vec![7; 32])),
        (4, Secret::copy_of(opened.expose())),
        (5, opened),
    ] {
        assert_eq!(message.finish(index, opened, Some(&key)).unwrap_err(), FinishError::Rejected, "{index}");
    }
}

#[test]
fn what_cannot_be_used_is_told_once_it_is_authentic() {
    let opens_but = "the packet opened, but what it holds cannot be used: ";
    for (name, line) in [
        ("ec-P-256-compressed", "compressed data; encrypt with gpg's --compress-algo none"),
        ("ec-P-256-signed", "signed data, which ocicrypt does not write; encrypt without signing"),
    ] {
        let error = finish(&message(name), 0, "ec-P-256").unwrap_err();
        assert_eq!(error.to_string(), format!("{opens_but}{line}"), "{name}");
    }
}

#[test]
fn session_keys_of_other_ciphers_are_rejected() {
    for (name, key) in [("rsa3072-camellia256", "rsa3072"), ("ec-P-256-twofish", "ec-P-256")] {
        assert_eq!(finish(&message(name), 0, key).unwrap_err(), FinishError::Rejected, "{name}");
    }
}

/// What the daemon goes on with when a token refused the padding.
#[test]
fn a_decoy_has_the_form_of_a_session_key_and_opens_nothing() {
    let packet = Packet::parse("pgp", &vector("five-recipients.pgp")).unwrap();
    let decoy = || packet.decoy(2).unwrap();
    assert_eq!((decoy().len(), decoy().expose()[0]), (35, 9));
    assert_ne!(decoy().expose(), decoy().expose());
    assert_eq!(packet.finish(2, decoy()).unwrap_err(), FinishError::Rejected);
    for (index, why) in
        [(0, "nobody opens it"), (3, "ECDH has no padding to refuse"), (5, "it does not exist")]
    {
        assert!(packet.decoy(index).is_none(), "{why}");
    }
}

#[test]
fn content_without_integrity_protection_is_refused() {
    let error = Pgp::parse(&vector("rsa3072-sed.pgp")).unwrap_err().to_string();
    assert!(error.contains("no integrity protection"), "{error}");
    assert!(error.contains("encrypt again with a program that protects it"), "{error}");
}
