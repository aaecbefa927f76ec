//! Files that appear whole.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The file appears with all of its content or not at all. One that is replaced keeps its mode; a new
/// one is public (0644).
pub(crate) fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let permissions = match file.metadata() {
        Ok(there) => there.permissions(),
        Err(_) => Permissions::from_mode(0o644),
    };
    let mut new = tempfile::Builder::new().prefix(".holdfast-").tempfile_in(directory)?;
    new.write_all(bytes)?;
    // Not at its making, where the umask would take bits away.
    new.as_file().set_permissions(permissions)?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}
