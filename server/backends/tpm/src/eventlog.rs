//! The firmware's event log: what was measured into which PCR while the machine booted (TCG PC Client Platform
//! Firmware Profile, section 10). It tells why a PCR has its value, and what value it will have when one of the
//! measurements is another.
//!
//! Nobody vouches for the log but the PCRs: what it says holds as far as its replay gives their values. It is
//! therefore used to explain and to predict, and never to decide.
//!
//! The reader is our own, two hundred lines: of the crates that there are, eventlog-rs 0.1 panics on a log that is
//! cut off and takes every EV_NO_ACTION for the header, and uefi-eventlog 0.3 allocates what a length in the log
//! says, up to 4 GiB, and brings OpenSSL; neither has been released for years.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::digest::{Algorithm, Context, SHA256, SHA384};
use holdfast_custody::{PcrBank, PcrSelection, PcrValues, RegularFile};

use holdfast_custody::hex::{from_hex, to_hex};

mod describe;
mod parse;

pub(crate) use describe::clean;

/// Bytes. Logs of real machines have some tens of KiB.
const MAX_LEN: usize = 16 * 1024 * 1024;

/// A log as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    banks: Vec<PcrBank>,
    events: Vec<Event>,
    /// From where TPM2_Startup came, which PCR 0 begins with.
    startup_locality: u8,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log, from 0, as `tpm2_eventlog` counts.
    pub number: usize,
    /// The PCR that was extended.
    pub pcr: u32,
    /// What was measured, as the firmware says.
    pub kind: EventType,
    /// What is of use to a person in the event's data: one printable line of at most 128 characters, or nothing.
    pub description: String,
    sha256: Option<[u8; 32]>,
    sha384: Option<[u8; 48]>,
}

/// EV_… of the profile's section 10.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType(pub u32);

/// Another digest for one event: `4.2=6b86b2…` for the second event of PCR 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The PCR.
    pub pcr: u8,
    /// Which of the events that extend it, from 1.
    pub index: usize,
    /// As long as the digests of the bank that is replayed.
    pub digest: Vec<u8>,
}

impl EventLog {
    /// Where the kernel shows the log of its first TPM, to root.
    pub const PATH: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

    /// Reads a log, if there is one. The error says what is wrong and does not name the file.
    pub fn read(path: &Path) -> Result<Option<EventLog>, String> {
        match RegularFile::read(path, MAX_LEN) {
            Ok(file) => EventLog::parse(file.bytes.expose()).map(Some),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Ok(None),
                ErrorKind::PermissionDenied => {
                    Err(format!("{error}; the kernel shows its event log to root alone"))
                }
                _ => Err(error.to_string()),
            },
        }
    }

    /// Reads a log in either of its forms: with digests of several banks, or the old one, which has SHA-1 alone and
    /// is of no use for what is asked of it here.
    pub fn parse(bytes: &[u8]) -> Result<EventLog, String> {
        parse::log(bytes)
    }

    /// The banks that it has digests of, of those that keys can be bound to.
    pub fn banks(&self) -> &[PcrBank] {
        &self.banks
    }

    /// Everything in it, what extends no PCR included.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The events that extended a PCR, in their order: the first is its event 1.
    pub fn of_pcr(&self, pcr: u8) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.extends() && event.pcr == u32::from(pcr))
    }

    /// The values that these PCRs have when what is in the log, and nothing else, has extended them.
    pub fn replay(&self, pcrs: &PcrSelection) -> Result<PcrValues, String> {
        let bank = pcrs.bank();
        self.check_bank(bank)?;
        let mut values = BTreeMap::new();
        for pcr in pcrs.numbers() {
            let mut value = self.before_boot(pcr, bank);
            for event in self.of_pcr(pcr) {
                let digest = event.digest(bank).ok_or_else(|| {
                    format!("event {} of the log has no {} digest", event.number, bank.name())
                })?;
                value = extended(bank, &value, digest);
            }
            values.insert(pcr, value);
        }
        PcrValues::new(bank, values).ok_or_else(|| "no PCRs".to_owned())
    }

    /// Gives an event another digest: what will be measured at the next boot.
    pub fn replace(&mut self, bank: PcrBank, replacement: &Replacement) -> Result<(), String> {
        let Replacement { pcr, index, digest } = replacement;
        self.check_bank(bank)?;
        let wrong_len = || {
            format!(
                "the digest for event {pcr}.{index} has {} bytes; those of the bank {} have {}",
                digest.len(),
                bank.name(),
                bank.digest_len()
            )
        };
        let count = self.of_pcr(*pcr).count();
        let none = || {
            format!(
                "there is no event {pcr}.{index} to replace: PCR {pcr} has {count} in the log, from {pcr}.1"
            )
        };
        let number =
            index.checked_sub(1).and_then(|skip| self.of_pcr(*pcr).nth(skip)).ok_or_else(none)?.number;
        let event = self.events.get_mut(number).ok_or_else(none)?;
        match bank {
            PcrBank::Sha256 => event.sha256 = Some(digest.as_slice().try_into().map_err(|_| wrong_len())?),
            PcrBank::Sha384 => event.sha384 = Some(digest.as_slice().try_into().map_err(|_| wrong_len())?),
        }
        Ok(())
    }

    fn check_bank(&self, bank: PcrBank) -> Result<(), String> {
        match self.banks.contains(&bank) {
            true => Ok(()),
            false => Err(format!("the event log has no {} digests", bank.name())),
        }
    }

    /// PCRs 17 to 22 begin with ones, and the others with zeros (TCG PC Client Platform TPM Profile, section 4.6), but
    /// for the locality of TPM2_Startup in PCR 0 (TPM 2.0 Library Part 3, section 9.3).
    fn before_boot(&self, pcr: u8, bank: PcrBank) -> Vec<u8> {
        let mut value = vec![if (17..=22).contains(&pcr) { 0xff } else { 0 }; bank.digest_len()];
        if let (0, Some(last)) = (pcr, value.last_mut()) {
            *last = self.startup_locality;
        }
        value
    }
}

impl Event {
    /// Its digest in one bank.
    pub fn digest(&self, bank: PcrBank) -> Option<&[u8]> {
        match bank {
            PcrBank::Sha256 => self.sha256.as_ref().map(<[u8; 32]>::as_slice),
            PcrBank::Sha384 => self.sha384.as_ref().map(<[u8; 48]>::as_slice),
        }
    }

    /// Whether it stands for a measurement, and not for a remark.
    pub fn extends(&self) -> bool {
        self.kind != EventType::NO_ACTION
    }
}

impl FromStr for Replacement {
    type Err = String;

    fn from_str(text: &str) -> Result<Replacement, String> {
        let parsed = || {
            let (event, digest) = text.split_once('=')?;
            let (pcr, index) = event.split_once('.')?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            (digits(pcr) && digits(index)).then_some(())?;
            let pcr = pcr.parse().ok().filter(|pcr| *pcr <= PcrSelection::LAST)?;
            Some(Replacement { pcr, index: index.parse().ok()?, digest: from_hex(digest)? })
        };
        parsed().ok_or_else(|| {
            "an event is replaced as in 4.2=65ca…: the PCR, which of its events (from 1, see pcr show --events), and the new digest in hexadecimal digits".to_owned()
        })
    }
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}={}", self.pcr, self.index, to_hex(&self.digest))
    }
}

/// TPM2_PCR_Extend (TPM 2.0 Library Part 3, section 22.2).
fn extended(bank: PcrBank, value: &[u8], digest: &[u8]) -> Vec<u8> {
    let algorithm: &'static Algorithm = match bank {
        PcrBank::Sha256 => &SHA256,
        PcrBank::Sha384 => &SHA384,
    };
    let mut hash = Context::new(algorithm);
    hash.update(value);
    hash.update(digest);
    hash.finish().as_ref().to_vec()
}

/// Those of a log's algorithms that keys can be bound to, each once.
fn banks_of(algorithms: impl Iterator<Item = u16>) -> Vec<PcrBank> {
    let known: BTreeSet<u16> = algorithms.collect();
    let all = [(parse::SHA_256, PcrBank::Sha256), (parse::SHA_384, PcrBank::Sha384)];
    all.into_iter().filter(|(id, _)| known.contains(id)).map(|(_, bank)| bank).collect()
}

#[cfg(test)]
mod tests;
