use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use holdfast_wire::Secret;
use rustix::fs::OFlags;

/// A regular file, read whole: a PIN, a private key, a key file.
#[derive(Debug)]
pub struct RegularFile {
    /// What stands in it. It may be secret, and is wiped.
    pub bytes: Secret,
    /// Its permission bits.
    pub mode: u32,
}

impl RegularFile {
    /// Reads at most `max_len` bytes; a longer file is [`ErrorKind::FileTooLarge`]. Never waits: what is
    /// opened is looked at, and not what had the name a moment before, so that nobody can lay a FIFO there in
    /// between.
    pub fn read(path: &Path, max_len: usize) -> io::Result<RegularFile> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "is not a file"));
        }
        let too_large = || io::Error::new(ErrorKind::FileTooLarge, format!("has more than {max_len} bytes"));
        let len = usize::try_from(about.len()).ok().filter(|len| *len <= max_len).ok_or_else(too_large)?;
        // Large enough from the start: growing would leave copies behind.
        let mut bytes = Vec::with_capacity(len + 2);
        let read = file.take(max_len as u64 + 1).read_to_end(&mut bytes);
        let bytes = Secret::new(bytes);
        read?;
        if bytes.len() > max_len {
            return Err(too_large());
        }
        Ok(RegularFile { bytes, mode: about.mode() & 0o7777 })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_read_whole_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        fs::write(&path, b"1234").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let file = RegularFile::read(&path, 4).unwrap();
        assert_eq!((file.bytes.expose(), file.mode), (&b"1234"[..], 0o640));
    }

    #[test]
    fn a_fifo_is_refused_without_waiting_for_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let error = RegularFile::read(&path, 10).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidInput, "is not a file"));
    }

    #[test]
    fn what_is_no_file_or_too_large_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        fs::write(&path, [0; 11]).unwrap();
        let error = RegularFile::read(&path, 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "has more than 10 bytes");
        assert_eq!(RegularFile::read(dir.path(), 10).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(RegularFile::read(&dir.path().join("none"), 10).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
