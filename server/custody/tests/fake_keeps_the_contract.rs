//! The fake keeps the contract that it stands in for.

use std::sync::Arc;

use holdfast_custody::contract::{Subject, SubjectKey, cases};
use holdfast_custody::fake::FakeToken;
use holdfast_wire::{Curve, OaepHash, Operation, PublicKey};

#[test]
fn the_fake_keeps_every_promise() {
    let token = FakeToken::new();
    let uri = |object: &str| format!("pkcs11:token=t;object={object}");
    let [sha1, sha256] = [OaepHash::Sha1, OaepHash::Sha256].map(Operation::RsaOaep);
    let rsa = [sha1, sha256, Operation::RsaPkcs1v15];
    let mut keys = Vec::new();
    let mut add = |uri: &str, public: Option<PublicKey>, operations: &[Operation]| {
        let operations = operations.to_vec();
        keys.push(SubjectKey { uri: uri.parse().unwrap(), public, operations, proven: true });
    };
    for name in ["a", "b"] {
        add(&uri(name), Some(token.generate_rsa(&uri(name))), &rsa);
    }
    for curve in Curve::ALL {
        let name = uri(curve.name());
        add(&name, Some(token.generate_ec(&name, curve)), &[Operation::Ecdh]);
    }
    for name in ["aes-a", "aes-b"] {
        token.generate_aes(&uri(name));
        add(&uri(name), None, &[Operation::AesGcm]);
    }
    token.generate_ec("pkcs11:token=t;object=twin;id=%01", Curve::P256);
    token.generate_ec("pkcs11:token=t;object=twin;id=%02", Curve::P256);
    let subject = Arc::new(Subject {
        connect: Arc::new(move || token.connect()),
        keys,
        missing: uri("nothing").parse().unwrap(),
        ambiguous: Some(uri("twin").parse().unwrap()),
    });
    for case in cases(move || subject.clone()) {
        (case.run)();
    }
}
