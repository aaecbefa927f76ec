use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use holdfast_wire::PublicKey;

use crate::hex::{from_hex, to_hex};

/// The PCRs of a TPM that a key is bound to, of one bank: `sha256:7+11`, as tpm2-tools write it but for
/// their comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrSelection {
    bank: PcrBank,
    numbers: BTreeSet<u8>,
}

/// The hash by which a bank of PCRs is extended. SHA-1 is left out: what it measures can be forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PcrBank {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
}

/// What the use of a new key is bound to, beside its token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// The values that these PCRs have when the key is made.
    Current(PcrSelection),
    /// These values.
    Exact(PcrValues),
    /// Whatever values the holder of this key's private half signs, now or later.
    Signed(PublicKey),
}

/// PCRs of one bank with a value for each: `sha256:7=65ca…+11=0000…`, each value in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrValues {
    bank: PcrBank,
    values: BTreeMap<u8, Vec<u8>>,
}

impl PcrValues {
    /// At least one PCR, none above [`PcrSelection::LAST`], each value as long as the bank's digests.
    pub fn new(bank: PcrBank, values: BTreeMap<u8, Vec<u8>>) -> Option<PcrValues> {
        PcrSelection::new(bank, values.keys().copied().collect())?;
        values.values().all(|value| value.len() == bank.digest_len()).then_some(PcrValues { bank, values })
    }

    /// The bank.
    pub fn bank(&self) -> PcrBank {
        self.bank
    }

    /// Which PCRs.
    pub fn selection(&self) -> PcrSelection {
        PcrSelection { bank: self.bank, numbers: self.values.keys().copied().collect() }
    }

    /// PCRs and their values, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.values.iter().map(|(number, value)| (*number, value.as_slice()))
    }

    /// The value of one PCR.
    pub fn get(&self, number: u8) -> Option<&[u8]> {
        self.values.get(&number).map(Vec::as_slice)
    }

    /// These PCRs alone, if all of them are here.
    pub fn only(&self, pcrs: &PcrSelection) -> Option<PcrValues> {
        let value = |number: u8| Some((number, self.values.get(&number)?.clone()));
        let values = pcrs.numbers().map(value).collect::<Option<_>>()?;
        (pcrs.bank == self.bank).then_some(PcrValues { bank: self.bank, values })
    }
}

impl PcrSelection {
    /// PC client TPMs have PCRs 0 to 23 (TCG PC Client Platform TPM Profile, section 4.6).
    pub const LAST: u8 = 23;

    /// At least one PCR, none above [`PcrSelection::LAST`].
    pub fn new(bank: PcrBank, numbers: BTreeSet<u8>) -> Option<PcrSelection> {
        let fits = numbers.last().is_some_and(|last| *last <= PcrSelection::LAST);
        fits.then_some(PcrSelection { bank, numbers })
    }

    /// The bank.
    pub fn bank(&self) -> PcrBank {
        self.bank
    }

    /// The PCRs, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        self.numbers.iter().copied()
    }
}

impl PcrBank {
    const ALL: [PcrBank; 2] = [PcrBank::Sha256, PcrBank::Sha384];

    /// "sha256" or "sha384".
    pub fn name(self) -> &'static str {
        match self {
            PcrBank::Sha256 => "sha256",
            PcrBank::Sha384 => "sha384",
        }
    }

    /// Bytes of a value.
    pub fn digest_len(self) -> usize {
        match self {
            PcrBank::Sha256 => 32,
            PcrBank::Sha384 => 48,
        }
    }

    fn named(name: &str) -> Option<PcrBank> {
        PcrBank::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl FromStr for PcrSelection {
    type Err = String;

    fn from_str(text: &str) -> Result<PcrSelection, String> {
        let wrong = || "PCRs are a bank, sha256 or sha384, and numbers from 0 to 23: sha256:7+11".to_owned();
        let (bank, list) = text.split_once(':').ok_or_else(wrong)?;
        let bank = PcrBank::named(bank).ok_or_else(wrong)?;
        let mut numbers = BTreeSet::new();
        for number in list.split('+') {
            let number = decimal(number).ok_or_else(wrong)?;
            if !numbers.insert(number) {
                return Err(format!("PCR {number} stands twice"));
            }
        }
        PcrSelection::new(bank, numbers).ok_or_else(wrong)
    }
}

impl fmt::Display for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.bank.name())?;
        for (index, number) in self.numbers.iter().enumerate() {
            write!(f, "{}{number}", if index > 0 { "+" } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for PcrValues {
    type Err = String;

    fn from_str(text: &str) -> Result<PcrValues, String> {
        let wrong = || {
            "PCR values are a bank and, for each PCR, its number and its whole value in hexadecimal digits: sha256:7=65ca…+11=0000…".to_owned()
        };
        let (bank, list) = text.split_once(':').ok_or_else(wrong)?;
        let bank = PcrBank::named(bank).ok_or_else(wrong)?;
        let mut values = BTreeMap::new();
        for one in list.split('+') {
            let (number, value) = one.split_once('=').ok_or_else(wrong)?;
            let number = decimal(number).ok_or_else(wrong)?;
            if values.insert(number, from_hex(value).ok_or_else(wrong)?).is_some() {
                return Err(format!("PCR {number} stands twice"));
            }
        }
        PcrValues::new(bank, values).ok_or_else(wrong)
    }
}

impl fmt::Display for PcrValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.bank.name())?;
        for (index, (number, value)) in self.iter().enumerate() {
            write!(f, "{}{number}={}", if index > 0 { "+" } else { "" }, to_hex(value))?;
        }
        Ok(())
    }
}

/// Digits alone: `parse` would take a sign.
fn decimal(text: &str) -> Option<u8> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_order_and_read_back() {
        let text = format!("sha256:7={}+11={}", "65".repeat(32), "0a".repeat(32));
        let values: PcrValues = text.parse().unwrap();
        assert_eq!(values.to_string(), text);
        assert_eq!(values.selection().to_string(), "sha256:7+11");
        assert_eq!(values.get(11), Some([10u8; 32].as_slice()));
        let only = |pcrs: &str| values.only(&pcrs.parse().unwrap()).map(|values| values.to_string());
        assert_eq!(only("sha256:11"), Some(format!("sha256:11={}", "0a".repeat(32))));
        assert_eq!((only("sha256:7+8"), only("sha384:7")), (None, None));
    }

    #[test]
    fn values_that_no_bank_has_are_refused() {
        let full = "00".repeat(32);
        for text in [
            "sha256:7".to_owned(),
            "sha256:7=".to_owned(),
            format!("sha384:7={full}"),
            format!("sha256:7={full}0"),
            format!("sha256:24={full}"),
            format!("sha256:7={}+", full),
            format!("sha256:7=+{}", &full[1..]),
            format!("sha256:7=é{}", &full[2..]),
        ] {
            assert!(text.parse::<PcrValues>().unwrap_err().contains("hexadecimal"), "{text}");
        }
        assert!(format!("sha256:7={full}+7={full}").parse::<PcrValues>().unwrap_err().contains("twice"));
    }

    #[test]
    fn a_selection_is_written_in_order_and_reads_back() {
        let selection: PcrSelection = "sha256:11+7".parse().unwrap();
        assert_eq!(selection.to_string(), "sha256:7+11");
        assert_eq!("sha384:0".parse::<PcrSelection>().unwrap().to_string(), "sha384:0");
    }

    #[test]
    fn what_no_tpm_has_is_refused() {
        for text in
            ["7", "sha1:7", "sha256:", "sha256:24", "sha256:7,11", "sha256:+7", "sha256:-1", "sha256:"]
        {
            assert!(text.parse::<PcrSelection>().unwrap_err().contains("sha256:7+11"), "{text}");
        }
        assert!("sha256:7+7".parse::<PcrSelection>().unwrap_err().contains("twice"));
    }
}
