//! Signed PCR policies: which states of the machine a signer has approved for the keys that are bound to it.
//!
//! They are files beside the keys, so that the next kernel's can be added before it is booted. Their form is
//! systemd's `tpm2-pcr-signature.json`, so that one file serves both. Nothing in such a file is trusted: what
//! its signer's key does not verify is left out here, before a TPM is troubled with it, and the TPM verifies
//! the rest again. The files are looked at anew for each use, and read anew when they have changed.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use holdfast_custody::{PcrSelection, PcrValues, RegularFile};

use crate::PolicyKey;

mod file;
mod json;
mod sign;

pub use json::{merge, parse};

/// Bytes of one file. An entry with an RSA-4096 signature has 1 KiB.
const MAX_LEN: usize = 1024 * 1024;
/// Files of one directory.
const MAX_FILES: usize = 256;
/// Genuine policies of one signer, in all files together.
const MAX_POLICIES: usize = 4096;

/// One state of the machine that a signer has approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPolicy {
    /// The PCRs that the policy is about.
    pub pcrs: PcrSelection,
    /// The signer's [`PolicyKey::fingerprint`] ("pkfp").
    pub key: [u8; 32],
    /// The digest of a policy that is TPM2_PolicyPCR alone ("pol").
    pub policy: [u8; 32],
    /// RSASSA-PKCS1-v1_5 or DER ECDSA ("sig"); see [`PolicyKey::verify`].
    pub signature: Vec<u8>,
    /// The PCRs' values, where the file has them ("values", which `holdfastd pcr sign` adds to systemd's members)
    /// and they are those of the policy. To tell what differs, and for nothing else.
    pub values: Option<PcrValues>,
}

/// Where signed policies are looked for.
#[derive(Debug, Default)]
pub struct SignedPolicies {
    paths: Vec<PathBuf>,
    read: Mutex<HashMap<PathBuf, Known>>,
}

/// A file that was read.
#[derive(Debug)]
struct Known {
    as_of: Stamp,
    content: Result<Vec<Entry>, String>,
}

#[derive(Debug)]
struct Entry {
    policy: SignedPolicy,
    /// What its signer's key makes of it, once that was asked. The fingerprint says which key.
    verdict: Option<Verdict>,
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Genuine,
    /// The signer's, but over SHA-384, which no TPM takes. systemd-measure 252 signs so what is of the bank sha384,
    /// and writes it into each file unless it is asked for sha256 alone.
    Useless,
    Forged,
}

/// What changes when a file does: device, inode, length, and the times of content and inode in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, u64, [i64; 4]);

impl SignedPolicies {
    /// Files, and directories whose `*.json` files are read in the order of their names, without the directories
    /// in them. Nothing is read yet.
    pub fn new(paths: Vec<PathBuf>) -> SignedPolicies {
        SignedPolicies { paths, read: Mutex::default() }
    }

    /// What the signer has approved so far, and a line for each file or directory that could not be used, or not
    /// wholly.
    pub fn read_for(&self, key: &PolicyKey) -> (Vec<SignedPolicy>, Vec<String>) {
        let mut policies = Vec::new();
        let mut faults = Vec::new();
        let files = files(&self.paths, &mut faults);
        // Nothing lies in the mutex that a panic could have left half done.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|path, _| files.iter().any(|(file, _)| file == path));
        let fingerprint = key.fingerprint();
        for (path, about) in files {
            let as_of = Stamp::of(&about);
            let known = match read.remove(&path).filter(|known| known.as_of == as_of) {
                Some(known) => known,
                None => Known { as_of, content: entries(&path) },
            };
            let known = read.entry(path.clone()).insert_entry(known).into_mut();
            let name = path.display();
            match &mut known.content {
                Ok(entries) => {
                    let [mut genuine, mut useless, mut forged] = [0; 3];
                    for entry in entries.iter_mut().filter(|entry| entry.policy.key == fingerprint) {
                        match entry.verdict(key) {
                            Verdict::Genuine => genuine += 1,
                            Verdict::Useless => useless += 1,
                            Verdict::Forged => forged += 1,
                        }
                        if matches!(entry.verdict, Some(Verdict::Genuine)) {
                            policies.push(entry.policy.clone());
                        }
                        if policies.len() > MAX_POLICIES {
                            policies.pop();
                            faults.push(format!("{name}: with it, there are more than {MAX_POLICIES} policies of one signer; those beyond are left out: remove those of old kernels"));
                            return (policies, faults);
                        }
                    }
                    if useless > 0 && genuine == 0 {
                        faults.push(format!("{name}: its policies are signed over SHA-384, which no TPM takes, as old systemd-measure does for --bank=sha384; sign them with holdfastd pcr sign"));
                    }
                    if forged > 0 {
                        faults.push(format!(
                            "{name}: policies that say they are signed by {key} are not, and are left out: {forged}"
                        ));
                    }
                }
                Err(why) => faults.push(format!("{name}: {why}")),
            }
        }
        (policies, faults)
    }
}

/// The files that are there now.
fn files(paths: &[PathBuf], faults: &mut Vec<String>) -> Vec<(PathBuf, Metadata)> {
    let mut files = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => match json_files(path) {
                Ok(mut names) => {
                    if names.len() > MAX_FILES {
                        faults.push(format!("{}: more than {MAX_FILES} files; the last of them are left out: remove those of old kernels", path.display()));
                        names.truncate(MAX_FILES);
                    }
                    // One that is gone meanwhile is none.
                    files.extend(names.into_iter().filter_map(|file| {
                        let about = fs::metadata(&file).ok()?;
                        Some((file, about))
                    }));
                }
                Err(error) => faults.push(format!("{}: {error}", path.display())),
            },
            Ok(about) => files.push((path.clone(), about)),
            Err(error) => faults.push(format!("{}: {error}", path.display())),
        }
    }
    files
}

fn json_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

fn entries(path: &Path) -> Result<Vec<Entry>, String> {
    let file = RegularFile::read(path, MAX_LEN).map_err(|error| error.to_string())?;
    let policies = parse(file.bytes.expose())?;
    Ok(policies.into_iter().map(|policy| Entry { policy, verdict: None }).collect())
}

impl Entry {
    fn verdict(&mut self, key: &PolicyKey) -> Verdict {
        let SignedPolicy { policy, signature, .. } = &self.policy;
        *self.verdict.get_or_insert_with(|| {
            if key.verify(policy, signature) {
                Verdict::Genuine
            } else if key.verify_sha384(policy, signature) {
                Verdict::Useless
            } else {
                Verdict::Forged
            }
        })
    }
}

impl Stamp {
    fn of(about: &Metadata) -> Stamp {
        let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
        Stamp(about.dev(), about.ino(), about.len(), times)
    }
}

#[cfg(test)]
mod tests;
