//! Making keys on a token, and bringing keys in, for an operator.
//!
//! A key made here does what Holdfast asks of it and nothing else: one usage is true and the others are
//! said to be false, because what a template leaves out a token chooses. What came of it is read back
//! through the same eyes as any other key, and a key that cannot be used is destroyed again.

mod template;

use aws_lc_rs::rand;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use holdfast_custody::{Custodian as _, Error, KeyKind, Keysmith, Made, PrivateKey, Requirement};
use holdfast_wire::KeyUri;

use crate::connection::Connection;
use crate::errors::{failed, not_made};

/// Bytes of the CKA_ID of a key whose URI gives none. Random: unlike the customary SHA-1 of the public key
/// it is there before the key is, so that nothing has to be changed on the token afterwards.
const ID_LEN: usize = 8;

const GENERATING: &str = "making the key";
const IMPORTING: &str = "bringing the key in";

/// A connection whose session may write.
pub(crate) struct Smith(Connection);

/// CKA_LABEL and CKA_ID of all objects of one key.
struct Name {
    label: Vec<u8>,
    id: Vec<u8>,
}

impl Smith {
    pub(crate) fn new(connection: Connection) -> Smith {
        Smith(connection)
    }
}

impl Keysmith for Smith {
    fn create(&mut self, uri: &KeyUri, kind: KeyKind) -> Result<Made, Error> {
        let (uri, name) = self.free_name(uri)?;
        let session = self.0.session();
        let refused = |error| {
            not_made(error, GENERATING, "make it with the token's own tool, or another kind by --algorithm")
        };
        let made = match template::generating(kind, &name)? {
            template::Generating::Secret(mechanism, template) => {
                vec![session.generate_key(&mechanism, &template).map_err(refused)?]
            }
            template::Generating::Pair(mechanism, public, private) => {
                let (public, private) =
                    session.generate_key_pair(&mechanism, &public, &private).map_err(refused)?;
                vec![private, public]
            }
        };
        self.vouch(uri, &made, |_| Ok(()))
    }

    fn import(&mut self, uri: &KeyUri, key: &PrivateKey) -> Result<Made, Error> {
        let (uri, name) = self.free_name(uri)?;
        let session = self.0.session();
        let refused = |error| {
            not_made(
                error,
                IMPORTING,
                "many HSMs let no plain private key in (FIPS mode): bring it in wrapped with the vendor's own tool, or make a new key (key create) and encrypt the images anew",
            )
        };
        let template = template::private(key, &name)?;
        let private = session.create_object(&template).map_err(refused);
        template::wipe(template);
        let private = private?;
        match session.create_object(&template::public(key, &name)?) {
            Ok(public) => self.vouch(uri, &[private, public], |info| {
                if info.public.as_ref() == Some(key.public()) {
                    return Ok(());
                }
                Err(Error::KeyUnfit("the token tells another public half than the file's".into()))
            }),
            Err(error) => {
                self.destroy(&[private]);
                Err(refused(error))
            }
        }
    }
}

impl Smith {
    /// The full URI of a new key and its name, which nothing on the token has.
    fn free_name(&self, uri: &KeyUri) -> Result<(KeyUri, Name), Error> {
        let unfit = |why: &str| Err(Error::KeyUnfit(why.into()));
        if uri.get("type").is_some() {
            return unfit("leave type= out of the URI of a new key");
        }
        let label = match uri.text("object") {
            Some(label) if !label.chars().any(char::is_control) => label.as_bytes().to_vec(),
            Some(_) => return unfit("object= has control characters; give the new key another label"),
            None if uri.get("object").is_some() => {
                return unfit("object= is not UTF-8; give the new key another label");
            }
            None => return unfit("the URI of a new key needs object=, its label"),
        };
        if !self.0.is_meant(uri)? {
            return unfit("the URI says more of the token than is true of it; correct it");
        }
        let id = match uri.get("id") {
            Some(id) => id.to_vec(),
            None => {
                let mut id = vec![0; ID_LEN];
                rand::fill(&mut id).map_err(|_| Error::Internal("no random CKA_ID can be made".into()))?;
                id
            }
        };
        // One of both is enough: keys are found by either, and the halves of a pair by their CKA_ID.
        if self.is_taken(&Attribute::Label(label.clone()))? {
            return unfit(
                "the token has a key of this label already, and a second one would make both ambiguous; give another object=",
            );
        }
        if self.is_taken(&Attribute::Id(id.clone()))? {
            return unfit("the token has a key of this id already; give another id=, or none");
        }
        let full = uri.with("id", &id).map_err(|error| Error::KeyUnfit(error.to_string()))?;
        Ok((full, Name { label, id }))
    }

    fn is_taken(&self, name: &Attribute) -> Result<bool, Error> {
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY, ObjectClass::PUBLIC_KEY] {
            let found = self
                .0
                .session()
                .find_objects(&[Attribute::Class(class), name.clone()])
                .map_err(|error| failed(error, "looking for keys of this name"))?;
            if !found.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the key back as any other is read, its custody included; destroys it if it is of no use.
    fn vouch(
        &mut self,
        uri: KeyUri,
        objects: &[ObjectHandle],
        expected: impl Fn(&holdfast_custody::KeyInfo) -> Result<(), Error>,
    ) -> Result<Made, Error> {
        let described = self.0.describe(&uri).and_then(|info| {
            Requirement::default().check(&info.custody)?;
            expected(&info).map(|()| info)
        });
        match described {
            Ok(info) => Ok(Made { uri, info }),
            Err(error) => {
                let end = if self.destroy(objects) {
                    "it was destroyed again"
                } else {
                    "it is still there: destroy it with the token's own tool"
                };
                Err(Error::KeyUnfit(format!("the key was made but cannot be used: {error}; {end}")))
            }
        }
    }

    fn destroy(&self, objects: &[ObjectHandle]) -> bool {
        let session = self.0.session();
        let failures = objects.iter().filter(|object| session.destroy_object(**object).is_err());
        failures.count() == 0
    }
}
