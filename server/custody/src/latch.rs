use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::{fs, io};

use aws_lc_rs::pbkdf2;
use holdfast_wire::Secret;
use serde::{Deserialize, Serialize};

/// Remembers, across restarts, that a token refused a PIN, so that the same PIN is not tried again.
///
/// Four workers with one wrong PIN, or a service manager that restarts the daemon, lock an HSM for good.
/// A file in the state directory says which PIN was refused: salted and stretched (PBKDF2), because the
/// file's times cannot serve (a service manager makes credential files anew at every start), and because
/// a plain hash of six digits is the six digits. The latch opens when the PIN's content changes, or when
/// an operator removes the file ([`PinLatch::clear`]).
#[derive(Debug, Clone)]
pub struct PinLatch {
    file: PathBuf,
}

/// OWASP's figure for PBKDF2-HMAC-SHA-256. All PINs of eight digits then take more than a year of one
/// core against a stolen latch; whoever may read the latch may usually read the PIN's file too.
const ITERATIONS: u32 = 600_000;
const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;

#[derive(Serialize, Deserialize)]
struct Latched {
    /// A line for whoever opens the file.
    what: String,
    iterations: u32,
    salt: Vec<u8>,
    refused: Vec<u8>,
}

impl PinLatch {
    /// The latch of the token that has this name; the file lies in `dir` and exists only while latched.
    pub fn new(dir: &Path, token: &str) -> PinLatch {
        let name: String = token
            .bytes()
            .map(|byte| match byte {
                b if b.is_ascii_alphanumeric() || b == b'-' => char::from(b).to_string(),
                b => format!("_{b:02x}"),
            })
            .collect();
        PinLatch { file: dir.join(format!("{name}.pin-refused")) }
    }

    /// Where the latch is kept: what an operator removes to have the PIN tried again.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether this PIN was refused before. A latch that cannot be read counts as latched.
    pub fn is_latched(&self, pin: &Secret) -> io::Result<bool> {
        let text = match fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let Ok(latched) = serde_json::from_slice::<Latched>(&text) else {
            return Ok(true);
        };
        let Some(iterations) = NonZeroU32::new(latched.iterations.min(10 * ITERATIONS)) else {
            return Ok(true);
        };
        let same = pbkdf2::verify(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            &latched.salt,
            pin.expose(),
            &latched.refused,
        );
        Ok(same.is_ok())
    }

    /// Whether a refusal could be remembered. Asked before a PIN is tried: one that cannot be latched
    /// must not be tried either.
    pub fn check_writable(&self) -> io::Result<()> {
        tempfile::NamedTempFile::new_in(self.dir()).map(drop)
    }

    /// Remembers that this PIN was refused; on disk when it returns.
    pub fn latch(&self, pin: &Secret) -> io::Result<()> {
        let mut latched = Latched {
            what: "holdfastd: this token refused its PIN; it is not tried again until the PIN changes or this file is removed".into(),
            iterations: ITERATIONS,
            salt: vec![0; SALT_LEN],
            refused: vec![0; HASH_LEN],
        };
        aws_lc_rs::rand::fill(&mut latched.salt).map_err(|_| io::Error::other("no random numbers"))?;
        let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            &latched.salt,
            pin.expose(),
            &mut latched.refused,
        );
        let mut file = tempfile::NamedTempFile::new_in(self.dir())?;
        serde_json::to_writer(&mut file, &latched)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.file)?;
        fs::File::open(self.dir())?.sync_all()
    }

    fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// Forgets it: the PIN was accepted, or an operator asks for another try.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(text: &str) -> Secret {
        Secret::copy_of(text.as_bytes())
    }

    #[test]
    fn a_refused_pin_stays_refused_in_the_next_process_and_another_does_not() {
        let dir = tempfile::tempdir().unwrap();
        PinLatch::new(dir.path(), "pkcs11:token=a").latch(&pin("123456")).unwrap();
        let after_restart = PinLatch::new(dir.path(), "pkcs11:token=a");
        assert!(after_restart.is_latched(&pin("123456")).unwrap());
        assert!(!after_restart.is_latched(&pin("654321")).unwrap());
        assert!(!PinLatch::new(dir.path(), "pkcs11:token=b").is_latched(&pin("123456")).unwrap());
        after_restart.clear().unwrap();
        assert!(!after_restart.is_latched(&pin("123456")).unwrap());
    }

    #[test]
    fn the_file_holds_no_pin_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let latch = PinLatch::new(dir.path(), "t");
        latch.latch(&pin("31415926")).unwrap();
        let text = fs::read_to_string(latch.file()).unwrap();
        assert!(!text.contains("31415926"), "{text}");
        assert_eq!(fs::metadata(latch.file()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_latch_stays_shut() {
        let dir = tempfile::tempdir().unwrap();
        let latch = PinLatch::new(dir.path(), "t");
        fs::write(latch.file(), "{").unwrap();
        assert!(latch.is_latched(&pin("1")).unwrap());
    }
}
