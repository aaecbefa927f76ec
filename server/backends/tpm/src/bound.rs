//! What a key is bound to, from its file alone, and whether the machine is in such a state: for an operator who asks
//! why a key does not open, or whether it will after the next update. The TPM is not asked to use the key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_custody::{Error, PcrSelection, PcrValues};
use holdfast_wire::KeyUri;

use crate::policy::{PcrPolicy, Policy};
use crate::source::{Source, Usable};
use crate::{Difference, EventLog, PolicyKey, Record, SignedPolicies, SignedPolicy};

/// What a key is bound to, beside its TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound(To);

#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    Nothing,
    /// A handle does not tell its key's policy.
    Untold,
    Policy(Arc<Policy>, PathBuf),
}

/// Whether a key can be used with certain values of the PCRs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Nothing where it cannot be told.
    pub open: Option<bool>,
    /// What there is to say of it, each one line.
    pub why: Vec<String>,
}

/// Gives the values that PCRs have, or are to have; the error says why it cannot.
pub type Values<'a> = &'a mut dyn FnMut(&PcrSelection) -> Result<PcrValues, String>;

impl Bound {
    /// Reads the key's file, whose policy must be the one that its public half has. A key that may also be used with
    /// its (empty) password is bound to nothing, whatever its policy says.
    pub fn of(uri: &KeyUri) -> Result<Bound, Error> {
        let Source { file: Some(path), .. } = Source::of(uri)? else {
            return Ok(Bound(To::Untold));
        };
        let usable = Usable::read(&path)?;
        let has_password = usable.public()?.object_attributes().user_with_auth();
        Ok(Bound(match usable.policy {
            Some(policy) if !has_password => To::Policy(policy, path),
            _ => To::Nothing,
        }))
    }

    /// Whether it is bound to nothing: it opens whatever the PCRs hold.
    pub fn is_to_nothing(&self) -> bool {
        self.0 == To::Nothing
    }

    /// Whether the key opens with the PCRs' values: with those that the policy is about and, if it is for a signer
    /// to say what they are to be, with those that he has signed. `log` is the event log that gave the values.
    pub fn standing(
        &self,
        values: Values<'_>,
        policies: &SignedPolicies,
        log: Option<&EventLog>,
    ) -> Standing {
        match &self.0 {
            To::Nothing => Standing { open: Some(true), why: Vec::new() },
            To::Untold => Standing {
                open: None,
                why: vec!["a handle does not tell its key's policy; holdfastd check --tokens asks the TPM whether it has one".into()],
            },
            To::Policy(policy, file) => match policy.as_ref() {
                Policy::Exact(policy) => exact(policy, file, values, log),
                Policy::Signed { signer, .. } => signed(signer, values, policies, log),
            },
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            To::Nothing => f.write_str("nothing"),
            To::Untold => f.write_str("what its file would tell"),
            To::Policy(policy, _) => policy.fmt(f),
        }
    }
}

fn exact(policy: &PcrPolicy, file: &Path, values: Values<'_>, log: Option<&EventLog>) -> Standing {
    let now = match values(policy.pcrs()) {
        Ok(now) => now,
        Err(why) => return Standing { open: None, why: vec![why] },
    };
    if policy.is_met_by(&now) {
        return Standing { open: Some(true), why: Vec::new() };
    }
    let why = match Record::read(file, &policy.digest()) {
        Ok(record) => lines(&record.differences(&now, log)),
        Err(why) => vec![format!(
            "at least one of {} differs; which one cannot be told: {}: {why}",
            policy.pcrs(),
            Record::path(file).display()
        )],
    };
    Standing { open: Some(false), why }
}

fn signed(
    key: &PolicyKey,
    values: Values<'_>,
    policies: &SignedPolicies,
    log: Option<&EventLog>,
) -> Standing {
    let (policies, mut why) = policies.read_for(key);
    let mut untold = None;
    let mut nearest: Option<(&SignedPolicy, Vec<Difference>)> = None;
    for policy in &policies {
        let now = match values(&policy.pcrs) {
            Ok(now) => now,
            Err(why) => {
                untold = Some(why);
                continue;
            }
        };
        if PcrPolicy::new(&now).digest() == policy.policy {
            why.push(format!("a policy for {} fits", policy.pcrs));
            return Standing { open: Some(true), why };
        }
        let Some(signed) = &policy.values else { continue };
        let differences = Record::of(signed.clone(), None).differences(&now, log);
        if nearest.as_ref().is_none_or(|(_, nearest)| differences.len() < nearest.len()) {
            nearest = Some((policy, differences));
        }
    }
    match policies.len() {
        0 => why.push(format!("no policy that {key} has signed is there")),
        1 => why.push(format!("the one policy that {key} has signed does not fit")),
        count => why.push(format!("none of the {count} policies that {key} has signed fits")),
    }
    if let Some((policy, differences)) = nearest {
        why.push(format!("the nearest is one for {}:", policy.pcrs));
        why.extend(lines(&differences));
    }
    let open = match untold {
        Some(reason) => {
            why.push(reason);
            None
        }
        None => Some(false),
    };
    Standing { open, why }
}

fn lines(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
