//! What kryoptic does otherwise than SoftHSM when its process loses the login or the library.

use holdfast_custody::Error;
use holdfast_wire::{PublicKey, Sealed};

use crate::promises::{subject, world};

pub(crate) fn logged_out() {
    let subject = subject();
    for key in &subject.keys {
        let sealed = to_itself(key.public.as_ref());
        let mut custodian = (subject.connect)().unwrap();
        custodian.describe(&key.uri).unwrap();
        let world = world().lock().unwrap();
        world.context.open_ro_session(world.slot).unwrap().logout().unwrap();
        drop(world);
        // Its handles stay, and what they are used for is CKR_GENERAL_ERROR: as of a bad ciphertext.
        if let Some(sealed) = &sealed {
            assert_eq!(custodian.open(&key.uri, sealed).unwrap_err(), Error::Rejected);
        }
        assert!(matches!(custodian.probe(), Err(Error::Unavailable(_))), "{}", key.uri);
        assert!(matches!(custodian.describe(&key.uri), Err(Error::Unavailable(_))), "{}", key.uri);
        let mut again = (subject.connect)().unwrap();
        again.describe(&key.uri).unwrap();
        if let Some(sealed) = &sealed {
            again.open(&key.uri, sealed).unwrap();
        }
    }
}

pub(crate) fn finalized() {
    let subject = subject();
    let mut custodian = (subject.connect)().unwrap();
    let uri = &subject.keys[0].uri;
    custodian.describe(uri).unwrap();
    world().lock().unwrap().context.clone().finalize().unwrap();
    assert!(matches!(custodian.describe(uri), Err(Error::Unavailable(_))));
    let mut again = (subject.connect)().unwrap();
    again.describe(uri).unwrap();
    // The old one's session handle may be the new one's now: it must not reach the library any more.
    let error = custodian.probe().unwrap_err().to_string();
    assert!(error.contains("initialized anew"), "{error}");
    drop(custodian);
    again.describe(uri).unwrap();
}

/// A key's own public point as the ephemeral one.
fn to_itself(public: Option<&PublicKey>) -> Option<Sealed> {
    match public {
        Some(PublicKey::Ec(public)) => {
            Some(Sealed::Ecdh { curve: public.curve, ephemeral: public.point.clone() })
        }
        _ => None,
    }
}
