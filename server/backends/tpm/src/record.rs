//! What the PCRs of a bound key were when it was made: beside its file, FILE.pcrs.
//!
//! A key file holds a hash over all values together, which tells that the state is another one, and not what of it.
//! The record holds the values themselves and the events that gave them, so that it can be told which PCR and
//! which step of the boot differ. It is never trusted: it counts only if its values are those of the key's policy,
//! and a lost or changed one costs no more than the explanation.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_custody::PcrValues;

use crate::EventLog;
use holdfast_custody::hex::to_hex;

mod file;

/// Values, and the events that gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    values: PcrValues,
    /// Of each PCR, where there was an event log with digests of the bank.
    events: Option<BTreeMap<u8, Vec<Logged>>>,
}

/// An event, as much of it as tells one from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// EV_…
    pub kind: String,
    /// What it was about, or nothing.
    pub description: String,
    /// What the PCR was extended with.
    pub digest: Vec<u8>,
}

/// A PCR that has another value than in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its number.
    pub pcr: u8,
    /// The value of the record.
    pub was: Vec<u8>,
    /// The value now.
    pub is: Vec<u8>,
    /// What made the difference.
    pub cause: Cause,
}

/// What made the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The first event that differs, counted from 1 among those of the PCR. There is none on the side where the PCR
    /// was extended less often.
    Event {
        /// Which.
        index: usize,
        /// As it was.
        was: Option<Logged>,
        /// As it is.
        is: Option<Logged>,
    },
    /// The event log says the same as then, and does not give the value: something that is not in it extended the
    /// PCR after the boot.
    NotInLog,
    /// There is no event log, or there was none.
    NoLog,
}

/// Bytes of a value that are enough to tell one from another.
const SHOWN: usize = 4;

impl Record {
    /// The values, with their history where there is a log.
    pub fn of(values: PcrValues, log: Option<&EventLog>) -> Record {
        let events = log.and_then(|log| history(&values, log));
        Record { values, events }
    }

    /// Whether it holds the events that gave the values, too.
    pub fn has_events(&self) -> bool {
        self.events.is_some()
    }

    /// The values.
    pub fn values(&self) -> &PcrValues {
        &self.values
    }

    /// The PCRs that have another value now, and why. PCRs whose value now is not given are left out.
    pub fn differences(&self, now: &PcrValues, log: Option<&EventLog>) -> Vec<Difference> {
        let events_now = log.and_then(|log| history(now, log));
        let mut differences = Vec::new();
        for (pcr, was) in self.values.iter() {
            let Some(is) = now.get(pcr).filter(|is| *is != was) else { continue };
            let of = |events: &'_ Option<BTreeMap<u8, Vec<Logged>>>| events.as_ref()?.get(&pcr).cloned();
            let cause = match (of(&self.events), of(&events_now)) {
                (Some(then), Some(now)) => first_difference(&then, &now),
                _ => Cause::NoLog,
            };
            differences.push(Difference { pcr, was: was.to_vec(), is: is.to_vec(), cause });
        }
        differences
    }
}

/// The events of each PCR.
fn history(values: &PcrValues, log: &EventLog) -> Option<BTreeMap<u8, Vec<Logged>>> {
    let bank = values.bank();
    let of_pcr = |pcr: u8| {
        let logged = log.of_pcr(pcr).map(|event| {
            let (kind, description) = (event.kind.to_string(), event.description.clone());
            event.digest(bank).map(|digest| Logged { kind, description, digest: digest.to_vec() })
        });
        logged.collect::<Option<Vec<_>>>().map(|events| (pcr, events))
    };
    log.banks().contains(&bank).then_some(())?;
    values.iter().map(|(pcr, _)| of_pcr(pcr)).collect()
}

fn first_difference(then: &[Logged], now: &[Logged]) -> Cause {
    let same = then.iter().zip(now).take_while(|(then, now)| then.digest == now.digest).count();
    match (then.get(same), now.get(same)) {
        (None, None) => Cause::NotInLog,
        (was, is) => Cause::Event { index: same + 1, was: was.cloned(), is: is.cloned() },
    }
}

impl fmt::Display for Logged {
    /// `EV_IPL ".linux"`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.description.is_empty() { Ok(()) } else { write!(f, " \"{}\"", self.description) }
    }
}

impl fmt::Display for Difference {
    /// One line, that begins with "PCR 11 differs".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { pcr, cause, was, is } = self;
        write!(f, "PCR {pcr} differs")?;
        match cause {
            Cause::NoLog => {
                let [was, is] = [was, is].map(|value| to_hex(value.get(..SHOWN).unwrap_or(value)));
                write!(f, ": {is}… where it was {was}…")
            }
            Cause::NotInLog => {
                f.write_str(": something that is not in the event log has extended it, after the boot")
            }
            Cause::Event { index, was: Some(was), is: Some(is) } if was.to_string() == is.to_string() => {
                let digests = [&was.digest, &is.digest].map(|digest| to_hex(digest));
                write!(
                    f,
                    " from event {pcr}.{index}, {is}: it measured {}, and now {}",
                    digests[0], digests[1]
                )
            }
            Cause::Event { index, was: Some(was), is: Some(is) } => {
                write!(f, " from event {pcr}.{index}: it was {was}, and now is {is}")
            }
            Cause::Event { index, was: Some(was), is: None } => {
                write!(f, ": event {pcr}.{index}, {was}, is missing now")
            }
            Cause::Event { index, was: None, is: Some(is) } => {
                write!(f, ": event {pcr}.{index}, {is}, is new")
            }
            Cause::Event { was: None, is: None, .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
