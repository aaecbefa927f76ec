//! Making keys in the TPM, and bringing them there, for an operator.
//!
//! The key's file appears whole or not at all, is for its owner alone, and never takes the place of another:
//! what it replaced would be lost for good.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use holdfast_custody::{Binding, Custodian as _, Error, KeyKind, Keysmith, Made, PrivateKey, Requirement};
use holdfast_wire::KeyUri;
use tss_esapi::constants::SessionType;
use tss_esapi::structures::{Digest, PublicBuffer};
use tss_esapi::traits::Marshall;

use crate::connection::Connection;
use crate::device::Device;
use crate::errors::failed;
use crate::file::{ImportableFile, KeyFile};
use crate::import;
use crate::pcrs;
use crate::policy::PcrPolicy;
use crate::source::Source;
use crate::template;

const MAKING: &str = "making the key";

/// A connection that makes keys.
pub(crate) struct Smith(Connection);

impl Smith {
    pub(crate) fn new(connection: Connection) -> Smith {
        Smith(connection)
    }

    fn make(&mut self, uri: &KeyUri, kind: KeyKind, to: Option<&Binding>) -> Result<Made, Error> {
        let path = free_path(uri)?;
        let file = self.0.turn(|device| {
            let policy = match to {
                None => None,
                Some(Binding::Current(pcrs)) => Some(PcrPolicy::new(&pcrs::current(device, pcrs)?)),
                Some(Binding::Exact(values)) => Some(PcrPolicy::new(values)),
                Some(_) => return Err(Error::Unsupported("binding to signed policies")),
            };
            new_key(device, kind, policy)
        })?;
        self.finish(uri, &path, &file)
    }

    /// Writes a key's file, which must then do.
    fn finish(&mut self, uri: &KeyUri, path: &Path, file: &KeyFile) -> Result<Made, Error> {
        write(path, file)?;
        match self.0.describe(uri).and_then(|info| Requirement::default().check(&info.custody).map(|()| info))
        {
            Ok(info) => Ok(Made { uri: uri.clone(), info }),
            Err(error) => {
                let end = match std::fs::remove_file(path) {
                    Ok(()) => "its file was removed again",
                    Err(_) => "its file is still there: remove it",
                };
                Err(Error::KeyUnfit(format!("the key was made but cannot be used: {error}; {end}")))
            }
        }
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
        let path = free_path(uri)?;
        let file = self.0.turn(|device| import::plain(device, key))?;
        self.finish(uri, &path, &file)
    }

    fn import_sealed(&mut self, uri: &KeyUri, sealed: &[u8]) -> Result<Made, Error> {
        let path = free_path(uri)?;
        let sealed = ImportableFile::from_pem(sealed)
            .map_err(|why| Error::KeyUnfit(format!("the sealed key: {why}")))?;
        let file = self.0.turn(|device| import::sealed(device, &sealed))?;
        self.finish(uri, &path, &file)
    }
}

fn free_path(uri: &KeyUri) -> Result<PathBuf, Error> {
    let Source::File(path) = Source::of(uri)? else {
        return Err(Error::KeyUnfit(
            "a new key is made as a file, tpm:file=/etc/holdfast/images.tss; a persistent handle takes space in the TPM that it does not need".into(),
        ));
    };
    // A dangling link counts as well.
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(path),
        Ok(_) => Err(taken()),
        Err(error) => Err(Error::KeyUnfit(format!("the key's file cannot be made: {error}"))),
    }
}

fn new_key(device: &mut Device, kind: KeyKind, policy: Option<PcrPolicy>) -> Result<KeyFile, Error> {
    let digest = policy.as_ref().map(|policy| Digest::try_from(policy.digest().to_vec())).transpose();
    let template = template::new_key(kind, digest.map_err(|error| failed(error, MAKING))?)?;
    let parent = device.usual_parent()?;
    let parent_key = device.parent(parent)?;
    let session = device.session(SessionType::Hmac, parent_key)?;
    let made = device
        .context()
        .execute_with_session(Some(session), |context| {
            context.create(parent_key, template, None, None, None, None)
        })
        .map_err(|error| failed(error, MAKING))?;
    let public = PublicBuffer::try_from(made.out_public)
        .and_then(|public| public.marshall())
        .map_err(|error| failed(error, MAKING))?;
    let private = made.out_private.value();
    let len =
        u16::try_from(private.len()).map_err(|_| Error::Internal("a private half without end".into()))?;
    Ok(KeyFile {
        empty_auth: true,
        policy: policy.iter().map(PcrPolicy::command).collect(),
        auth_policy: Vec::new(),
        parent,
        public,
        private: [&len.to_be_bytes()[..], private].concat(),
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

fn taken() -> Error {
    Error::KeyUnfit(
        "there is a file of this name, which is never overwritten: a key that is lost takes its images along; give another file=".into(),
    )
}
