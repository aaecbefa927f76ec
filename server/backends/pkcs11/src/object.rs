//! The one key that a URI means.

use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use holdfast_custody::Error;
use holdfast_wire::KeyUri;

use crate::errors::failed;

/// The private or secret key with the URI's `object` (CKA_LABEL) and `id` (CKA_ID). Never the first of
/// several, be they of one class or of both.
pub(crate) fn find(session: &Session, uri: &KeyUri) -> Result<ObjectHandle, Error> {
    match all(session, uri)?.as_slice() {
        [] => Err(Error::KeyNotFound),
        [only] => Ok(*only),
        several => Err(Error::KeyAmbiguous(several.len())),
    }
}

/// Every private and secret key that a URI matches; `type` (RFC 7512 section 2.3) says which of both.
fn all(session: &Session, uri: &KeyUri) -> Result<Vec<ObjectHandle>, Error> {
    let classes: &[ObjectClass] = match uri.get("type") {
        None => &[ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY],
        Some(b"private") => &[ObjectClass::PRIVATE_KEY],
        Some(b"secret-key") => &[ObjectClass::SECRET_KEY],
        Some(_) => {
            return Err(Error::KeyUnfit(
                "its URI asks for something else than a private or a secret key; leave type= out".into(),
            ));
        }
    };
    let label = uri.get("object").map(|label| Attribute::Label(label.to_vec()));
    let id = uri.get("id").map(|id| Attribute::Id(id.to_vec()));
    let names: Vec<Attribute> = [label, id].into_iter().flatten().collect();
    if names.is_empty() {
        return Err(Error::KeyUnfit("its URI names no key; add object= or id=".into()));
    }
    let mut found = Vec::new();
    for class in classes {
        let template = [&[Attribute::Class(*class)][..], &names].concat();
        let of_class =
            session.find_objects(&template).map_err(|error| failed(error, "looking for the key"))?;
        found.extend(of_class);
    }
    Ok(found)
}
