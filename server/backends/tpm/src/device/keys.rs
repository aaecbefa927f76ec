//! Keys in the TPM: loaded once, kept while they are used, and set aside as saved contexts (TPM2_ContextSave) when
//! there are more than its slots hold. To load a context costs a fraction of loading the key's file.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_custody::Error;
use holdfast_wire::KeyUri;
use tss_esapi::Context;
use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::structures::{Private, Public};
use tss_esapi::utils::TpmsContext;

use super::Device;
use crate::errors::{self, Failure, failed};
use crate::policy::Policy;
use crate::source::{Source, Usable};
use crate::structures::whole;

/// Of a TPM's three slots one is for the storage key, or for the signer of a policy.
const INSIDE: usize = 2;

/// A key that is in the TPM for this turn at least.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) handle: KeyHandle,
    pub(crate) public: Arc<Public>,
    pub(crate) policy: Option<Arc<Policy>>,
    /// The storage key above it. A persistent key does not tell its own.
    pub(crate) under: Option<Arc<Public>>,
}

/// The keys that were used on this connection.
#[derive(Default)]
pub(super) struct Shelf {
    keys: HashMap<KeyUri, Kept>,
    uses: u64,
}

struct Kept {
    /// What it was loaded from: another file of the same name is another key.
    from: Arc<Usable>,
    public: Arc<Public>,
    policy: Option<Arc<Policy>>,
    under: Arc<Public>,
    /// As this TPM reads it, until it is reset.
    saved: Option<TpmsContext>,
    inside: Option<KeyHandle>,
    last_use: u64,
}

impl Shelf {
    pub(super) fn keeps(&self) -> bool {
        self.keys.values().any(|key| key.inside.is_some())
    }

    pub(super) fn take_inside(&mut self) -> impl Iterator<Item = ObjectHandle> + use<> {
        let inside: Vec<_> = self.keys.values_mut().filter_map(|key| key.inside.take()).collect();
        inside.into_iter().map(ObjectHandle::from)
    }

    /// The one inside that was not used for the longest time.
    fn take_oldest(&mut self) -> Option<ObjectHandle> {
        let inside = self.keys.values_mut().filter(|key| key.inside.is_some());
        inside.min_by_key(|key| key.last_use).and_then(|key| key.inside.take()).map(ObjectHandle::from)
    }

    fn inside(&self) -> usize {
        self.keys.values().filter(|key| key.inside.is_some()).count()
    }
}

impl Device {
    /// The key of a URI. `usable` is what its file holds now, where it has one.
    pub(crate) fn key(
        &mut self,
        uri: &KeyUri,
        source: &Source,
        usable: Option<&Arc<Usable>>,
    ) -> Result<Loaded, Failure> {
        let key = match (source.handle, usable) {
            (Some(handle), usable) => self.persistent_key(handle, usable.map(AsRef::as_ref))?,
            (None, Some(usable)) => self.file_key(uri, usable)?,
            (None, None) => return Err(Error::KeyNotFound.into()),
        };
        if key.policy.is_none() && !key.public.object_attributes().user_with_auth() {
            return Err(Error::KeyUnfit(
                "the key is used by a policy alone, which its file or handle does not tell; of a key at a handle its file tells it: tpm:handle=…;file=…".into(),
            )
            .into());
        }
        Ok(key)
    }

    fn file_key(&mut self, uri: &KeyUri, usable: &Arc<Usable>) -> Result<Loaded, Failure> {
        self.keys.uses += 1;
        let now = self.keys.uses;
        let known = self.keys.keys.get_mut(uri).filter(|known| known.from == *usable);
        if let Some(known) = known {
            known.last_use = now;
            let (public, policy) = (known.public.clone(), known.policy.clone());
            let under = Some(known.under.clone());
            if let Some(handle) = known.inside {
                return Ok(Loaded { handle, public, policy, under });
            }
            if let Some(saved) = known.saved.take() {
                self.make_room();
                // It does not outlive a reset of the TPM; the file does.
                if let Ok(object) = self.context.context_load(saved.clone()) {
                    let handle = KeyHandle::from(object);
                    if let Some(known) = self.keys.keys.get_mut(uri) {
                        (known.saved, known.inside) = (Some(saved), Some(handle));
                    }
                    return Ok(Loaded { handle, public, policy, under });
                }
            }
        }
        // What was kept under this name is another key now.
        if let Some(handle) = self.keys.keys.remove(uri).and_then(|old| old.inside) {
            self.loaded(handle.into());
            self.done_with(handle.into());
        }
        self.load(uri, usable, now)
    }

    fn load(&mut self, uri: &KeyUri, usable: &Arc<Usable>, now: u64) -> Result<Loaded, Failure> {
        let public = Arc::new(usable.public()?);
        let policy = usable.policy.clone();
        let private = whole(&usable.file.private).map(<[u8]>::to_vec).map(Private::try_from);
        let private = private.and_then(Result::ok).ok_or_else(crate::source::damaged)?;
        let session = self.hmac_session()?;
        self.make_room();
        let parent = self.parent(usable.file.parent)?;
        let under = Arc::new(self.read_public(parent)?);
        let loaded = self.with_empty_password(
            (parent, &under),
            |device| {
                let load = |context: &mut Context| context.load(parent, private, (*public).clone());
                device.context.execute_with_session(Some(session), load)
            },
            errors::not_loaded,
        );
        self.done_with(parent.into());
        let handle = loaded?;
        let kept = Kept {
            from: usable.clone(),
            public: public.clone(),
            policy: policy.clone(),
            under: under.clone(),
            saved: self.context.context_save(handle.into()).ok(),
            inside: Some(handle),
            last_use: now,
        };
        self.keys.keys.insert(uri.clone(), kept);
        Ok(Loaded { handle, public, policy, under: Some(under) })
    }

    /// A slot for one more key, beside that of the storage key.
    fn make_room(&mut self) {
        while self.keys.inside() >= INSIDE {
            let Some(oldest) = self.keys.take_oldest() else { return };
            self.loaded(oldest);
            self.done_with(oldest);
        }
    }

    /// Its file, where it has one, tells its policy.
    fn persistent_key(&mut self, handle: u32, usable: Option<&Usable>) -> Result<Loaded, Failure> {
        let key = self.persistent(handle)?.ok_or(Error::KeyNotFound)?;
        let public = self.read_public(key)?;
        let policy = match usable {
            Some(usable) if usable.public()? != public => {
                let why = format!("the key at {handle:#x} is another one than that in its file");
                return Err(Error::KeyUnfit(why).into());
            }
            Some(usable) => usable.policy.clone(),
            None => None,
        };
        Ok(Loaded { handle: key, public: Arc::new(public), policy, under: None })
    }

    /// The public half of what is in the TPM. With a pinned storage key it comes in a session that is salted to that,
    /// so that nobody between can put another in its place: images are encrypted to it.
    pub(crate) fn read_public(&mut self, key: KeyHandle) -> Result<Public, Failure> {
        const DOING: &str = "reading a public half";
        let read = if self.pinned.is_some() {
            let session = self.hmac_session()?;
            self.encrypt_answers_alone(session, true)?;
            let read = self.context.execute_with_session(Some(session), |context| context.read_public(key));
            self.encrypt_answers_alone(session, false)?;
            read
        } else {
            self.context.read_public(key)
        };
        let (public, _, _) = read.map_err(|error| failed(error, DOING))?;
        Ok(public)
    }
}
