//! The one private key that a URI means.

use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use holdfast_custody::Error;
use holdfast_wire::KeyUri;

use crate::errors::failed;

/// The private key with the URI's `object` (CKA_LABEL) and `id` (CKA_ID). Never the first of several.
pub(crate) fn find(session: &Session, uri: &KeyUri) -> Result<ObjectHandle, Error> {
    if uri.get("type").is_some_and(|kind| kind != b"private") {
        return Err(Error::KeyUnfit(
            "its URI asks for something else than a private key; leave type= out".into(),
        ));
    }
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(uri.get("object").map(|label| Attribute::Label(label.to_vec())));
    template.extend(uri.get("id").map(|id| Attribute::Id(id.to_vec())));
    if template.len() == 1 {
        return Err(Error::KeyUnfit("its URI names no key; add object= or id=".into()));
    }
    let found = session.find_objects(&template).map_err(|error| failed(error, "looking for the key"))?;
    match found.as_slice() {
        [] => Err(Error::KeyNotFound),
        [only] => Ok(*only),
        several => Err(Error::KeyAmbiguous(several.len())),
    }
}
