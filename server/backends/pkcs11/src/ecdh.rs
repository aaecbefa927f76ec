//! ECDH inside the token: the shared secret Z, for [`Sealed::Ecdh`](holdfast_wire::Sealed), and the proof
//! that a public key is the other half of a private one.

use aws_lc_rs::agreement::{self, UnparsedPublicKey, agree};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use holdfast_custody::Error;
use holdfast_wire::{Curve, EcPublicKey, Operation, Secret};

use crate::errors::failed;
use crate::login;

/// Z, [`Curve::coordinate_len`] bytes: by C_DeriveKey with CKM_ECDH1_DERIVE and no KDF, into a session
/// object that can be read and lives no longer than this call. `ephemeral` is 0x04, x, y: the form that
/// every token must take (PKCS #11 section 6.3.17).
pub(crate) fn derive(
    session: &Session,
    key: ObjectHandle,
    curve: Curve,
    ephemeral: &[u8],
) -> Result<Secret, Error> {
    let wanted = curve.coordinate_len();
    let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), ephemeral));
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::ValueLen((wanted as u64).into()),
    ];
    let shared = session
        .derive_key(&mechanism, key, &template)
        .map_err(|error| failed(error, Operation::Ecdh.name()))?;
    let read = session.get_attributes(shared, &[AttributeType::Value]);
    // Before anything else can fail. If this does, the connection goes, and the object with it.
    let destroyed = session.destroy_object(shared);
    let read = read.map(|attributes| match attributes.into_iter().next() {
        Some(Attribute::Value(value)) => Secret::new(value),
        _ => Secret::new(Vec::new()),
    });
    destroyed.map_err(|error| failed(error, "destroying a shared secret"))?;
    let z = read.map_err(|error| failed(error, "reading a shared secret"))?;
    match z.len() {
        0 => Err(Error::Unsupported("ECDH with a result that can be read")),
        len if len == wanted => Ok(z),
        len => Err(Error::Internal(format!(
            "the token gave a {curve} shared secret of {len} bytes instead of {wanted}"
        ))),
    }
}

/// Makes an ephemeral key and agrees with the key at `key` from both sides. An EC private key need not
/// tell its public half, and nothing refuses a wrong one that lies beside it: what is sealed to it is
/// lost for good. It also shows that the token really does what its mechanism list says.
pub(crate) fn prove(session: &Session, key: ObjectHandle, public: &EcPublicKey) -> Result<(), Error> {
    let curve = match public.curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => &agreement::ECDH_P521,
    };
    let no_key = |_| Error::Internal("no ephemeral key can be made".into());
    let ours = agreement::PrivateKey::generate(curve).map_err(no_key)?;
    let ephemeral = ours.compute_public_key().map_err(no_key)?;
    let not_a_point = Error::KeyUnfit(
        "the public half that the token tells is not on its curve; store the right one".into(),
    );
    let expected =
        agree(&ours, UnparsedPublicKey::new(curve, &public.point), not_a_point, |z| Ok(Secret::copy_of(z)))?;
    let refused =
        || Error::KeyUnfit("the token does no ECDH with this key, although it lists CKM_ECDH1_DERIVE".into());
    let z = match derive(session, key, public.curve, ephemeral.as_ref()) {
        // Some tokens that are logged out say that the point is bad.
        Err(Error::Rejected) if !login::is_user(session)? => return Err(login::lost()),
        Err(Error::Rejected | Error::Unsupported(_)) => return Err(refused()),
        derived => derived?,
    };
    // Both are ours and of a key made for this: time tells nothing.
    if z.expose() == expected.expose() {
        Ok(())
    } else {
        Err(Error::KeyUnfit(
            "the public key stored beside this EC key (same CKA_ID, or same CKA_LABEL) is another key's; store its own".into(),
        ))
    }
}
