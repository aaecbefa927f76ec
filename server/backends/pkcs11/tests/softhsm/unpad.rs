//! RSA-OAEP with SHA-256 for a key whose configuration lets its padding be taken off outside the token.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use holdfast_custody::{Custodian, Error};
use holdfast_envelope::jwe::Jwe;
use holdfast_pkcs11::Token;
use holdfast_wire::{Algorithm, KeyUri, OaepHash, Operation, Sealed};
use hsm_sim::KeyKind;

use crate::world::{World, key, vectors, world};

const SHA256: Operation = Operation::RsaOaep(OaepHash::Sha256);

fn unpadding(world: &World, uri: &KeyUri) -> Box<dyn Custodian> {
    Token::new(world.config(&world.keys)).unpadding(vec![uri.clone()]).connect().unwrap()
}

/// One that skopeo encrypted to a JWK with `RSA-OAEP-256`, which SoftHSM has no mechanism for.
fn packet() -> (Jwe, Vec<u8>, String) {
    let dir = vectors().join("skopeo-1.18");
    let index: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(dir.join("index.json")).unwrap()).unwrap();
    let of_sha256 = |entry: &&serde_json::Value| entry["recipients"][0]["alg"] == "RSA-OAEP-256";
    let entry = index.iter().find(of_sha256).unwrap();
    let read = |member: &str| std::fs::read(dir.join(entry[member].as_str().unwrap())).unwrap();
    let name = entry["recipients"][0]["key"].as_str().unwrap();
    (Jwe::parse(&read("packet")).unwrap(), read("optsdata"), name.to_owned())
}

pub(crate) fn opens() {
    let world = world();
    let (jwe, optsdata, name) = packet();
    let pem = vectors().join("keys").join(name).with_extension("pem");
    world.hsm().import(&world.keys, "unpad", &[0x71], &pem, false).unwrap();
    let uri = key(&world.keys, "unpad");
    let recipient = &jwe.recipients()[0];
    assert_eq!(recipient.algorithm(), Some(Algorithm::RsaOaep256));
    let sealed = recipient.sealed().unwrap();

    let mut custodian = unpadding(&world, &uri);
    let info = custodian.describe(&uri).unwrap();
    assert_eq!(info.operations, [Operation::RsaOaep(OaepHash::Sha1), SHA256, Operation::RsaPkcs1v15]);
    assert!(
        info.custody.evidence.iter().any(|(name, how)| name == "RSA-OAEP-256" && how.contains("raw RSA"))
    );
    let opened = custodian.open(&uri, sealed).unwrap();
    assert!(jwe.finish(0, opened).unwrap().raw().expose() == optsdata);

    // Without leave for this very key: not at all.
    let other = key(&world.keys, "another");
    for mut custodian in [world.connect(&world.keys), unpadding(&world, &other)] {
        assert!(!custodian.describe(&uri).unwrap().operations.contains(&SHA256));
        assert!(matches!(custodian.open(&uri, sealed), Err(Error::Unsupported(_))));
    }
}

/// What Manger's attack needs to tell apart: whether the first byte is zero, and everything after it.
pub(crate) fn one_answer() {
    let world = world();
    let uri = world.generate(&world.keys, "unpad-defects", 0x72, KeyKind::Rsa2048);
    // Logged in like everybody in this process, once somebody is.
    let mut custodian = unpadding(&world, &uri);
    let session = world.session(&world.keys);
    let object = |class| {
        let template = [Attribute::Class(class), Attribute::Label(b"unpad-defects".to_vec())];
        session.find_objects(&template).unwrap()[0]
    };
    let (private, public) = (object(ObjectClass::PRIVATE_KEY), object(ObjectClass::PUBLIC_KEY));
    let sealed = |ciphertext| Sealed::RsaOaep { hash: OaepHash::Sha256, ciphertext };

    let modulus = world.public(&world.keys, "unpad-defects").to_der().unwrap();
    let rsa = aws_lc_rs::rsa::PublicEncryptingKey::from_der(&modulus).unwrap();
    let rsa = aws_lc_rs::rsa::OaepPublicEncryptingKey::new(rsa).unwrap();
    let mut good = vec![0; 256];
    rsa.encrypt(&aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256, &[7; 32], &mut good, None).unwrap();
    assert_eq!(custodian.open(&uri, &sealed(good.clone())).unwrap().expose(), [7; 32]);

    let padded = session.decrypt(&Mechanism::RsaX509, private, &good).unwrap();
    assert_eq!(padded.len(), 256);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut padded = padded.clone();
        change(&mut padded);
        session.encrypt(&Mechanism::RsaX509, public, &padded).unwrap()
    };
    assert_eq!(changed(&|_| ()), good, "raw RSA there and back");
    for (defect, ciphertext) in [
        ("first_byte_one", changed(&|padded| padded[0] = 1)),
        ("seed", changed(&|padded| padded[1] ^= 1)),
        ("label_hash", changed(&|padded| padded[33] ^= 1)),
        ("message", changed(&|padded| padded[255] ^= 1)),
        ("zero", changed(&|padded| padded.fill(0))),
        ("no_number_below_the_modulus", vec![0xff; 256]),
    ] {
        assert_eq!(custodian.open(&uri, &sealed(ciphertext)).unwrap_err(), Error::Rejected, "{defect}");
        custodian.probe().unwrap();
    }
    assert_eq!(custodian.open(&uri, &sealed(good)).unwrap().expose(), [7; 32]);
}

pub(crate) fn rsa_alone() {
    let world = world();
    let uri = world.generate(&world.keys, "unpad-ec", 0x73, KeyKind::EcP256);
    let error = unpadding(&world, &uri).describe(&uri).unwrap_err();
    assert!(matches!(&error, Error::KeyUnfit(why) if why.contains("is for RSA keys")), "{error:?}");
}

/// CKA_ALLOWED_MECHANISMS without raw RSA is obeyed before the token has to.
pub(crate) fn allowed_mechanisms() {
    let world = world();
    for (label, id, allowed, says) in [
        ("unpad-oaep", "74", "RSA-PKCS-OAEP", Some("CKA_ALLOWED_MECHANISMS are without CKM_RSA_X_509")),
        ("unpad-raw", "75", "RSA-X-509", None),
    ] {
        let made =
            ["--keypairgen", "--key-type", "rsa:2048", "--usage-decrypt", "--label", label, "--id", id];
        world.pkcs11_tool(&world.keys, &[&made[..], &["--allowed-mechanisms", allowed]].concat());
        let uri = key(&world.keys, label);
        match (unpadding(&world, &uri).describe(&uri), says) {
            (Err(Error::KeyUnfit(why)), Some(says)) => assert!(why.contains(says), "{label}: {why}"),
            (Ok(info), None) => assert_eq!(info.operations, [SHA256], "nothing else is allowed"),
            (answer, _) => panic!("{label}: {answer:?}"),
        }
    }
}
