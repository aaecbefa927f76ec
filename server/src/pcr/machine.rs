//! The configured TPM, and the keys in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_custody::{PcrBank, PcrSelection, PcrValues};
use holdfast_tpm::{Bound, EventLog, SignedPolicies, Standing, Token, Values};
use holdfast_wire::KeyUri;

use crate::backends;
use crate::config::{Config, Key};

/// The TPM, and what was read of it.
pub(super) struct Machine {
    config: Config,
    /// Its index in the configuration.
    index: usize,
    token: Token,
    /// Where signed policies are.
    pcr_signatures: Vec<PathBuf>,
    /// Whole banks: a boot changes none of it while we look.
    banks: BTreeMap<&'static str, Result<PcrValues, String>>,
}

/// Whether a key opens.
pub(super) struct KeyState {
    pub(super) alias: String,
    pub(super) uri: KeyUri,
    pub(super) bound_to: String,
    pub(super) open: Option<bool>,
    pub(super) why: Vec<String>,
}

impl Machine {
    pub(super) fn load(path: &Path) -> Result<Machine, String> {
        Machine::find(path)?.ok_or_else(|| {
            format!("{}: no [[token]] is a TPM; see docs/tpm.md for how one is configured", path.display())
        })
    }

    /// As [`Machine::load`], where a machine without a TPM is none.
    pub(super) fn find(path: &Path) -> Result<Option<Machine>, String> {
        let config = Config::load(path).map_err(|error| error.to_string())?;
        let tpms = config.tokens.iter().enumerate().filter_map(|(index, token)| {
            let (token, way) = match backends::tpm_of(token)? {
                Ok(tpm) => tpm,
                Err(error) => return Some(Err(error.to_string())),
            };
            Some(Ok((index, token, way.pcr_signatures.clone())))
        });
        let tpms = tpms.collect::<Result<Vec<_>, _>>()?;
        match <[_; 1]>::try_from(tpms) {
            Ok([(index, token, pcr_signatures)]) => {
                Ok(Some(Machine { config, index, token, pcr_signatures, banks: BTreeMap::new() }))
            }
            Err(tpms) if tpms.is_empty() => Ok(None),
            Err(_) => Err(format!("{}: more than one [[token]] is a TPM", path.display())),
        }
    }

    /// The name of the token.
    pub(super) fn uri(&self) -> &KeyUri {
        &self.config.tokens[self.index].uri
    }

    /// Signed policies, where the configuration says that they are, and there.
    pub(super) fn policies(&self, also: &[PathBuf]) -> SignedPolicies {
        SignedPolicies::new([&self.pcr_signatures, also].concat())
    }

    /// The values that PCRs have now.
    pub(super) fn values(&mut self, pcrs: &PcrSelection) -> Result<PcrValues, String> {
        let bank = pcrs.bank();
        let Machine { config, index, token, banks, .. } = self;
        let read = || {
            let all = all_of(bank).ok_or("no PCRs")?;
            token.pcr_values(&all).map_err(|error| format!("{}: {error}", config.tokens[*index].uri))
        };
        let values = banks.entry(bank.name()).or_insert_with(read).as_ref().map_err(Clone::clone)?;
        values.only(pcrs).ok_or_else(|| format!("the TPM gave no value for {pcrs}"))
    }

    /// The keys in the TPM: those of these aliases, or all.
    pub(super) fn keys(&self, aliases: &[String]) -> Result<Vec<Key>, String> {
        for alias in aliases {
            let mut of = self.config.keys.iter().filter(|key| key.alias == *alias).peekable();
            if of.peek().is_none() {
                return Err(format!("no [[key]] has the alias \"{alias}\""));
            }
            if !of.any(|key| key.token == self.index) {
                return Err(format!("\"{alias}\" is no key in the TPM, and bound to no PCRs"));
            }
        }
        let asked = |key: &&Key| aliases.is_empty() || aliases.contains(&key.alias);
        Ok(self.config.keys.iter().filter(|key| key.token == self.index).filter(asked).cloned().collect())
    }
}

/// Whether a key opens with certain values.
pub(super) fn state_of(
    key: &Key,
    values: Values<'_>,
    policies: &SignedPolicies,
    log: Option<&EventLog>,
) -> KeyState {
    let (bound_to, Standing { open, why }) = match Bound::of(&key.uri) {
        Ok(bound) => (bound.to_string(), bound.standing(values, policies, log)),
        Err(error) => {
            ("what its file does not tell".into(), Standing { open: None, why: vec![error.to_string()] })
        }
    };
    KeyState { alias: key.alias.clone(), uri: key.uri.clone(), bound_to, open, why }
}

fn all_of(bank: PcrBank) -> Option<PcrSelection> {
    PcrSelection::new(bank, (0..=PcrSelection::LAST).collect())
}
