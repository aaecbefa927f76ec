//! Programs of the node: where they are, and what they can do by what their files hold.
//!
//! Distributions build and number the same release in their own ways; the text that a program needs in
//! order to do something is in its file wherever it was built. Nothing of another root is ever started.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use holdfast_image::printable;

use crate::failure::Failure;
use crate::root::Root;

/// Where systemd looks, and most shells.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The gRPC service of key providers, which ocicrypt 1.1 brought.
const PROVIDERS: &[u8] = b"keyprovider.KeyProviderService";
/// The option of a provider that ocicrypt 1.3 brought; older ones read past it.
const TLS: &[u8] = b"grpc-tls";
/// containerd 2's own packages.
const TWO: &[u8] = b"github.com/containerd/containerd/v2";
/// The option for what was the only way of pulling before containerd 2.1.
const TRANSFERS: &[u8] = b"use_local_image_pull";

/// Read at a time.
const BLOCK_LEN: usize = 1 << 20;

/// A file that is there.
pub(super) struct Program {
    /// As the node has it.
    pub(super) path: PathBuf,
    place: PathBuf,
    pub(super) executable: bool,
}

/// What a program's file shows.
#[derive(Default, Clone, Copy)]
pub(super) struct Features {
    /// It asks key providers.
    pub(super) providers: bool,
    /// It speaks TLS to them.
    pub(super) tls: bool,
    /// It is containerd 2.
    pub(super) two: bool,
    /// It is containerd 2.1 or later, which pulls through its transfer service unless told otherwise.
    pub(super) transfers: bool,
}

/// A program by its path, or by its name in a list of directories.
pub(super) fn find(root: &Root, name: &str, path: &str) -> Option<Program> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![Path::new("/").join(name)]
    } else {
        path.split(':')
            .filter(|directory| directory.starts_with('/'))
            .map(|at| Path::new(at).join(name))
            .collect()
    };
    let found = candidates.into_iter().filter_map(|path| {
        let place = root.place(&path).ok()?;
        let metadata = place.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Program { path, place, executable: metadata.permissions().mode() & 0o111 != 0 })
    });
    let mut found: Vec<Program> = found.collect();
    // A search passes over what cannot be executed, as execvp(3) does.
    let at = found.iter().position(|program| program.executable).unwrap_or(0);
    (at < found.len()).then(|| found.swap_remove(at))
}

impl Program {
    pub(super) fn features(&self) -> Result<Features, Failure> {
        let [providers, tls, two, transfers] =
            holds(&self.place, [PROVIDERS, TLS, TWO, TRANSFERS]).map_err(|error| {
                let path = printable(&self.path.to_string_lossy());
                Failure::line(format!("{path} cannot be read: {error}; run this as one who may"))
            })?;
        Ok(Features { providers, tls, two, transfers })
    }
}

/// Whether a file holds each of these, which are short.
fn holds<const N: usize>(file: &Path, wanted: [&[u8]; N]) -> io::Result<[bool; N]> {
    let mut open = File::open(file)?;
    let keep = wanted.iter().map(|one| one.len()).max().unwrap_or(1) - 1;
    let mut found = [false; N];
    let mut block = Vec::with_capacity(BLOCK_LEN + keep);
    while found.contains(&false) {
        // The end of the last block stays, for what lies across.
        block.drain(..block.len().saturating_sub(keep));
        if (&mut open).take(BLOCK_LEN as u64).read_to_end(&mut block)? == 0 {
            break;
        }
        for (found, wanted) in found.iter_mut().zip(wanted) {
            *found = *found || contains(&block, wanted);
        }
    }
    Ok(found)
}

/// Looks at every n-th byte alone, n the length of what is wanted: one of them lies in it (Horspool).
fn contains(block: &[u8], wanted: &[u8]) -> bool {
    let len = wanted.len();
    let mut skip = [len; 256];
    for (at, byte) in wanted.iter().enumerate().take(len.saturating_sub(1)) {
        skip[usize::from(*byte)] = len - 1 - at;
    }
    let mut end = len;
    while end <= block.len() {
        if &block[end - len..end] == wanted {
            return true;
        }
        end += skip[usize::from(block[end - 1])];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_across_two_blocks_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = vec![b'g'; BLOCK_LEN - 4];
        bytes.extend(TLS);
        bytes.extend(b"grpc-tl");
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(holds(file.path(), [TLS, TWO]).unwrap(), [true, false]);
        assert_eq!(holds(file.path(), [TLS, b"tlsgrpc-tl"]).unwrap(), [true, true]);
        std::fs::write(&file, b"").unwrap();
        assert_eq!(holds(file.path(), [TLS]).unwrap(), [false]);
    }
}
