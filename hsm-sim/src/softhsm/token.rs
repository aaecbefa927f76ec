use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use zeroize::Zeroizing;

use super::SoftHsm;
use crate::{Error, program};

/// How pkcs11-tool gets the PIN: a command line can be read by every user of the machine.
const PIN_VARIABLE: &str = "HSM_SIM_TOOL_PIN";

/// An initialised token of a [`SoftHsm`], with its user PIN. Our copy of that is wiped; those in the
/// arguments and environment of the tools are not, and open nothing once the directory is gone.
pub struct Token {
    label: String,
    serial: String,
    slot: String,
    pin: Zeroizing<String>,
    pin_file: PathBuf,
}

impl Token {
    /// CKA_LABEL of the token. Another token of the same SoftHSM may have it too.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The serial number that SoftHSM gave it: 16 hex digits, unlike any other token's.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The user PIN: 8 random digits.
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// A file of mode 0600 that holds the user PIN and nothing else, no newline either.
    pub fn pin_file(&self) -> &Path {
        &self.pin_file
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("label", &self.label)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl SoftHsm {
    /// Makes a token with a random PIN, and looks whether it is there. `label`: 1 to 32 bytes.
    /// Two tokens may have the same one.
    pub fn init_token(&self, label: &str) -> Result<Token, Error> {
        let fits =
            (1..=32).contains(&label.len()) && label.trim() == label && !label.chars().any(char::is_control);
        if !fits {
            return Err(Error::Invalid(format!(
                "{label:?} is no label for a token: use 1 to 32 bytes, without control characters and outer spaces"
            )));
        }
        let pin = random_digits()?;
        let so_pin = random_digits()?;
        let mut init = program::command("softhsm2-util", "softhsm2")?;
        // softhsm2-util takes PINs from its command line or a terminal only. These open nothing for
        // who reads them there: the tokens are in a directory of mode 0700.
        init.args(["--init-token", "--free"])
            .arg(format!("--label={label}"))
            .arg(format!("--pin={}", *pin))
            .arg(format!("--so-pin={}", *so_pin))
            .arg(format!("--module={}", self.module().display()))
            .envs(self.env());
        let said = program::run(init, "softhsm2-util --init-token")?;
        let slot = last_number(&said).ok_or_else(|| {
            Error::Unexpected("softhsm2-util did not say in which slot the token is".into())
        })?;
        let serial = self.serial_in(&slot, label)?;
        let pin_file = self.dir().join("pins").join(&serial);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&pin_file)
            .and_then(|mut file| file.write_all(pin.as_bytes()))
            .map_err(Error::io("writing", &pin_file))?;
        Ok(Token { label: label.to_owned(), serial, slot, pin, pin_file })
    }

    /// pkcs11-tool, on this token and logged in.
    pub(super) fn pkcs11_tool(&self, token: &Token) -> Result<Command, Error> {
        let mut command = self.pkcs11_tool_without_token()?;
        // The slot, since labels may be shared. SoftHSM makes it from the serial number, so it stays.
        command
            .args(["--slot", &token.slot, "--login", "--pin"])
            .arg(format!("env:{PIN_VARIABLE}"))
            .env(PIN_VARIABLE, token.pin());
        Ok(command)
    }

    fn pkcs11_tool_without_token(&self) -> Result<Command, Error> {
        let mut command = program::command("pkcs11-tool", "opensc")?;
        command.arg("--module").arg(self.module()).envs(self.env());
        Ok(command)
    }

    /// The probe: another program, that loads the module anew, finds the token in its slot.
    fn serial_in(&self, slot: &str, label: &str) -> Result<String, Error> {
        let mut list = self.pkcs11_tool_without_token()?;
        list.arg("--list-token-slots");
        let listing = program::run(list, "pkcs11-tool --list-token-slots")?;
        find_serial(&String::from_utf8_lossy(&listing), slot, label).ok_or_else(|| {
            Error::Unexpected(format!(
                "token {label} was made, but pkcs11-tool does not find it: see whether softhsm2-util and {} belong together",
                self.module().display()
            ))
        })
    }
}

/// The slot whose heading ends in `ID 0x…`, if its token has that label.
fn find_serial(listing: &str, slot: &str, label: &str) -> Option<String> {
    let heading = format!("(0x{:x}):", slot.parse::<u64>().ok()?);
    let mut lines = listing
        .lines()
        .skip_while(|line| !line.contains(&heading))
        .skip(1)
        .take_while(|line| line.starts_with(' '));
    let mut field = |name: &str| {
        lines
            .by_ref()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    field("token label").filter(|found| found == label)?;
    field("serial num").filter(|serial| serial.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn last_number(text: &[u8]) -> Option<String> {
    String::from_utf8_lossy(text)
        .split_whitespace()
        .last()
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
}

/// 8 digits. Their slight bias (256 is no multiple of 10) does not matter: nobody may guess over and
/// over, and the token is a simulated one.
fn random_digits() -> Result<Zeroizing<String>, Error> {
    let path = Path::new("/dev/urandom");
    let mut bytes = Zeroizing::new([0; 8]);
    File::open(path).and_then(|mut file| file.read_exact(&mut *bytes)).map_err(Error::io("reading", path))?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| char::from(b'0' + byte % 10)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "Available slots:
Slot 0 (0x10): SoftHSM slot ID 0x10
  token label        : other
  serial num         : aaaa000000000010
  pin min/max        : 4/255
Slot 1 (0x4900c030): SoftHSM slot ID 0x4900c030
  token label        : prod
  token flags        : login required, rng
  serial num         : cb5d034e4900c030
  pin min/max        : 4/255
Slot 2 (0x2): SoftHSM slot ID 0x2
  token state:   uninitialized
";

    #[test]
    fn a_token_is_found_by_its_slot_and_its_label() {
        let find = |slot, label| find_serial(LISTING, slot, label);
        assert_eq!(find("1224785968", "prod").as_deref(), Some("cb5d034e4900c030"));
        assert_eq!(find("1224785968", "other"), None);
        assert_eq!(find("2", "prod"), None);
        assert_eq!(find("16", "other").as_deref(), Some("aaaa000000000010"));
    }

    #[test]
    fn the_slot_is_the_last_word_of_softhsm2_util() {
        let said = b"Slot 0 has a free/uninitialized token.\nThe token has been initialized and is reassigned to slot 1224785968\n";
        assert_eq!(last_number(said).as_deref(), Some("1224785968"));
        assert_eq!(last_number(b"ERROR: no slot"), None);
    }
}
