//! Adding a signed policy to a file, which may be in use at the time.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use holdfast_custody::RegularFile;

use super::{MAX_LEN, SignedPolicy, merge};

/// The mode of a new file: nothing in it is secret.
const MODE: u32 = 0o644;

impl SignedPolicy {
    /// Adds the policy to a file, which is made if it is not there. The new content appears whole or not at all;
    /// a file that is there and holds something else is left as it is. The error does not name the file.
    pub fn add_to(&self, path: &Path) -> Result<(), String> {
        let said = |error: io::Error| error.to_string();
        let before = match RegularFile::read(path, MAX_LEN) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => Some(read.map_err(said)?),
        };
        let after = merge(before.as_ref().map_or(&[], |file| file.bytes.expose()), self)?;
        if after.len() > MAX_LEN {
            return Err("would have more than 1 MiB; remove the policies of old kernels".into());
        }
        let mode = before.map_or(MODE, |file| file.mode & 0o777);
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut temporary = tempfile::NamedTempFile::new_in(dir).map_err(said)?;
        temporary.write_all(after.as_bytes()).map_err(said)?;
        temporary.as_file().set_permissions(Permissions::from_mode(mode)).map_err(said)?;
        temporary.as_file().sync_all().map_err(said)?;
        temporary.persist(path).map(drop).map_err(|error| said(error.error))
    }
}
