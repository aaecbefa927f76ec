//! Symmetric keys, past what the contract suite asks of them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use cryptoki::object::Attribute;
use holdfast_custody::{Error, Requirement};
use holdfast_wire::{KeyUri, Operation, Sealed, Secret};
use hsm_sim::KeyKind;

use crate::world::{key, soon, wait, world};

pub(crate) fn told() {
    let world = world();
    let uri = world.generate(&world.keys, "aes-told", 0x61, KeyKind::Aes256);
    let mut custodian = world.connect(&world.keys);
    let info = custodian.describe(&uri).unwrap();
    assert_eq!((info.public, info.operations), (None, vec![Operation::AesGcm]));
    assert!(info.custody.is_proven(), "{:?}", info.custody);
    for (name, expected) in [
        ("CKA_LOCAL", "true"),
        ("CKA_ENCRYPT", "true"),
        ("CKA_DECRYPT", "true"),
        ("CKA_DERIVE", "false"),
        ("CKA_WRAP_WITH_TRUSTED", "false"),
        ("CKA_KEY_GEN_MECHANISM", "CKM_AES_KEY_GEN"),
    ] {
        let said = info.custody.evidence.iter().find(|(known, _)| known == name);
        assert_eq!(said.map(|(_, value)| value.as_str()), Some(expected), "{name}");
    }
    let as_secret: KeyUri = "pkcs11:token=keys;object=aes-told;id=%61;type=secret-key".parse().unwrap();
    assert_eq!(custodian.describe(&as_secret).unwrap().public, None);
    let as_private: KeyUri = "pkcs11:token=keys;object=aes-told;type=private".parse().unwrap();
    assert_eq!(custodian.describe(&as_private).unwrap_err(), Error::KeyNotFound);
}

pub(crate) fn ambiguous() {
    let world = world();
    world.generate(&world.keys, "aes-twin", 0x62, KeyKind::Aes256);
    let uri = world.generate(&world.keys, "aes-twin", 0x63, KeyKind::EcP256);
    let mut custodian = world.connect(&world.keys);
    assert_eq!(custodian.describe(&uri).unwrap_err(), Error::KeyAmbiguous(2));
    let secret = Secret::new(vec![7; 32]);
    assert_eq!(custodian.seal(&uri, &secret).unwrap_err(), Error::KeyAmbiguous(2));
}

pub(crate) fn unfit() {
    let world = world();
    let token = &world.keys;
    let mut custodian = world.connect(token);
    for (label, key_type, says) in [
        ("aes-128", "AES:16", "an AES key of 128 bits; only those of 256"),
        ("generic", "GENERIC:32", "only RSA, EC (NIST curves) and AES with 256 bits"),
    ] {
        let of_type = ["--keygen", "--key-type", key_type, "--usage-decrypt", "--label", label];
        world.pkcs11_tool(token, &[&of_type[..], &["--sensitive", "--private"]].concat());
        let error = custodian.describe(&key(token, label)).unwrap_err();
        assert!(matches!(&error, Error::KeyUnfit(why) if why.contains(says)), "{label}: {error:?}");
    }
}

pub(crate) fn readable() {
    let world = world();
    let token = &world.keys;
    world.hsm().generate_extractable(token, "aes-loose", &[0x64], KeyKind::Aes256).unwrap();
    let in_plain = ["--keygen", "--key-type", "AES:32", "--usage-decrypt", "--label", "aes-plain"];
    world.pkcs11_tool(token, &in_plain);
    let pool = world.pool(token, 1);
    let secret = || Secret::new(vec![7; 32]);
    for label in ["aes-loose", "aes-plain"] {
        let uri = key(token, label);
        let sealed = wait(pool.seal(&uri, Requirement::default(), secret(), soon()));
        assert!(matches!(&sealed, Err(Error::KeyUnfit(why)) if why.contains("allow_extractable")), "{label}");
        let allowed = Requirement { allow_extractable: true };
        let sealed = wait(pool.seal(&uri, allowed, secret(), soon())).unwrap();
        assert_eq!(wait(pool.open(&uri, allowed, sealed, soon())).unwrap().expose(), [7; 32]);
    }
}

/// As an operator may leave a key that is retired: CKA_ENCRYPT false.
pub(crate) fn opens_only() {
    let world = world();
    let token = &world.keys;
    let uri = world.generate(token, "aes-retired", 0x65, KeyKind::Aes256);
    let mut custodian = world.connect(token);
    let secret = Secret::new(vec![7; 32]);
    let sealed = custodian.seal(&uri, &secret).unwrap();
    let session = world.session(&world.keys);
    let found = session.find_objects(&[Attribute::Label(b"aes-retired".to_vec())]).unwrap();
    session.update_attributes(found[0], &[Attribute::Encrypt(false)]).unwrap();
    assert_eq!(custodian.describe(&uri).unwrap().operations, [Operation::AesGcm]);
    assert_eq!(custodian.open(&uri, &sealed).unwrap().expose(), [7; 32]);
    let error = custodian.seal(&uri, &secret).unwrap_err();
    assert!(
        matches!(&error, Error::KeyUnfit(why) if why.contains("does not let this key do that")),
        "{error:?}"
    );
}

/// Against aws-lc-rs, with a key that is known outside: iv and tag are where RFC 7518 section 4.7 has them.
pub(crate) fn as_others_do() {
    let world = world();
    let token = &world.keys;
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("key");
    std::fs::write(&known, [0x42; 32]).unwrap();
    let named = ["--type", "secrkey", "--key-type", "AES:32", "--label", "aes-known", "--usage-decrypt"];
    let hidden = ["--sensitive", "--private", "--write-object", known.to_str().unwrap()];
    world.pkcs11_tool(token, &[&named[..], &hidden].concat());
    let uri = key(token, "aes-known");
    let mut custodian = world.connect(token);
    assert!(custodian.describe(&uri).unwrap().custody.summary().starts_with("imported"));

    let outside = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0x42; 32]).unwrap());
    let sealed = custodian.seal(&uri, &Secret::new(vec![7; 32])).unwrap();
    let Sealed::AesGcm { iv, ciphertext, tag } = sealed else { panic!("{:?}", sealed.operation()) };
    let mut opened = [0; 32];
    let nonce = Nonce::assume_unique_for_key(iv);
    outside.open_separate_gather(nonce, Aad::empty(), &ciphertext, &tag, &mut opened).unwrap();
    assert_eq!(opened, [7; 32]);

    let mut ciphertext = vec![9; 48];
    let nonce = Nonce::assume_unique_for_key([1; 12]);
    let tag = outside.seal_in_place_separate_tag(nonce, Aad::empty(), &mut ciphertext).unwrap();
    let sealed = Sealed::AesGcm { iv: [1; 12], ciphertext, tag: tag.as_ref().try_into().unwrap() };
    assert_eq!(custodian.open(&uri, &sealed).unwrap().expose(), [9; 48]);
}
