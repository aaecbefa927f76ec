//! What is told of keys and logs, as text and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use holdfast_custody::PcrSelection;
use holdfast_custody::hex::to_hex;
use holdfast_tpm::EventLog;
use serde_json::{Value, json};

use super::machine::KeyState;
use crate::check::printable;

/// What was found, for a terminal.
#[derive(Debug)]
pub struct Report {
    /// Lines, each ended.
    pub text: String,
    /// Whether every key that was asked for opens.
    pub good: bool,
}

/// The event log, or why there is none.
pub(super) struct Log {
    pub(super) log: Option<EventLog>,
    /// For people.
    said: String,
}

impl Log {
    pub(super) fn read(path: &Path) -> Log {
        let name = path.display();
        match EventLog::read(path) {
            Ok(Some(log)) => {
                let said = format!("event log: {name}, {} events", log.events().len());
                Log { log: Some(log), said }
            }
            Ok(None) => Log { log: None, said: format!("no event log: {name} is not there") },
            Err(why) => Log { log: None, said: format!("no event log: {name}: {why}") },
        }
    }

    pub(super) fn line(&self) -> &str {
        &self.said
    }

    /// The events of these PCRs, and why there are none.
    pub(super) fn to_json(&self, pcrs: &PcrSelection, with_events: bool) -> Value {
        let mut value = json!({ "said": self.said });
        if let Some(log) = self.log.as_ref().filter(|_| with_events) {
            let events = events(log, pcrs).map(|(pcr, index, event)| {
                json!({
                    "pcr": pcr,
                    "index": index,
                    "number": event.number,
                    "type": event.kind.to_string(),
                    "description": event.description,
                    "digest": event.digest(pcrs.bank()).map(to_hex),
                })
            });
            value["events"] = events.collect();
        }
        value
    }

    /// One line an event.
    pub(super) fn events(&self, pcrs: &PcrSelection) -> Vec<String> {
        let Some(log) = &self.log else { return Vec::new() };
        let line = |(pcr, index, event): (u8, usize, &holdfast_tpm::Event)| {
            let digest = event.digest(pcrs.bank()).map_or("no digest".to_owned(), to_hex);
            let name = format!("{pcr}.{index}");
            format!("{name:<6}  {digest}  {} {}", event.kind, event.description).trim_end().to_owned()
        };
        events(log, pcrs).map(line).collect()
    }
}

/// Each with its PCR and its number among the events of that PCR.
fn events<'a>(
    log: &'a EventLog,
    pcrs: &'a PcrSelection,
) -> impl Iterator<Item = (u8, usize, &'a holdfast_tpm::Event)> {
    pcrs.numbers().flat_map(|pcr| log.of_pcr(pcr).zip(1..).map(move |(event, index)| (pcr, index, event)))
}

/// Whether the keys open. `opens` says it of one that does.
pub(super) fn keys(text: &mut String, keys: &[KeyState], [opens, does_not]: [&str; 2]) {
    for KeyState { alias, bound_to, open, why, .. } in keys {
        let verdict = match open {
            Some(true) => opens,
            Some(false) => does_not,
            None => "cannot be told",
        };
        line(text, &format!("{alias}: bound to {bound_to}: {verdict}"));
        why.iter().for_each(|why| line(text, &format!("  {why}")));
    }
}

pub(super) fn keys_json(keys: &[KeyState]) -> Value {
    let key = |key: &KeyState| {
        json!({
            "alias": key.alias,
            "uri": key.uri.to_string(),
            "bound_to": key.bound_to,
            "open": key.open,
            "why": key.why,
        })
    };
    keys.iter().map(key).collect()
}

pub(super) fn line(text: &mut String, what: &str) {
    let _ = writeln!(text, "{}", printable(what));
}
