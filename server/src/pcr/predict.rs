//! `holdfastd pcr predict`

use std::path::Path;

use holdfast_custody::hex::to_hex;
use holdfast_custody::{PcrSelection, PcrValues};
use holdfast_tpm::Bound;
use serde_json::{Map, Value, json};

use super::machine::{KeyState, Machine, state_of};
use super::report::{Log, keys, keys_json, line};
use super::{Predict, Report};
use crate::config;

/// A PCR that will have another value than it has now, or of which the log does not tell the whole.
struct Change {
    pcr: u8,
    now: Vec<u8>,
    /// Whether the log, as it is, gives the value of now.
    as_logged: bool,
    differs: bool,
}

/// The values, what changes, and the keys.
pub(super) fn run(options: &Predict) -> Result<Report, String> {
    let Predict { pcrs, about, .. } = options;
    let mut log = Log::read(&about.log);
    let Some(events) = log.log.as_mut() else {
        return Err(format!("{}: nothing to predict from", log.line()));
    };
    let logged = events.replay(pcrs)?;
    for replacement in &options.replace {
        if !pcrs.numbers().any(|pcr| pcr == replacement.pcr) {
            return Err(format!("--replace {replacement}: PCR {} is not one of {pcrs}", replacement.pcr));
        }
        events.replace(pcrs.bank(), replacement)?;
    }
    let predicted = events.replay(pcrs)?;

    let mut machine = machine(options.config.as_deref())?;
    let now = machine.as_mut().map(|machine| machine.values(pcrs)).transpose()?;
    let changes = now.as_ref().map(|now| changes(now, &logged, &predicted)).unwrap_or_default();
    let bound = match &machine {
        Some(machine) => machine.keys(&[])?,
        None => Vec::new(),
    };
    let policies =
        machine.as_ref().map(|machine| machine.policies(&about.pcr_signatures)).unwrap_or_default();
    let read = &mut |wanted: &PcrSelection| values(wanted, &predicted, machine.as_mut());
    // Of a key that is bound to nothing there is nothing to predict.
    let bound = bound.iter().filter(|key| !Bound::of(&key.uri).is_ok_and(|bound| bound.is_to_nothing()));
    let states: Vec<KeyState> = bound.map(|key| state_of(key, read, &policies, log.log.as_ref())).collect();
    let good = states.iter().all(|state| state.open == Some(true));

    let text = if about.json {
        let change = |change: &Change| {
            let value = json!({ "now": to_hex(&change.now), "as_logged": change.as_logged, "differs": change.differs });
            (change.pcr.to_string(), value)
        };
        let report = json!({
            "values": predicted.to_string(),
            "pcrs": Value::Object(changes.iter().map(change).collect::<Map<_, _>>()),
            "event_log": log.to_json(pcrs, false),
            "keys": keys_json(&states),
        });
        format!("{report:#}\n")
    } else {
        let mut text = String::new();
        line(&mut text, &predicted.to_string());
        line(&mut text, log.line());
        if now.is_none() {
            line(&mut text, "no TPM is configured: neither it nor keys were looked at");
        }
        for Change { pcr, now, as_logged, differs } in &changes {
            if !as_logged {
                line(
                    &mut text,
                    &format!(
                        "PCR {pcr}: the event log does not give the value that the TPM has now, {}: something that is not in it has extended the PCR after the boot, and the prediction is for the time before that",
                        to_hex(now)
                    ),
                );
            } else if *differs {
                line(&mut text, &format!("PCR {pcr} will differ: it has {} now", to_hex(now)));
            }
        }
        keys(&mut text, &states, ["would be met", "would NOT be met"]);
        text
    };
    Ok(Report { text, good })
}

/// The configured machine. One that is not configured is none; a file that is named must be there.
fn machine(config: Option<&Path>) -> Result<Option<Machine>, String> {
    let default = Path::new(config::DEFAULT_PATH);
    match config {
        None if !default.exists() => Ok(None),
        path => Machine::find(path.unwrap_or(default)),
    }
}

/// What is predicted, and of the other PCRs what they are now.
fn values(
    wanted: &PcrSelection,
    predicted: &PcrValues,
    machine: Option<&mut Machine>,
) -> Result<PcrValues, String> {
    if let Some(values) = predicted.only(wanted) {
        return Ok(values);
    }
    let Some(machine) = machine else { return Err(format!("{wanted} are not all predicted")) };
    let now = machine.values(wanted)?;
    let same_bank = predicted.bank() == wanted.bank();
    let value = |(pcr, now): (u8, &[u8])| {
        let predicted = predicted.get(pcr).filter(|_| same_bank);
        (pcr, predicted.unwrap_or(now).to_vec())
    };
    PcrValues::new(wanted.bank(), now.iter().map(value).collect()).ok_or_else(|| "no PCRs".to_owned())
}

fn changes(now: &PcrValues, logged: &PcrValues, predicted: &PcrValues) -> Vec<Change> {
    let change = |(pcr, value): (u8, &[u8])| Change {
        pcr,
        now: value.to_vec(),
        as_logged: logged.get(pcr) == Some(value),
        differs: predicted.get(pcr) != Some(value),
    };
    now.iter().map(change).collect()
}
