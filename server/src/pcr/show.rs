//! `holdfastd pcr show`

use holdfast_custody::hex::to_hex;
use serde_json::{Map, Value, json};

use super::machine::{Machine, state_of};
use super::report::{Log, keys, keys_json, line};
use super::{Report, Show};

/// The values, the log, and the keys.
pub(super) fn run(options: &Show) -> Result<Report, String> {
    let Show { pcrs, about, .. } = options;
    let mut machine = Machine::load(&options.config)?;
    let asked = machine.keys(&options.aliases)?;
    let values = machine.values(pcrs)?;
    let log = Log::read(&about.log);
    let replayed = log.log.as_ref().map(|log| log.replay(pcrs));
    let policies = machine.policies(&about.pcr_signatures);
    let read = &mut |pcrs: &_| machine.values(pcrs);
    let states: Vec<_> = asked.iter().map(|key| state_of(key, read, &policies, log.log.as_ref())).collect();
    let good = states.iter().all(|state| state.open == Some(true));
    // What the log does not give was measured by something that keeps no log there, or the log is not this boot's.
    let as_logged = |pcr: u8| match &replayed {
        Some(Ok(replayed)) => Some(replayed.get(pcr) == values.get(pcr)),
        _ => None,
    };

    if about.json {
        let value = |(pcr, value): (u8, &[u8])| {
            let value = json!({ "value": to_hex(value), "as_logged": as_logged(pcr) });
            (pcr.to_string(), value)
        };
        let report = json!({
            "bank": pcrs.bank().name(),
            "pcrs": Value::Object(values.iter().map(value).collect::<Map<_, _>>()),
            "event_log": log.to_json(pcrs, options.events),
            "keys": keys_json(&states),
        });
        return Ok(Report { text: format!("{report:#}\n"), good });
    }
    let mut text = String::new();
    line(&mut text, &format!("{} {}", machine.uri(), pcrs.bank().name()));
    for (pcr, value) in values.iter() {
        let remark = match as_logged(pcr) {
            Some(false) => "  not what the event log gives",
            _ => "",
        };
        line(&mut text, &format!("  {pcr:>2}  {}{remark}", to_hex(value)));
    }
    line(&mut text, log.line());
    if let Some(Err(why)) = &replayed {
        line(&mut text, &format!("  {why}"));
    }
    if options.events {
        log.events(pcrs).iter().for_each(|event| line(&mut text, &format!("  {event}")));
    }
    keys(&mut text, &states, ["met now", "NOT met now"]);
    Ok(Report { text, good })
}
