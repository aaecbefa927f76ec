//! Making keys in the TPM, and bringing them there, for an operator.
//!
//! The key's file appears whole or not at all, is for its owner alone, and never takes the place of another:
//! what it replaced would be lost for good.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_custody::{Binding, Custodian as _, Error, KeyKind, Keysmith, Made, PrivateKey, Requirement};
use holdfast_wire::KeyUri;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::Provision;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Digest, PublicBuffer};
use tss_esapi::traits::Marshall;

use crate::connection::Connection;
use crate::device::Device;
use crate::errors::{Again, Failure, failed};
use crate::file::{ImportableFile, KeyFile};
use crate::policy::{PcrPolicy, Policy};
use crate::source::{Source, Usable};
use crate::structures::sized;
use crate::{EventLog, PolicyKey, Record, import, meet, pcrs, template};

/// Below are storage keys, and above what is the platform's (TCG Registry of Reserved TPM 2.0 Handles, section 2.3.1).
const FREE_HANDLES: std::ops::RangeInclusive<u32> = 0x8101_0000..=0x817f_ffff;

const MAKING: &str = "making the key";

/// A connection that makes keys.
pub(crate) struct Smith(Connection);

impl Smith {
    pub(crate) fn new(connection: Connection) -> Smith {
        Smith(connection)
    }

    /// The new key's file, and the handle that it is to have beside it.
    fn free_place(&mut self, uri: &KeyUri) -> Result<(PathBuf, Option<u32>), Error> {
        let Source { file: Some(path), handle } = Source::of(uri)? else {
            return Err(Error::KeyUnfit(
            "a new key is made as a file, as in tpm:file=/etc/holdfast/images.tss; --persist gives it a handle as well".into(),
        ));
        };
        // A dangling link counts as well.
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(_) => return Err(taken()),
            Err(error) => return Err(Error::KeyUnfit(format!("the key's file cannot be made: {error}"))),
        }
        match handle {
            Some(handle) if !FREE_HANDLES.contains(&handle) => Err(Error::KeyUnfit(format!(
                "{handle:#x} is kept for storage keys or the platform; give a handle from 0x81010000 to 0x817fffff that is free (tpm2_getcap handles-persistent)"
            ))),
            Some(handle) if self.0.turn(|device| device.has(handle))? => Err(handle_taken(handle)),
            handle => Ok((path, handle)),
        }
    }

    fn make(&mut self, uri: &KeyUri, kind: KeyKind, to: Option<&Binding>) -> Result<Made, Error> {
        let (path, handle) = self.free_place(uri)?;
        let (file, record) = self.0.turn(|device| {
            let mut record = None;
            let policy = match to {
                None => None,
                Some(Binding::Current(pcrs)) => {
                    let values = pcrs::current(device, pcrs)?;
                    let policy = PcrPolicy::new(&values);
                    // Where there is no log, or none that may be read, the values alone are kept.
                    let log = EventLog::read(Path::new(EventLog::PATH)).ok().flatten();
                    record = Some(Record::of(values, log.as_ref()));
                    Some(Policy::Exact(policy))
                }
                // The log of this boot explains no values but its own.
                Some(Binding::Exact(values)) => {
                    record = Some(Record::of(values.clone(), None));
                    Some(Policy::Exact(PcrPolicy::new(values)))
                }
                Some(Binding::Signed(key)) => {
                    let signer = PolicyKey::new(key.clone()).map_err(Error::KeyUnfit)?;
                    meet::check_signer(device, &signer)?;
                    Some(Policy::Signed { signer, command: None })
                }
                Some(_) => return Err(Error::Unsupported("such a binding").into()),
            };
            Ok((new_key(device, kind, policy)?, record))
        })?;
        let mut made = self.finish(uri, (&path, handle), &file)?;
        if let Some(record) = record {
            // The key is as good without.
            let written = match record.write(&path) {
                Err(error) => format!("could not be written, so that pcr show will tell less: {error}"),
                Ok(()) if record.has_events() => Record::path(&path).display().to_string(),
                Ok(()) => format!("{}, without the steps of the boot", Record::path(&path).display()),
            };
            made.info.custody.evidence.push(("record of the PCRs".into(), written));
        }
        Ok(made)
    }

    /// Writes a key's file, which must then do. Where the key is to be persistent it is made so.
    fn finish(
        &mut self,
        uri: &KeyUri,
        (path, handle): (&Path, Option<u32>),
        file: &KeyFile,
    ) -> Result<Made, Error> {
        write(path, file)?;
        let made = self.see(uri, path, handle);
        // Nothing is made in a hurry, and others may need the TPM now.
        self.0.rest();
        made.map_err(|error| {
            let end = match std::fs::remove_file(path) {
                Ok(()) => "its file was removed again",
                Err(_) => "its file is still there: remove it",
            };
            Error::KeyUnfit(format!("the key was made but cannot be used: {error}; {end}"))
        })
    }

    fn see(&mut self, uri: &KeyUri, path: &Path, handle: Option<u32>) -> Result<Made, Error> {
        let by_file = Source { file: Some(path.to_owned()), handle: None };
        let info = self.0.describe_at(uri, &by_file)?;
        Requirement::default().check(&info.custody)?;
        // Last: what is persistent stays in the TPM.
        if let Some(handle) = handle {
            let usable = Arc::new(Usable::read(path)?);
            self.0.turn(|device| {
                let key = device.key(uri, &by_file, Some(&usable))?;
                persist(device, key.handle, handle)
            })?;
        }
        Ok(Made { uri: uri.clone(), info })
    }
}

impl Keysmith for Smith {
    fn create(&mut self, uri: &KeyUri, kind: KeyKind) -> Result<Made, Error> {
        self.make(uri, kind, None)
    }

    fn create_bound(&mut self, uri: &KeyUri, kind: KeyKind, to: &Binding) -> Result<Made, Error> {
        self.make(uri, kind, Some(to))
    }

    fn import(&mut self, uri: &KeyUri, key: &PrivateKey) -> Result<Made, Error> {
        let (path, handle) = self.free_place(uri)?;
        let file = self.0.turn(|device| import::plain(device, key))?;
        self.finish(uri, (&path, handle), &file)
    }

    fn import_sealed(&mut self, uri: &KeyUri, sealed: &[u8]) -> Result<Made, Error> {
        let (path, handle) = self.free_place(uri)?;
        let sealed = ImportableFile::from_pem(sealed)
            .map_err(|why| Error::KeyUnfit(format!("the sealed key: {why}")))?;
        let file = self.0.turn(|device| import::sealed(device, &sealed))?;
        self.finish(uri, (&path, handle), &file)
    }
}

/// TPM2_EvictControl (TPM 2.0 Library Part 3, section 28.5).
fn persist(device: &mut Device, key: KeyHandle, handle: u32) -> Result<(), Failure> {
    const DOING: &str = "making the key persistent";
    let persistent = PersistentTpmHandle::new(handle).map_err(|error| failed(error, DOING))?;
    let evicted = device.context().execute_with_session(Some(AuthSession::Password), |context| {
        context.evict_control(Provision::Owner, key.into(), Persistent::Persistent(persistent))
    });
    match evicted {
        Ok(object) => {
            device.known(object);
            Ok(())
        }
        Err(error) => Err(match failed(error, DOING) {
            Failure { error: Error::KeyUnfit(_), .. } => Error::KeyUnfit(format!(
                "the owner hierarchy has a password; make the key without --persist, and persistent with tpm2_evictcontrol -C o {handle:#x}"
            ))
            .into(),
            Failure { error: Error::Unavailable(why), again: Again::No } => {
                Error::KeyUnfit(format!("{why}; tpm2_getcap handles-persistent shows what is there")).into()
            }
            other => other,
        }),
    }
}

fn new_key(device: &mut Device, kind: KeyKind, policy: Option<Policy>) -> Result<KeyFile, Failure> {
    let digest = policy.as_ref().map(|policy| Digest::try_from(policy.digest().to_vec())).transpose();
    let template = template::new_key(kind, digest.map_err(|error| failed(error, MAKING))?)?;
    let session = device.hmac_session()?;
    let parent = device.usual_parent()?;
    let parent_key = device.parent(parent)?;
    let under = device.read_public(parent_key)?;
    let made = device.with_empty_password(
        (parent_key, &under),
        |device| {
            device.context().execute_with_session(Some(session), |context| {
                context.create(parent_key, template, None, None, None, None)
            })
        },
        |error| failed(error, MAKING),
    )?;
    let public = PublicBuffer::try_from(made.out_public)
        .and_then(|public| public.marshall())
        .map_err(|error| failed(error, MAKING))?;
    let private = sized(&[made.out_private.value()])
        .ok_or_else(|| Error::Internal("a private half without end".into()))?;
    Ok(KeyFile {
        empty_auth: true,
        policy: policy.iter().flat_map(Policy::commands).collect(),
        auth_policy: Vec::new(),
        parent,
        public,
        private,
    })
}

fn write(path: &Path, file: &KeyFile) -> Result<(), Error> {
    let failed =
        |error: std::io::Error| Error::KeyUnfit(format!("the key's file cannot be written: {error}"));
    let pem = file.to_pem().map_err(|_| Error::Internal("a key that DER cannot hold".into()))?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    // Mode 0600, as tempfile makes it.
    let mut temporary = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    temporary.write_all(pem.as_bytes()).and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
    temporary.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => taken(),
        _ => failed(error.error),
    })
}

fn handle_taken(handle: u32) -> Error {
    Error::KeyUnfit(format!(
        "there is a key at {handle:#x} already; give another handle, or remove it with tpm2_evictcontrol -C o -c {handle:#x}"
    ))
}

fn taken() -> Error {
    Error::KeyUnfit(
        "there is a file of this name, which is never overwritten: a key that is lost takes its images along; give another file=".into(),
    )
}
