//! Where a key is: its URI, and the file that the URI names.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use holdfast_custody::{Error, RegularFile};
use holdfast_wire::KeyUri;

use crate::file::{KeyFile, MAX_LEN};
use crate::policy::PcrPolicy;

/// TPM_HT_PERSISTENT: 0x81000000 to 0x81ffffff.
const PERSISTENT: std::ops::RangeInclusive<u32> = 0x8100_0000..=0x81ff_ffff;

/// What a key's URI leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// `tpm:file=/etc/holdfast/images.tss`
    File(PathBuf),
    /// `tpm:handle=0x81010002`
    Handle(u32),
}

/// A key file that can be used as far as one sees without the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usable {
    pub(crate) file: KeyFile,
    pub(crate) policy: Option<PcrPolicy>,
}

/// Whether a URI names a key as this backend has it. The error says how one is named.
pub fn check_uri(uri: &KeyUri) -> Result<(), String> {
    Source::of(uri).map(drop).map_err(|error| error.to_string())
}

impl Source {
    pub(crate) fn of(uri: &KeyUri) -> Result<Source, Error> {
        let unfit = |why: &str| Err(Error::KeyUnfit(why.into()));
        match (uri.get("file"), uri.get("handle")) {
            (Some(_), None) => match uri.text("file").map(PathBuf::from) {
                Some(path) if path.is_absolute() => Ok(Source::File(path)),
                _ => unfit("file= must be an absolute path, as in tpm:file=/etc/holdfast/images.tss"),
            },
            (None, Some(_)) => {
                let number = uri.text("handle").and_then(|text| text.strip_prefix("0x"));
                match number.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
                    Some(handle) if PERSISTENT.contains(&handle) => Ok(Source::Handle(handle)),
                    _ => unfit(
                        "handle= must be a persistent handle in hexadecimal, as in tpm:handle=0x81010002",
                    ),
                }
            }
            _ => unfit("the URI of a key in a TPM has either file= or handle="),
        }
    }
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
        let policy = PcrPolicy::read(&file.policy)?;
        Ok(Usable { file, policy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_file_or_a_persistent_handle() {
        let source = |uri: &str| Source::of(&uri.parse().unwrap());
        assert_eq!(source("tpm:file=/etc/a.tss"), Ok(Source::File("/etc/a.tss".into())));
        assert_eq!(source("tpm:handle=0x81010002"), Ok(Source::Handle(0x8101_0002)));
        for uri in [
            "tpm:",
            "tpm:file=a.tss",
            "tpm:handle=0x80000000",
            "tpm:handle=81010002",
            "tpm:handle=0x81010002;file=/a",
        ] {
            assert!(matches!(source(uri), Err(Error::KeyUnfit(_))), "{uri}");
        }
    }
}
