//! Where a PIN comes from.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use holdfast_custody::{Error, RegularFile};
use holdfast_wire::Secret;

/// Where a token's user PIN is read, at each login and not before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinSource {
    /// A file that holds the PIN and nothing else, but for one newline at its end. A systemd credential
    /// is such a file too.
    File(PathBuf),
}

/// Bytes; the longest PIN of any token that says how long its PINs are is 255.
const MAX_LEN: usize = 256;

impl PinSource {
    /// Where it is, for an operator.
    pub(crate) fn path(&self) -> &Path {
        let PinSource::File(path) = self;
        path
    }

    /// Reads it. What is missing, empty or too long is an error: never a login with an empty PIN.
    pub(crate) fn read(&self) -> Result<Secret, Error> {
        let path = self.path();
        let refused = |why: String| {
            Error::Unavailable(format!(
                "the PIN file {}: {why}; the token cannot be used without it",
                path.display()
            ))
        };
        let file = RegularFile::read(path, MAX_LEN + 2).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => refused(too_long()),
            _ => refused(error.to_string()),
        })?;
        // A group may read it (root:holdfast 0640 is the usual way); everybody is a mistake.
        if file.mode & 0o007 != 0 {
            tracing::warn!(file = %path.display(), "every user of this machine may read the PIN file: chmod o-rwx");
        }
        let mut text = file.bytes;
        let pin = text.expose();
        let pin = pin.strip_suffix(b"\n").unwrap_or(pin);
        let pin = pin.strip_suffix(b"\r").unwrap_or(pin);
        if pin.is_empty() {
            return Err(refused("is empty".into()));
        }
        if pin.len() > MAX_LEN {
            return Err(refused(too_long()));
        }
        if pin.len() < text.len() {
            text = Secret::copy_of(pin);
        }
        Ok(text)
    }
}

fn too_long() -> String {
    format!("has more than {MAX_LEN} bytes, which no PIN has")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(content: &[u8]) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        fs::write(&path, content).unwrap();
        let pin = PinSource::File(path).read();
        pin.map(|pin| pin.expose().to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn one_newline_at_the_end_is_not_the_pins() {
        assert_eq!(read(b"1234").unwrap(), b"1234");
        assert_eq!(read(b"1234\n").unwrap(), b"1234");
        assert_eq!(read(b"1234\r\n").unwrap(), b"1234");
        assert_eq!(read(b"1234\n\n").unwrap(), b"1234\n");
        assert_eq!(read(b" 12 34 ").unwrap(), b" 12 34 ");
        assert_eq!(read(&[b'1'; MAX_LEN]).unwrap().len(), MAX_LEN);
    }

    #[test]
    fn an_empty_pin_is_never_tried() {
        for content in [&b""[..], b"\n", b"\r\n"] {
            assert!(read(content).unwrap_err().contains("is empty"));
        }
    }

    #[test]
    fn what_cannot_be_a_pin_is_told_and_not_quoted() {
        let error = read(&[b'7'; MAX_LEN + 1]).unwrap_err();
        assert!(error.contains("more than 256 bytes") && !error.contains("777"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let missing = PinSource::File(dir.path().join("pin")).read().unwrap_err().to_string();
        assert!(missing.contains("No such file") && missing.contains("/pin:"), "{missing}");
        let directory = PinSource::File(dir.path().into()).read().unwrap_err().to_string();
        assert!(directory.contains("is not a file"), "{directory}");
    }
}
