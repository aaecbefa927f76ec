use super::*;

/// Public test keys of the repository, and one on a curve that is not taken.
fn key(name: &str) -> PublicKey {
    let path = format!("{}/../../../tests/vectors/keys/{name}.pub.pem", env!("CARGO_MANIFEST_DIR"));
    PublicKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn policy_key(name: &str) -> PolicyKey {
    PolicyKey::new(key(name)).unwrap()
}

const TAKEN: [&str; 5] = ["rsa2048", "rsa3072", "rsa4096", "ec-P-256", "ec-P-384"];

#[test]
fn a_signer_comes_back_from_a_key_file_and_changed_by_a_bit_it_does_not() {
    for name in TAKEN {
        let key = policy_key(name);
        let parameters = key.command_parameters();
        assert_eq!(PolicyKey::from_command_parameters(&parameters), Some(key.clone()), "{name}");
        for end in 0..parameters.len() {
            assert_eq!(PolicyKey::from_command_parameters(&parameters[..end]), None, "{name} {end}");
        }
        assert_eq!(PolicyKey::from_command_parameters(&[parameters.as_slice(), &[0]].concat()), None);
        for at in 0..parameters.len() {
            let mut changed = parameters.clone();
            changed[at] ^= 1;
            // A changed modulus is another key; everything else is no key.
            if let Some(other) = PolicyKey::from_command_parameters(&changed) {
                assert!(matches!(other.public(), PublicKey::Rsa(_)), "{name} {at}");
                assert_ne!(other.name(), key.name(), "{name} {at}");
            }
        }
    }
}

#[test]
fn what_signs_no_policies_is_refused() {
    let exponent = |exponent: &[u8]| match key("rsa2048") {
        PublicKey::Rsa(rsa) => PublicKey::rsa(&rsa.modulus, exponent).unwrap(),
        other => other,
    };
    let bits = PublicKey::rsa(&[0xc1; 320], &[1, 0, 1]).unwrap();
    for (public, says) in [
        (key("ec-P-521"), "this is P-521"),
        (exponent(&[3]), "exponent 65537"),
        (exponent(&[1, 0, 0, 0, 1]), "exponent 65537"),
        (bits, "this is RSA-2560"),
        (PublicKey::ec(Curve::P256, &[&[4][..], &[7; 64]].concat()).unwrap(), "not on its curve"),
    ] {
        let why = PolicyKey::new(public).unwrap_err();
        assert!(why.contains(says), "{says}: {why}");
    }
}

#[test]
fn nothing_but_a_signature_over_the_policy_verifies() {
    for name in TAKEN {
        let key = policy_key(name);
        for signature in [&[][..], &[0; 256], &[0x30, 6, 2, 1, 1, 2, 1, 1], &[0xff; 512]] {
            assert!(!key.verify(&[7; 32], signature), "{name}");
        }
    }
}
