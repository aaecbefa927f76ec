//! The layer as a file. containerd has the blob open while its stream processor runs, complete and checked
//! against its digest; so it is found among the files of the process that started this one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use holdfast_image::Digest;

/// Bytes of the stream that a file must begin with to be taken for the same.
pub(crate) const PREFIX_LEN: usize = 4096;
/// Processes between containerd and this one that are looked through: shells that start a decoder.
const MAX_PARENTS: usize = 3;
/// Files of a process that are looked at.
const MAX_FILES: usize = 65_536;

/// A file in a content store.
pub(crate) struct Blob {
    pub(crate) file: File,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// The directory `blobs/sha256` that it lies in.
    pub(crate) directory: PathBuf,
}

/// Every blob that the process which started this one has open and that begins as the stream does: one, or
/// several when images are pulled side by side.
pub(crate) fn find(prefix: &[u8]) -> Vec<Blob> {
    let mut pid = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    for _ in 0..MAX_PARENTS {
        let Some(parent) = pid.filter(|pid| *pid > 0) else { break };
        let files = PathBuf::from(format!("/proc/{parent}/fd"));
        let (mut seen, mut found) = (false, Vec::new());
        for entry in fs::read_dir(&files).into_iter().flatten().flatten().take(MAX_FILES) {
            let Some((directory, digest)) = fs::read_link(entry.path()).ok().and_then(|path| named(&path))
            else {
                continue;
            };
            seen = true;
            found.extend(open(&entry.path(), directory, digest, prefix));
        }
        if seen {
            found.sort_by(|a, b| a.digest.cmp(&b.digest));
            found.dedup_by(|a, b| a.digest == b.digest && a.directory == b.directory);
            return found;
        }
        pid = parent_of(parent);
    }
    Vec::new()
}

/// `DIRECTORY/blobs/sha256/HEX`
pub(crate) fn named(path: &Path) -> Option<(PathBuf, Digest)> {
    let directory = path.parent().filter(|parent| parent.ends_with("blobs/sha256"))?;
    let digest = format!("sha256:{}", path.file_name()?.to_str()?).parse().ok()?;
    Some((directory.to_owned(), digest))
}

/// Opened anew, so that its position is ours.
fn open(path: &Path, directory: PathBuf, digest: Digest, prefix: &[u8]) -> Option<Blob> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let mut head = vec![0; prefix.len()];
    file.read_exact_at(&mut head, 0).ok()?;
    // A stream that ended within the prefix is all there is of the blob.
    let whole = prefix.len() == PREFIX_LEN || size == prefix.len() as u64;
    (whole && head == prefix).then_some(Blob { file, digest, size, directory })
}

/// The fourth field of /proc/PID/stat; the second may hold anything between its parentheses (proc(5)).
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}
