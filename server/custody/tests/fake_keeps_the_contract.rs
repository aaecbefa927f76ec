//! The fake keeps the contract that it stands in for.

use std::sync::Arc;

use holdfast_custody::contract::{Subject, SubjectKey, cases};
use holdfast_custody::fake::FakeToken;
use holdfast_wire::{Algorithm, Curve};

#[test]
fn the_fake_keeps_every_promise() {
    let token = FakeToken::new();
    let uri = |object: &str| format!("pkcs11:token=t;object={object}");
    let rsa = vec![Algorithm::RsaOaep, Algorithm::RsaOaep256];
    let ec = vec![Algorithm::EcdhEsA256Kw];
    let mut keys = Vec::new();
    for name in ["a", "b"] {
        let public = token.generate_rsa(&uri(name));
        keys.push(SubjectKey {
            uri: uri(name).parse().unwrap(),
            public,
            algorithms: rsa.clone(),
            proven: true,
        });
    }
    for curve in Curve::ALL {
        let name = uri(curve.name());
        let public = token.generate_ec(&name, curve);
        keys.push(SubjectKey { uri: name.parse().unwrap(), public, algorithms: ec.clone(), proven: true });
    }
    token.generate_ec("pkcs11:token=t;object=twin;id=%01", Curve::P256);
    token.generate_ec("pkcs11:token=t;object=twin;id=%02", Curve::P256);
    let subject = Arc::new(Subject {
        connect: Arc::new(move || token.connect()),
        keys,
        missing: uri("nothing").parse().unwrap(),
        ambiguous: Some(uri("twin").parse().unwrap()),
    });
    for case in cases(&subject) {
        (case.run)();
    }
}
