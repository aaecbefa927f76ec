//! The TPM's context, and what of ours is in the TPM.
//!
//! What one turn loads and nobody else needs is noted, and flushed when the turn ends, however it ends. Keys and
//! sessions stay inside from one turn to the next, because to make them anew costs more than to use them
//! ([`mod@keys`], [`mod@sessions`]); they are put away when nobody asked for anything for some seconds, when the
//! TPM is full, and with the connection. A context that could not put everything away, or that lost the TPM, is
//! spent: ESYS answers TSS2_ESYS_RC_BAD_SEQUENCE for ever then.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_custody::Error;
use tss_esapi::Context;
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{CapabilityData, Public, VerifiedTicket};
use tss_esapi::tss2_esys::TPMT_TK_VERIFIED;
use tss_esapi::utils::TpmsContext;

use crate::PolicyKey;
use crate::errors::{self, Again, Code, Failure, code, failed};
use crate::file::KeyFile;
use crate::guesses::Guesses;
use crate::storage_key::Name;
use crate::template;
use crate::token::Settings;

mod keys;
mod sessions;

pub(crate) use keys::Loaded;

/// Where the storage key is by convention (TCG TPM v2.0 Provisioning Guidance, table 2).
pub(crate) const STORAGE_KEY: u32 = 0x8100_0001;

/// Signed policies that are in use at the same time: one or two.
const TICKETS: usize = 16;
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
    /// The Name that the storage key must have, where the configuration says so.
    pinned: Option<Name>,
    guesses: Arc<Guesses>,
    /// The owner hierarchy's storage key, if it was made already.
    primary: Option<TpmsContext>,
    keys: keys::Shelf,
    sessions: sessions::Kept,
    /// For signed policies, by the policy's digest and its signer's Name.
    tickets: HashMap<([u8; 32], [u8; 34]), TPMT_TK_VERIFIED>,
    /// What is in the TPM for this turn alone.
    inside: Vec<ObjectHandle>,
    /// What tpm2-tss knows of persistent keys for this turn alone. They stay in the TPM; what is known of them is
    /// asked anew each time, because they can be replaced.
    known: Vec<ObjectHandle>,
    spent: bool,
}

impl Device {
    /// Opens the way to the TPM, asks what it is, and whether it is the one that is meant.
    pub(crate) fn open(settings: &Settings) -> Result<Device, Error> {
        let tcti = &settings.tcti;
        let unreachable = |error| match failed(error, "opening the TPM").error {
            Error::Unavailable(why) => Error::Unavailable(format!("{tcti}: {why}")),
            other => other,
        };
        let mut context = tcti.name().and_then(Context::new).map_err(unreachable)?;
        let about = about(&mut context).map_err(unreachable)?;
        let mut device = Device {
            context,
            about,
            pinned: settings.storage_key_name,
            guesses: settings.guesses.clone(),
            primary: None,
            keys: keys::Shelf::default(),
            sessions: sessions::Kept::default(),
            tickets: HashMap::new(),
            inside: Vec::new(),
            known: Vec::new(),
            spent: false,
        };
        device.attempt(&mut Device::identify).map_err(|failure| failure.error)?;
        Ok(device)
    }

    /// Runs a command that uses a key, or a storage key, with its password, which must be empty. One that is refused
    /// is not tried again. A key that no wrong password locks is not refused like that: then its handle is somebody
    /// else's by now.
    pub(crate) fn with_empty_password<T>(
        &mut self,
        (handle, key): (KeyHandle, &Public),
        command: impl FnOnce(&mut Device) -> Result<T, tss_esapi::Error>,
        explain: impl FnOnce(tss_esapi::Error) -> Failure,
    ) -> Result<T, Failure> {
        self.guesses.check(key)?;
        command(self).or_else(|error| {
            let refused = code(error) == Code::Tpm(errors::AUTH_FAIL);
            let failure = explain(error);
            if refused && key.object_attributes().no_da() {
                return Err(Failure { again: Again::Gone, ..failure });
            }
            if refused && self.read_public(handle).is_ok_and(|public| public != *key) {
                return Err(Failure { again: Again::Gone, ..failure });
            }
            if refused {
                self.guesses.remember(key)?;
            }
            Err(failure)
        })
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    /// Commands are sent through this.
    pub(crate) fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    /// Whether the TPM answers, and is the one that is meant. In failure mode it gives no random numbers.
    pub(crate) fn probe(&mut self) -> Result<(), Failure> {
        self.context.get_random(PROBE_LEN).map_err(|error| failed(error, "a probe"))?;
        self.identify()
    }

    /// Does `work`, and puts away what it loaded for itself.
    pub(crate) fn attempt<T>(
        &mut self,
        work: &mut dyn FnMut(&mut Device) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let result = work(self);
        for handle in std::mem::take(&mut self.inside).into_iter().rev() {
            // What cannot be put away goes with the context. The result is good all the same.
            self.spent |= self.flush(handle).is_err();
        }
        for handle in std::mem::take(&mut self.known) {
            self.close(handle);
        }
        result
    }

    /// Puts away whatever is kept for later: it is made anew when it is needed.
    pub(crate) fn put_away(&mut self) {
        for handle in self.keys.take_inside().chain(self.sessions.take()) {
            self.spent |= self.flush(handle).is_err();
        }
    }

    /// Forgets what is kept, which is not in the TPM any more. It is not flushed: what has its handle now may be
    /// somebody else's.
    pub(crate) fn forget(&mut self) {
        self.tickets.clear();
        for handle in self.keys.take_inside().chain(self.sessions.take()) {
            self.close(handle);
        }
    }

    /// Whether there is anything that the TPM may know no more, or may need the room of.
    pub(crate) fn keeps(&self) -> bool {
        self.keys.keeps() || self.sessions.keeps() || !self.tickets.is_empty()
    }

    /// The TPM's word on a signed policy, if it gave that already.
    pub(crate) fn ticket(&self, policy: &[u8; 32], signer: &PolicyKey) -> Option<VerifiedTicket> {
        VerifiedTicket::try_from(*self.tickets.get(&(*policy, signer.name()))?).ok()
    }

    pub(crate) fn keep_ticket(&mut self, policy: &[u8; 32], signer: &PolicyKey, ticket: TPMT_TK_VERIFIED) {
        if self.tickets.len() == TICKETS {
            self.tickets.clear();
        }
        self.tickets.insert((*policy, signer.name()), ticket);
    }

    /// Whether nothing can be asked through this context any more.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Notes what is in the TPM for this turn, so that it is put away.
    pub(crate) fn loaded(&mut self, handle: ObjectHandle) {
        self.inside.push(handle);
    }

    /// Notes what tpm2-tss knows of a persistent key, for this turn. It has one handle for it, however often it is
    /// asked.
    pub(crate) fn known(&mut self, object: ObjectHandle) {
        if !self.known.contains(&object) {
            self.known.push(object);
        }
    }

    /// Gives a slot back before the turn is over. What was not loaded by this turn stays.
    pub(crate) fn done_with(&mut self, handle: ObjectHandle) {
        if let Some(at) = self.inside.iter().position(|inside| *inside == handle) {
            self.inside.swap_remove(at);
            self.spent |= self.flush(handle).is_err();
        }
    }

    /// The storage key that a file names as its parent.
    pub(crate) fn parent(&mut self, handle: u32) -> Result<KeyHandle, Failure> {
        match handle {
            KeyFile::OWNER => self.primary(),
            handle => self.persistent(handle)?.ok_or_else(|| {
                Error::KeyUnfit(format!("the key's parent, {handle:#x}, is not in this TPM: the key is another TPM's, or tpm2_evictcontrol has removed it")).into()
            }),
        }
    }

    /// The handle under which keys are made: the storage key at its usual place, else the owner hierarchy's.
    pub(crate) fn usual_parent(&mut self) -> Result<u32, Failure> {
        Ok(if self.has(STORAGE_KEY)? { STORAGE_KEY } else { KeyFile::OWNER })
    }

    /// That storage key, to which sessions are salted: who answers in such a session has its private half. With a
    /// pinned Name no other TPM does.
    pub(crate) fn storage_key(&mut self) -> Result<KeyHandle, Failure> {
        let handle = self.usual_parent()?;
        let key = self.parent(handle)?;
        if let Some(pinned) = self.pinned {
            let name = self.context.tr_get_name(key.into());
            let name = name.map_err(|error| failed(error, "reading the storage key's Name"))?;
            if name.value() != pinned.as_bytes() {
                return Err(replaced(name.value(), pinned).into());
            }
        }
        Ok(key)
    }

    fn identify(&mut self) -> Result<(), Failure> {
        if self.pinned.is_some() { self.storage_key().map(drop) } else { Ok(()) }
    }

    /// A persistent key, for this turn. It takes no slot but while it is used.
    pub(crate) fn persistent(&mut self, handle: u32) -> Result<Option<KeyHandle>, Failure> {
        // Asked first, because tpm2-tss complains on stderr of what is not there.
        if !self.has(handle)? {
            return Ok(None);
        }
        let object = PersistentTpmHandle::new(handle)
            .and_then(|handle| self.context.tr_from_tpm_public(TpmHandle::Persistent(handle)))
            .map_err(|error| failed(error, "reading a persistent key"))?;
        self.known(object);
        Ok(Some(object.into()))
    }

    fn primary(&mut self) -> Result<KeyHandle, Failure> {
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
                Failure { error: Error::KeyUnfit(_), .. } => Error::KeyUnfit(format!(
                    "the owner hierarchy has a password; make the storage key persistent at {STORAGE_KEY:#x} (tpm2_createprimary, tpm2_evictcontrol) and the key under it"
                )).into(),
                other => other,
            })?;
        self.loaded(made.key_handle.into());
        self.primary = self.context.context_save(made.key_handle.into()).ok();
        Ok(made.key_handle)
    }

    /// Whether there is something persistent.
    pub(crate) fn has(&mut self, handle: u32) -> Result<bool, Failure> {
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

    /// How long until the TPM takes a password again, in seconds and at most. `None` where it does not say.
    pub(crate) fn lockout_seconds(&mut self) -> Option<u64> {
        let mut property = |tag| self.context.get_tpm_property(tag).ok().flatten().map(u64::from);
        let (tried, allowed) = (property(PropertyTag::LockoutCounter)?, property(PropertyTag::MaxAuthFail)?);
        // It forgets one wrong password after each interval (Part 1, section 19.8).
        let interval = property(PropertyTag::LockoutInterval)?;
        Some((tried + 1).saturating_sub(allowed).max(1) * interval)
    }

    /// An error where the TPM could not be reached; something that is not there any more is away.
    fn flush(&mut self, handle: ObjectHandle) -> Result<(), ()> {
        match self.context.flush_context(handle).map_err(code) {
            Ok(()) => Ok(()),
            Err(Code::Tpm(_)) => {
                self.close(handle);
                Ok(())
            }
            Err(Code::Layer(_) | Code::Wrapper) => Err(()),
        }
    }

    fn close(&mut self, mut handle: ObjectHandle) {
        // The crate complains of what it would have flushed; it is closed all the same.
        let closed = self.context.tr_close(&mut handle).map_err(code);
        self.spent |= closed.is_err_and(|code| code != Code::Wrapper);
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

fn replaced(name: &[u8], pinned: Name) -> Error {
    Error::TokenReplaced(format!(
        "another TPM answers than the one that storage_key_name names, or it was cleared since: its storage key is {}, and not {pinned}; if that is meant, set storage_key_name to the new one (holdfastd key storage-key)",
        holdfast_custody::hex::to_hex(name)
    ))
}
