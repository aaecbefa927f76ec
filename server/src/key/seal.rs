//! `holdfastd key seal`: a key that exists outside, sealed to the TPMs of many machines at once, on a machine
//! that may have none.
//!
//! Who holds a storage key has what is sealed to it. So the storage keys are compared with the pinned ones
//! before the private key is even read, and there is no way around the list.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use holdfast_custody::{Binding, RegularFile};
use holdfast_tpm::{PolicyKey, StorageKey};

use super::file;
use super::pinned::Pinned;
use crate::check::printable;

/// Bytes of a storage key's public half: many times what any has.
const MAX_LEN: usize = 64 * 1024;

/// What is asked for.
pub struct Request<'a> {
    /// The private key.
    pub key: &'a Path,
    /// Public halves of storage keys.
    pub to: &'a [PathBuf],
    /// The list of pinned ones.
    pub names: &'a Path,
    /// Where the sealed keys go.
    pub dir: &'a Path,
    /// The state that the key is bound to.
    pub bound: Option<&'a Binding>,
}

/// A storage key, and the file that is made for it.
struct Recipient {
    storage_key: StorageKey,
    label: String,
    file: PathBuf,
}

/// Seals, and says what was made, for a terminal. All files are there afterwards, or none.
pub fn seal(request: &Request<'_>) -> Result<String, String> {
    let recipients = recipients(request)?;
    let key = file::read(request.key).map_err(|why| format!("{}: {why}", request.key.display()))?;
    let mut sealed = Vec::new();
    for recipient in &recipients {
        let failed = |why: String| format!("{}: {why}", recipient.file.display());
        let file = holdfast_tpm::seal(&key, &recipient.storage_key, request.bound)
            .map_err(|error| format!("{}: {error}", request.key.display()))?;
        sealed.push((&recipient.file, file.to_pem().map_err(|error| failed(error.to_string()))?));
    }
    write(request.dir, &sealed)?;

    let bound = match request.bound {
        None => "nothing".to_owned(),
        Some(Binding::Exact(values)) => format!("{}, exact values", values.selection()),
        Some(Binding::Signed(key)) => {
            PolicyKey::new(key.clone()).map(|key| format!("PCR policies signed by {key}"))?
        }
        Some(_) => "a state".to_owned(),
    };
    let kid = holdfast_envelope::jwk::thumbprint(key.public());
    let mut report = format!("sealed: {}, kid {kid}, bound to {bound}\n", key.public().type_name());
    for Recipient { storage_key, label, file } in &recipients {
        let line = format!("  {} for {} {label}", file.display(), storage_key.name());
        let _ = writeln!(report, "{}", printable(line.trim_end()));
    }
    report.push_str("\nWhoever has such a file and its TPM has the key, whatever it is bound to: it travels as a secret does.\n");
    report.push_str("On each machine, with its own file, which is destroyed after it:\n");
    report.push_str("  holdfastd key import tpm:file=/var/lib/holdfast/images.tss --from FILE\n");
    Ok(report)
}

/// Every storage key, each of them pinned, each with a file of its own that is not there yet.
fn recipients(request: &Request<'_>) -> Result<Vec<Recipient>, String> {
    let pinned = Pinned::read(request.names)?;
    let mut recipients = Vec::new();
    let mut names = BTreeMap::new();
    let mut files = BTreeMap::new();
    for path in request.to {
        let failed = |why: String| format!("{}: {why}", path.display());
        let structure = RegularFile::read(path, MAX_LEN).map_err(|error| failed(error.to_string()))?;
        let storage_key =
            StorageKey::from_bytes(structure.bytes.expose()).map_err(|why| failed(why.into()))?;
        let name = storage_key.name();
        let Some(label) = pinned.label(name) else {
            return Err(failed(format!(
                "its storage key, {name}, is not pinned in {}: whoever holds it would have the key; add the Name if holdfastd key storage-key prints it on that very machine",
                request.names.display()
            )));
        };
        if let Some(other) = names.insert(name, path) {
            return Err(failed(format!("the same storage key as in {}: {name}", other.display())));
        }
        let file = request.dir.join(output_name(path).ok_or_else(|| failed("has no name".into()))?);
        if let Some(other) = files.insert(file.clone(), path) {
            return Err(failed(format!(
                "its sealed key would be {}, as that of {}: rename one of them",
                file.display(),
                other.display()
            )));
        }
        if fs::symlink_metadata(&file).is_ok() {
            return Err(taken(&file));
        }
        recipients.push(Recipient { storage_key, label: label.to_owned(), file });
    }
    Ok(recipients)
}

/// node-a.example.com.tss of node-a.example.com.srk.pub
fn output_name(path: &Path) -> Option<PathBuf> {
    let stem = Path::new(path.file_stem()?);
    let stem =
        if stem.extension().is_some_and(|end| end == "srk") { stem.file_stem()? } else { stem.as_os_str() };
    let mut name = stem.to_owned();
    name.push(".tss");
    Some(name.into())
}

/// Writes all files, each of mode 0600, or leaves none.
fn write(dir: &Path, sealed: &[(&PathBuf, String)]) -> Result<(), String> {
    let failed = |path: &Path, error: io::Error| format!("{}: {error}; no key was sealed", path.display());
    let made = match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Some(dir),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => None,
        Err(error) => return Err(failed(dir, error)),
    };
    let mut written = Written { dir: made, files: Vec::new() };
    for (path, pem) in sealed {
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = open.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => taken(path),
            _ => failed(path, error),
        })?;
        written.files.push(path);
        file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(path, error))?;
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| failed(dir, error))?;
    // They stay.
    written.files.clear();
    written.dir = None;
    Ok(())
}

/// What was written so far, and is removed again unless all of it was.
struct Written<'a> {
    dir: Option<&'a Path>,
    files: Vec<&'a Path>,
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        if let Some(dir) = self.dir {
            let _ = fs::remove_dir(dir);
        }
    }
}

fn taken(path: &Path) -> String {
    format!("{}: there is a file of this name, which is never overwritten; no key was sealed", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_named_after_its_machine() {
        for (public, sealed) in [
            ("/keys/node-a.srk.pub", "node-a.tss"),
            ("node-a.example.com.srk.pub", "node-a.example.com.tss"),
            ("node-a.pub", "node-a.tss"),
            ("tpm2-srk-public-key.tpm2b_public", "tpm2-srk-public-key.tss"),
            ("node-a", "node-a.tss"),
        ] {
            assert_eq!(output_name(Path::new(public)), Some(sealed.into()), "{public}");
        }
        assert_eq!(output_name(Path::new("/")), None);
    }

    #[test]
    fn files_are_written_all_or_none_and_for_their_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("sealed");
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.join(name));
        let sealed = [(&a, "of a".to_owned()), (&b, "of b".to_owned()), (&c, "of c".to_owned())];
        write(&dir, &sealed[..2]).unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"of b");
        assert_eq!(fs::metadata(&a).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let [c_alone, taken] = [&sealed[2], &sealed[0]];
        let why = write(&dir, &[c_alone.clone(), taken.clone()]).unwrap_err();
        assert!(why.contains("never overwritten"), "{why}");
        assert!(!c.exists() && fs::read(&a).unwrap() == b"of a");
        // A directory that was made for nothing goes too.
        let other = scratch.path().join("other");
        let elsewhere = scratch.path().join("none/a");
        let first = other.join("first");
        write(&other, &[(&first, String::new()), (&elsewhere, String::new())]).unwrap_err();
        assert!(!other.exists());
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(write(&file, &[]).unwrap_err().contains("File exists"));
    }
}
