//! The TPM's context, and what is in the TPM for the length of one turn.
//!
//! Whatever is loaded here is noted, and flushed when the turn ends, however it ends. A context that could not
//! put everything away, or that lost the TPM, is spent: ESYS answers TSS2_ESYS_RC_BAD_SEQUENCE for ever then.

use holdfast_custody::Error;
use tss_esapi::Context;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::{CapabilityType, PropertyTag, SessionType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{CapabilityData, SymmetricDefinition};
use tss_esapi::utils::TpmsContext;

use crate::Tcti;
use crate::errors::failed;
use crate::file::KeyFile;
use crate::template;

/// Where the storage key is by convention (TCG TPM v2.0 Provisioning Guidance, table 2).
pub(crate) const STORAGE_KEY: u32 = 0x8100_0001;

/// Bytes of a probe's random number.
const PROBE_LEN: usize = 8;

/// What a TPM says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    /// TPM_PT_MANUFACTURER, four letters: "IFX", "STM", "IBM" for swtpm.
    pub(crate) manufacturer: String,
    /// TPM_PT_FIRMWARE_VERSION_1 and _2, in hexadecimal digits.
    pub(crate) firmware: String,
}

/// One ESYS context.
pub(crate) struct Device {
    context: Context,
    about: About,
    /// The owner hierarchy's storage key, if it was made already.
    primary: Option<TpmsContext>,
    /// What is in the TPM of ours now.
    inside: Vec<ObjectHandle>,
    /// What tpm2-tss knows of persistent keys now. They stay in the TPM; what is known of them is asked anew
    /// each time, because they can be replaced.
    known: Vec<ObjectHandle>,
    spent: bool,
}

impl Device {
    /// Opens the way to the TPM and asks what it is.
    pub(crate) fn open(tcti: &Tcti) -> Result<Device, Error> {
        let unreachable = |error| match failed(error, "opening the TPM") {
            Error::Unavailable(why) => Error::Unavailable(format!("{tcti}: {why}")),
            other => other,
        };
        let mut context = tcti.name().and_then(Context::new).map_err(unreachable)?;
        let about = about(&mut context).map_err(unreachable)?;
        Ok(Device { context, about, primary: None, inside: Vec::new(), known: Vec::new(), spent: false })
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    /// Commands are sent through this.
    pub(crate) fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    /// Whether the TPM answers. In failure mode it gives no random numbers.
    pub(crate) fn probe(&mut self) -> Result<(), Error> {
        self.usable()?;
        self.context.get_random(PROBE_LEN).map(drop).map_err(|error| self.fails(failed(error, "a probe")))
    }

    /// One turn: what `work` loads is put away after it.
    pub(crate) fn turn<T>(&mut self, work: impl FnOnce(&mut Device) -> Result<T, Error>) -> Result<T, Error> {
        self.usable()?;
        let result = work(self).map_err(|error| self.fails(error));
        for handle in self.inside.drain(..).rev() {
            // What cannot be put away goes with the context. The result is good all the same.
            if self.context.flush_context(handle).is_err() {
                self.spent = true;
            }
        }
        for mut handle in self.known.drain(..) {
            self.spent |= self.context.tr_close(&mut handle).is_err();
        }
        result
    }

    /// Notes what is in the TPM since, so that it is put away.
    pub(crate) fn loaded(&mut self, handle: ObjectHandle) {
        self.inside.push(handle);
    }

    /// The storage key that a file names as its parent.
    pub(crate) fn parent(&mut self, handle: u32) -> Result<KeyHandle, Error> {
        match handle {
            KeyFile::OWNER => self.primary(),
            handle => self.persistent(handle)?.ok_or_else(|| {
                Error::KeyUnfit(format!("the key's parent, {handle:#x}, is not in this TPM: the key is another TPM's, or tpm2_evictcontrol has removed it"))
            }),
        }
    }

    /// The handle under which keys are made: the storage key at its usual place, else the owner hierarchy's.
    pub(crate) fn usual_parent(&mut self) -> Result<u32, Error> {
        Ok(if self.has(STORAGE_KEY)? { STORAGE_KEY } else { KeyFile::OWNER })
    }

    /// A persistent key. It takes no slot but while it is used.
    pub(crate) fn persistent(&mut self, handle: u32) -> Result<Option<KeyHandle>, Error> {
        // Asked first, because tpm2-tss complains on stderr of what is not there.
        if !self.has(handle)? {
            return Ok(None);
        }
        let object = PersistentTpmHandle::new(handle)
            .and_then(|handle| self.context.tr_from_tpm_public(TpmHandle::Persistent(handle)))
            .map_err(|error| failed(error, "reading a persistent key"))?;
        self.known.push(object);
        Ok(Some(object.into()))
    }

    /// A session whose secret is salted to `parent`, and in which the first parameter is encrypted both ways.
    pub(crate) fn session(&mut self, kind: SessionType, parent: KeyHandle) -> Result<AuthSession, Error> {
        const DOING: &str = "starting a session";
        let session = self
            .context
            .start_auth_session(
                Some(parent),
                None,
                None,
                kind,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )
            .map_err(|error| failed(error, DOING))?
            .ok_or_else(|| Error::Internal("the TPM started no session".into()))?;
        self.loaded(SessionHandle::from(session).into());
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(true)
            .with_encrypt(true)
            .build();
        self.context
            .tr_sess_set_attributes(session, attributes, mask)
            .map_err(|error| failed(error, DOING))?;
        Ok(session)
    }

    /// As [`Device::session`], for a policy.
    pub(crate) fn policy_session(
        &mut self,
        parent: KeyHandle,
    ) -> Result<(AuthSession, PolicySession), Error> {
        let session = self.session(SessionType::Policy, parent)?;
        let policy = PolicySession::try_from(session)
            .map_err(|_| Error::Internal("the TPM started another kind of session".into()))?;
        Ok((session, policy))
    }

    fn primary(&mut self) -> Result<KeyHandle, Error> {
        if let Some(saved) = self.primary.take() {
            // It does not outlive a reset of the TPM.
            if let Ok(object) = self.context.context_load(saved.clone()) {
                self.loaded(object);
                self.primary = Some(saved);
                return Ok(object.into());
            }
        }
        const DOING: &str = "making the owner hierarchy's storage key";
        let template = template::storage_key().map_err(|error| failed(error, DOING))?;
        let made = self
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.create_primary(Hierarchy::Owner, template, None, None, None, None)
            })
            .map_err(|error| match failed(error, DOING) {
                Error::KeyUnfit(_) => Error::KeyUnfit(format!(
                    "the owner hierarchy has a password; make the storage key persistent at {STORAGE_KEY:#x} (tpm2_createprimary, tpm2_evictcontrol) and the key under it"
                )),
                other => other,
            })?;
        self.loaded(made.key_handle.into());
        self.primary = self.context.context_save(made.key_handle.into()).ok();
        Ok(made.key_handle)
    }

    fn has(&mut self, handle: u32) -> Result<bool, Error> {
        let (capability, _) = self
            .context
            .get_capability(CapabilityType::Handles, handle, 1)
            .map_err(|error| failed(error, "asking for persistent keys"))?;
        let CapabilityData::Handles(handles) = capability else {
            return Ok(false);
        };
        // The first at or after the one that was asked for.
        Ok(handles.into_inner().first().is_some_and(|found| u32::from(*found) == handle))
    }

    fn usable(&self) -> Result<(), Error> {
        if self.spent {
            return Err(Error::Unavailable("the connection to the TPM is spent and is made anew".into()));
        }
        Ok(())
    }

    /// After a failure on the way nothing can be asked through this context any more.
    fn fails(&mut self, error: Error) -> Error {
        self.spent |= matches!(error, Error::Unavailable(_) | Error::Internal(_));
        error
    }
}

fn about(context: &mut Context) -> Result<About, tss_esapi::Error> {
    let mut property = |tag| context.get_tpm_property(tag).map(Option::unwrap_or_default);
    let manufacturer = property(PropertyTag::Manufacturer)?.to_be_bytes();
    let letters = manufacturer.iter().filter(|byte| byte.is_ascii_graphic());
    let [first, second] = [PropertyTag::FirmwareVersion1, PropertyTag::FirmwareVersion2].map(&mut property);
    Ok(About {
        manufacturer: letters.map(|byte| char::from(*byte)).collect(),
        firmware: format!("{:08x}.{:08x}", first?, second?),
    })
}
