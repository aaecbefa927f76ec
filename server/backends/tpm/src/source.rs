//! Where a key is: its URI, and the file that the URI names.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_custody::{Error, RegularFile};
use holdfast_wire::KeyUri;

use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{Public, PublicBuffer};
use tss_esapi::traits::UnMarshall;

use crate::file::{KeyFile, MAX_LEN};
use crate::policy::Policy;
use crate::structures::whole;

/// TPM_HT_PERSISTENT: 0x81000000 to 0x81ffffff.
const PERSISTENT: std::ops::RangeInclusive<u32> = 0x8100_0000..=0x81ff_ffff;

/// What a key's URI leads to: at least one of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// `tpm:file=/etc/holdfast/images.tss`
    pub(crate) file: Option<PathBuf>,
    /// `tpm:handle=0x81010002`. With a file beside it, that tells the policy of the key, which the TPM does not.
    pub(crate) handle: Option<u32>,
}

/// A key file that can be used as far as one sees without the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usable {
    pub(crate) file: KeyFile,
    pub(crate) policy: Option<Arc<Policy>>,
}

/// Whether a URI names a key as this backend has it. The error says how one is named.
pub fn check_uri(uri: &KeyUri) -> Result<(), String> {
    Source::of(uri).map(drop).map_err(|error| error.to_string())
}

impl Source {
    pub(crate) fn of(uri: &KeyUri) -> Result<Source, Error> {
        let unfit = |why: &str| Err(Error::KeyUnfit(why.into()));
        let file = match (uri.get("file"), uri.text("file").map(PathBuf::from)) {
            (None, _) => None,
            (Some(_), Some(path)) if path.is_absolute() => Some(path),
            _ => return unfit("file= must be an absolute path, as in tpm:file=/etc/holdfast/images.tss"),
        };
        let handle = match uri.get("handle") {
            None => None,
            Some(_) => match uri.text("handle").and_then(handle) {
                Some(handle) => Some(handle),
                None => {
                    return unfit(
                        "handle= must be a persistent handle in hexadecimal, as in tpm:handle=0x81010002",
                    );
                }
            },
        };
        if file.is_none() && handle.is_none() {
            return unfit("the URI of a key in a TPM has file=, or handle=, or both");
        }
        Ok(Source { file, handle })
    }
}

/// A persistent handle as people write it: `0x81010002`.
pub fn handle(text: &str) -> Option<u32> {
    let digits =
        text.strip_prefix("0x").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok().filter(|handle| PERSISTENT.contains(handle))
}

impl Usable {
    /// Reads a key's file anew: it may have been replaced.
    pub(crate) fn read(path: &Path) -> Result<Usable, Error> {
        let unreadable = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Error::KeyNotFound,
            _ => Error::KeyUnfit(format!("the key's file cannot be read: {error}")),
        };
        let text = RegularFile::read(path, MAX_LEN).map_err(unreadable)?.bytes;
        let file = KeyFile::from_pem(text.expose())
            .map_err(|why| Error::KeyUnfit(format!("the key's file: {why}")))?;
        if !file.empty_auth {
            return Err(Error::KeyUnfit(
                "the key has a password, which holdfastd does not use; make one without, bound to PCR values if that is wanted".into(),
            ));
        }
        let parent = file.parent;
        if parent != KeyFile::OWNER && !PERSISTENT.contains(&parent) {
            return Err(Error::KeyUnfit(format!(
                "the key's parent is {parent:#x}; only a persistent storage key or the owner hierarchy ({:#x}) is taken",
                KeyFile::OWNER
            )));
        }
        let policy = Policy::read(&file.policy)?.map(Arc::new);
        Ok(Usable { file, policy })
    }

    /// The public half in the file, whose policy must be the one that the file tells. The TPM proves the rest when
    /// it loads the key.
    pub(crate) fn public(&self) -> Result<Public, Error> {
        let KeyFile { public, private, .. } = &self.file;
        if [public, private].into_iter().any(|structure| whole(structure).is_none()) {
            return Err(damaged());
        }
        let public = PublicBuffer::unmarshall(public).and_then(Public::try_from).map_err(|_| damaged())?;
        if let Some(policy) = &self.policy
            && (public.name_hashing_algorithm() != HashingAlgorithm::Sha256
                || public.auth_policy().value() != policy.digest())
        {
            return Err(Error::KeyUnfit(
                "the policy in the key's file is not the one that the key has".into(),
            ));
        }
        Ok(public)
    }
}

pub(crate) fn damaged() -> Error {
    Error::KeyUnfit("the key's file is damaged: what it says are TPM structures is none".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_file_or_a_persistent_handle_or_both() {
        let source = |uri: &str| Source::of(&uri.parse().unwrap());
        let (file, handle) = (Some("/etc/a.tss".into()), Some(0x8101_0002));
        assert_eq!(source("tpm:file=/etc/a.tss"), Ok(Source { file: file.clone(), handle: None }));
        assert_eq!(source("tpm:handle=0x81010002"), Ok(Source { file: None, handle }));
        assert_eq!(source("tpm:handle=0x81010002;file=/etc/a.tss"), Ok(Source { file, handle }));
        for uri in [
            "tpm:",
            "tpm:file=a.tss",
            "tpm:handle=0x80000000",
            "tpm:handle=81010002",
            "tpm:handle=0x+1010002",
            "tpm:handle=0x81010002;file=a",
            "tpm:handle=0x8101000g;file=/a",
        ] {
            assert!(matches!(source(uri), Err(Error::KeyUnfit(_))), "{uri}");
        }
    }
}
