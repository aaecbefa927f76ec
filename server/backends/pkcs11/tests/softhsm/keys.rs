//! What a key must be to be used, and what is told of it.

use cryptoki::object::{Attribute, ObjectClass};
use holdfast_custody::{Custody, Error, Requirement};
use holdfast_envelope::jwe::Jwe;
use holdfast_wire::{Algorithm, Curve, Sealed};
use hsm_sim::KeyKind;

use crate::world::{key, soon, vectors, wait, world};

pub(crate) fn real_packets() {
    let world = world();
    let token = &world.keys;
    let names = ["rsa2048", "rsa3072", "rsa4096", "ec-P-256", "ec-P-384", "ec-P-521"];
    for (name, id) in names.into_iter().zip(0x41..) {
        let pem = vectors().join("keys").join(name).with_extension("pem");
        world.hsm().import(token, &format!("skopeo-{name}"), &[id], &pem, false).unwrap();
    }
    let dir = vectors().join("skopeo-1.18");
    let index = std::fs::read(dir.join("index.json")).unwrap();
    let index: Vec<serde_json::Value> = serde_json::from_slice(&index).unwrap();
    let mut custodian = world.connect(token);
    let mut opened = 0;
    let mut unsupported = 0;
    for entry in &index {
        let name = entry["packet"].as_str().unwrap();
        let packet = Jwe::parse(&std::fs::read(dir.join(name)).unwrap()).unwrap();
        let expected = std::fs::read(dir.join(entry["optsdata"].as_str().unwrap())).unwrap();
        let recipients = packet.recipients().iter().zip(entry["recipients"].as_array().unwrap());
        for (place, (recipient, told)) in recipients.enumerate() {
            let (Some(sealed), Some(algorithm)) = (recipient.sealed(), recipient.algorithm()) else {
                continue;
            };
            let uri = key(token, &format!("skopeo-{}", told["key"].as_str().unwrap()));
            match custodian.open(&uri, sealed) {
                Ok(secret) => {
                    let optsdata = packet.finish(place, secret).unwrap();
                    assert!(optsdata.raw().expose() == expected, "{name}, recipient {place}");
                    opened += 1;
                }
                Err(Error::Unsupported("RSA-OAEP with SHA-256")) if algorithm == Algorithm::RsaOaep256 => {
                    unsupported += 1
                }
                Err(error) => panic!("{name}, recipient {place}: {error:?}"),
            }
        }
    }
    assert!(opened >= 20 && unsupported >= 1, "{opened} opened, {unsupported} unsupported");
}

pub(crate) fn imported() {
    let world = world();
    let token = &world.keys;
    let pem = vectors().join("keys/ec-P-384.pem");
    world.hsm().import(token, "imported", &[0x51], &pem, false).unwrap();
    let pool = world.pool(token, 1);
    let info = wait(pool.describe(&key(token, "imported"), Requirement::default(), soon())).unwrap();
    assert_eq!(info.custody.local, Some(false));
    assert!(!info.custody.is_proven());
    assert!(info.custody.summary().starts_with("imported"), "{}", info.custody.summary());
}

pub(crate) fn told() {
    let world = world();
    let uri = world.generate(&world.keys, "told", 0x52, KeyKind::Rsa2048);
    let custody = world.connect(&world.keys).describe(&uri).unwrap().custody;
    let says = |name: &str| value(&custody, name);
    for (name, expected) in [
        ("CKA_SENSITIVE", "true"),
        ("CKA_EXTRACTABLE", "false"),
        ("CKA_ALWAYS_SENSITIVE", "true"),
        ("CKA_NEVER_EXTRACTABLE", "true"),
        ("CKA_LOCAL", "true"),
        ("CKA_TOKEN", "true"),
        ("CKA_PRIVATE", "true"),
        ("CKA_DECRYPT", "true"),
        ("CKA_ALWAYS_AUTHENTICATE", "false"),
        ("CKA_WRAP_WITH_TRUSTED", "false"),
        ("CKA_KEY_GEN_MECHANISM", "CKM_RSA_PKCS_KEY_PAIR_GEN"),
        ("token label", "keys"),
        ("token serial", world.keys.serial()),
        ("token model", "SoftHSM v2"),
    ] {
        assert_eq!(says(name), expected, "{name}");
    }
    assert!(says("library").contains("SoftHSM") && says("firmware version").contains('.'), "{custody:?}");
}

pub(crate) fn extractable() {
    let world = world();
    let token = &world.keys;
    world.hsm().generate_extractable(token, "loose", &[0x53], KeyKind::EcP256).unwrap();
    let uri = key(token, "loose");
    let pool = world.pool(token, 1);
    let refused = wait(pool.describe(&uri, Requirement::default(), soon())).unwrap_err();
    assert!(
        matches!(&refused, Error::KeyUnfit(why) if why.contains("allow_extractable = true")),
        "{refused:?}"
    );
    let sealed = Sealed::Ecdh { curve: Curve::P256, ephemeral: vec![4; 65] };
    let open = wait(pool.open(&uri, Requirement::default(), sealed, soon()));
    assert!(matches!(open, Err(Error::KeyUnfit(_))), "{open:?}");
    let allowed = Requirement { allow_extractable: true };
    assert_eq!(wait(pool.describe(&uri, allowed, soon())).unwrap().custody.extractable, Some(true));
}

pub(crate) fn twins() {
    let world = world();
    let token = &world.keys;
    for id in [0x54, 0x55] {
        world.hsm().generate(token, "twin", &[id], KeyKind::EcP256).unwrap();
    }
    let mut custodian = world.connect(token);
    assert_eq!(custodian.describe(&key(token, "twin")).unwrap_err(), Error::KeyAmbiguous(2));
    let mut told: Vec<_> = ["54", "55"]
        .map(|id| format!("pkcs11:token=keys;object=twin;id=%{id}").parse().unwrap())
        .map(|uri| custodian.describe(&uri).unwrap().public)
        .into();
    told.dedup();
    assert_eq!(told.len(), 2, "each id its own public half");
}

pub(crate) fn half() {
    let world = world();
    let token = &world.keys;
    let uri = world.generate(token, "half", 0x56, KeyKind::EcP256);
    world.pkcs11_tool(token, &["--delete-object", "--type", "pubkey", "--label", "half", "--id", "56"]);
    let error = world.connect(token).describe(&uri).unwrap_err();
    assert!(
        matches!(&error, Error::KeyUnfit(why) if why.contains("store its public key beside it")),
        "{error:?}"
    );
    // An RSA key tells its public half itself.
    let uri = world.generate(token, "half-rsa", 0x57, KeyKind::Rsa2048);
    let public = world.public(token, "half-rsa");
    world.pkcs11_tool(token, &["--delete-object", "--type", "pubkey", "--label", "half-rsa", "--id", "57"]);
    assert_eq!(world.connect(token).describe(&uri).unwrap().public, Some(public));
}

pub(crate) fn foreign_half() {
    let world = world();
    let token = &world.keys;
    for (label, id, kind, pem) in [
        ("foreign-rsa", 0x58, KeyKind::Rsa2048, "rsa3072.pub.pem"),
        ("foreign-ec", 0x59, KeyKind::EcP256, "ec-P-256.pub.pem"),
    ] {
        let uri = world.generate(token, label, id, kind);
        world.connect(token).describe(&uri).unwrap();
        let file = vectors().join("keys").join(pem);
        let id = format!("{id:02x}");
        world.pkcs11_tool(
            token,
            &["--write-object", file.to_str().unwrap(), "--type", "pubkey", "--label", label, "--id", &id],
        );
        let error = world.connect(token).describe(&uri).unwrap_err();
        assert!(
            matches!(&error, Error::KeyUnfit(why) if why.contains("another key's")),
            "{label}: {error:?}"
        );
    }
}

pub(crate) fn foreign_half_alone() {
    let world = world();
    let token = &world.keys;
    let uri = world.generate(token, "foreign-alone", 0x5c, KeyKind::EcP256);
    let its_name = ["--type", "pubkey", "--label", "foreign-alone", "--id", "5c"];
    world.pkcs11_tool(token, &[&["--delete-object"][..], &its_name].concat());
    let file = vectors().join("keys/ec-P-256.pub.pem");
    world.pkcs11_tool(token, &[&["--write-object", file.to_str().unwrap()][..], &its_name].concat());
    let error = world.connect(token).describe(&uri).unwrap_err();
    assert!(matches!(&error, Error::KeyUnfit(why) if why.contains("another key's")), "{error:?}");
}

pub(crate) fn unfit() {
    let world = world();
    let token = &world.keys;
    let mut custodian = world.connect(token);
    for (label, key_type, usage, says) in [
        ("signs-only", "EC:prime256v1", "--usage-sign", "CKA_DERIVE is not true"),
        ("small", "rsa:1024", "--usage-decrypt", "1024 bits"),
        ("koblitz", "EC:secp256k1", "--usage-derive", "P-256, P-384 and P-521"),
    ] {
        world.pkcs11_tool(token, &["--keypairgen", "--key-type", key_type, usage, "--label", label]);
        let error = custodian.describe(&key(token, label)).unwrap_err();
        assert!(matches!(&error, Error::KeyUnfit(why) if why.contains(says)), "{label}: {error:?}");
    }
    for (uri, says) in
        [("pkcs11:token=keys", "names no key"), ("pkcs11:object=a;type=public", "a private or a secret key")]
    {
        let error = custodian.describe(&uri.parse().unwrap()).unwrap_err();
        assert!(matches!(&error, Error::KeyUnfit(why) if why.contains(says)), "{uri}: {error:?}");
    }
}

pub(crate) fn other_token() {
    let world = world();
    world.generate(&world.keys, "here", 0x5a, KeyKind::EcP256);
    let mut custodian = world.connect(&world.keys);
    for uri in [
        "pkcs11:token=keys;serial=0000;object=here",
        "pkcs11:token=other;object=here",
        "pkcs11:slot-description=none;object=here",
        "pkcs11:slot-manufacturer=none;object=here",
        "pkcs11:slot-id=7;object=here",
    ] {
        assert_eq!(custodian.describe(&uri.parse().unwrap()).unwrap_err(), Error::KeyNotFound, "{uri}");
    }
    let serial = world.keys.serial();
    let whole = format!(
        "pkcs11:token=keys;serial={serial};model=SoftHSM%20v2;manufacturer=SoftHSM%20project;object=here;id=%5A;type=private"
    );
    custodian.describe(&whole.parse().unwrap()).unwrap();
}

pub(crate) fn nothing_left() {
    let world = world();
    let token = &world.keys;
    let uri = world.generate(token, "derives", 0x5b, KeyKind::EcP256);
    let mut custodian = world.connect(token);
    let Some(holdfast_wire::PublicKey::Ec(public)) = custodian.describe(&uri).unwrap().public else {
        panic!("an EC key");
    };
    let mut off_curve = public.point.clone();
    off_curve[64] ^= 1;
    for _ in 0..3 {
        let good = Sealed::Ecdh { curve: Curve::P256, ephemeral: public.point.clone() };
        assert_eq!(custodian.open(&uri, &good).unwrap().len(), 32);
        let bad = Sealed::Ecdh { curve: Curve::P256, ephemeral: off_curve.clone() };
        assert_eq!(custodian.open(&uri, &bad).unwrap_err(), Error::Rejected);
    }
    // Session objects are visible to every session of the process; AES keys of other trials are the token's.
    let secrets = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(false)];
    let left = world.session(token).find_objects(&secrets).unwrap();
    assert_eq!(left.len(), 0, "shared secrets left behind");
}

fn value<'a>(custody: &'a Custody, name: &str) -> &'a str {
    let found = custody.evidence.iter().find(|(known, _)| known == name);
    found.map_or("not told", |(_, value)| value)
}
