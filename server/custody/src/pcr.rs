use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

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
}

impl FromStr for PcrSelection {
    type Err = String;

    fn from_str(text: &str) -> Result<PcrSelection, String> {
        let wrong = || "PCRs are a bank, sha256 or sha384, and numbers from 0 to 23: sha256:7+11".to_owned();
        let (bank, list) = text.split_once(':').ok_or_else(wrong)?;
        let bank = PcrBank::ALL.into_iter().find(|known| known.name() == bank).ok_or_else(wrong)?;
        let mut numbers = BTreeSet::new();
        for number in list.split('+') {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
