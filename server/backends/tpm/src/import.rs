//! Bringing a key into the TPM (TPM2_Import; TPM 2.0 Library Part 3, section 13.3), as a file that only this TPM
//! loads.

use holdfast_custody::{Error, PrivateKey};
use tss_esapi::handles::KeyHandle;
use tss_esapi::structures::{EncryptedSecret, Private, Public, PublicBuffer, SymmetricDefinitionObject};
use tss_esapi::traits::{Marshall, UnMarshall};

use crate::ability;
use crate::device::Device;
use crate::errors::{self, Failure, failed};
use crate::file::{ImportableFile, KeyFile};
use crate::seal::seal;
use crate::storage_key::{Name, StorageKey};
use crate::structures::{sized, whole};

const IMPORTING: &str = "importing the key";

/// A key that is sealed here and now: it leaves this process for the TPM alone.
pub(crate) fn plain(device: &mut Device, key: &PrivateKey) -> Result<KeyFile, Failure> {
    let parent = device.usual_parent()?;
    // The one that is pinned, where one is: who holds it has the key.
    let handle = device.storage_key()?;
    let file = seal(key, &storage_key(device, handle)?, None)?;
    let sealed = Parts::of(&file)?;
    match sealed.import(device, handle)? {
        Some(private) => Ok(sealed.loadable(parent, private)),
        None => Err(Error::KeyUnfit(format!(
            "this TPM takes no {} key; every TPM takes RSA-2048 and P-256",
            key.public().type_name()
        ))
        .into()),
    }
}

/// A key that was sealed elsewhere, to this TPM or to another.
pub(crate) fn sealed(device: &mut Device, file: &ImportableFile) -> Result<KeyFile, Failure> {
    let sealed = Parts::of(file)?;
    let mut names = Vec::new();
    let mut places = vec![device.usual_parent()?];
    if !places.contains(&file.parent) {
        places.push(file.parent);
    }
    for place in places {
        let handle = match device.parent(place) {
            Ok(handle) => handle,
            // Nothing there, or it is not for us.
            Err(Failure { error: Error::KeyUnfit(_), .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Some(private) = sealed.import(device, handle)? {
            return Ok(sealed.loadable(place, private));
        }
        names.extend(storage_key(device, handle).ok().map(|key| key.name()));
        device.done_with(handle.into());
    }
    Err(not_ours(file, &names).into())
}

/// The public half of a storage key that is in the TPM now.
pub(crate) fn storage_key(device: &mut Device, handle: KeyHandle) -> Result<StorageKey, Failure> {
    const READING: &str = "reading the storage key";
    let (public, _, _) = device.context().read_public(handle).map_err(|error| failed(error, READING))?;
    let structure = PublicBuffer::try_from(public)
        .and_then(|public| public.marshall())
        .map_err(|error| failed(error, READING))?;
    let key =
        StorageKey::from_bytes(&structure).map_err(|why| Error::KeyUnfit(format!("this TPM has {why}")))?;
    // By this Name it was compared with the pinned one.
    let name = device.context().tr_get_name(handle.into()).map_err(|error| failed(error, READING))?;
    if name.value() != key.name().as_bytes() {
        return Err(Error::Unavailable("the TPM tells two public halves of one storage key".into()).into());
    }
    Ok(key)
}

/// A sealed key as TPM2_Import takes it.
struct Parts<'a> {
    file: &'a ImportableFile,
    public: Public,
    duplicate: Private,
    secret: EncryptedSecret,
}

impl Parts<'_> {
    fn of(file: &ImportableFile) -> Result<Parts<'_>, Error> {
        let damaged =
            || Error::KeyUnfit("the sealed key is damaged: what it says are TPM structures is none".into());
        let inner = |structure| whole(structure).map(<[u8]>::to_vec).ok_or_else(damaged);
        inner(&file.public)?;
        let public =
            PublicBuffer::unmarshall(&file.public).and_then(Public::try_from).map_err(|_| damaged())?;
        // What could not be used is not imported.
        ability::of(&public)?;
        let duplicate = Private::try_from(inner(&file.duplicate)?).map_err(|_| damaged())?;
        let secret = EncryptedSecret::try_from(inner(&file.secret)?).map_err(|_| damaged())?;
        Ok(Parts { file, public, duplicate, secret })
    }

    /// TPM2B_PRIVATE as the storage key encrypts it; none if this was sealed to another, or is damaged.
    fn import(&self, device: &mut Device, parent: KeyHandle) -> Result<Option<Vec<u8>>, Failure> {
        let session = device.hmac_session()?;
        let (public, duplicate, secret) = (self.public.clone(), self.duplicate.clone(), self.secret.clone());
        let under = device.read_public(parent)?;
        let imported = device.with_empty_password(
            (parent, &under),
            |device| {
                device.context().execute_with_session(Some(session), |context| {
                    let none = SymmetricDefinitionObject::Null;
                    context.import(parent.into(), None, public, duplicate, secret, none)
                })
            },
            |error| errors::not_imported(error, IMPORTING),
        );
        match imported {
            Ok(private) => sized(&[private.value()])
                .map(Some)
                .ok_or_else(|| Error::Internal("a private half without end".into()).into()),
            Err(Failure { error: Error::Rejected, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn loadable(&self, parent: u32, private: Vec<u8>) -> KeyFile {
        let ImportableFile { empty_auth, policy, auth_policy, public, .. } = self.file.clone();
        KeyFile { empty_auth, policy, auth_policy, parent, public, private }
    }
}

fn not_ours(file: &ImportableFile, ours: &[Name]) -> Error {
    // A file may say anything: of what it says of itself, a Name is told and nothing else.
    let told = file.description.iter().flat_map(|text| text.split_ascii_whitespace());
    let told: Option<Name> = told.filter_map(|word| word.parse().ok()).next();
    let this = match ours {
        [] => "this TPM has none that holdfastd can use".to_owned(),
        names => {
            format!("this TPM's is {}", names.iter().map(Name::to_string).collect::<Vec<_>>().join(" and "))
        }
    };
    Error::KeyUnfit(match told {
        Some(told) if ours.contains(&told) => {
            "the sealed key is damaged: its TPM does not take it; seal it anew".to_owned()
        }
        Some(told) => format!(
            "the key is sealed to the storage key {told}, and {this}: take this node's own file, or seal the key to it (holdfastd key storage-key)"
        ),
        None => format!(
            "the TPM does not import the key: it is sealed to another TPM's storage key, or damaged; {this}"
        ),
    })
}
