//! The form of signed policies: systemd's `tpm2-pcr-signature.json` (systemd-measure(1)).
//!
//! ```text
//! {"sha256": [{"pcrs": [11], "pkfp": "0a1b…", "pol": "2c3d…", "sig": "base64", "values": {"11": "4e5f…"}}]}
//! ```
//!
//! `values` is ours, and systemd passes over it. As systemd does, entries that lack a member are passed over, and
//! so are banks and members that are not known here.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_custody::{PcrBank, PcrSelection, PcrValues};
use serde_json::{Map, Value, json};

use super::{MAX_POLICIES, SignedPolicy};
use crate::policy::PcrPolicy;
use holdfast_custody::hex::{from_hex, to_hex};

/// Bytes of an RSA-4096 signature; those of ECDSA have less.
const MAX_SIGNATURE: usize = 512;

/// Reads a file of signed policies. The error says what is wrong and quotes nothing of it.
pub fn parse(bytes: &[u8]) -> Result<Vec<SignedPolicy>, String> {
    let root = object(bytes)?;
    let mut policies = Vec::new();
    for bank in [PcrBank::Sha256, PcrBank::Sha384] {
        let Some(entries) = root.get(bank.name()) else { continue };
        for (index, entry) in list(entries, bank)?.iter().enumerate() {
            let wrong = |what: &str| format!("damaged: {what} of entry {index} under {}", bank.name());
            let Some(entry) = entry.as_object() else { return Err(wrong("the form")) };
            let members = ["pcrs", "pkfp", "pol", "sig"].map(|name| entry.get(name));
            let [Some(pcrs), Some(key), Some(policy), Some(signature)] = members else { continue };
            if policies.len() == MAX_POLICIES {
                return Err(format!("more than {MAX_POLICIES} policies; remove those of old kernels"));
            }
            let pcrs = selection(bank, pcrs).ok_or_else(|| wrong("\"pcrs\""))?;
            let policy = digest(policy).ok_or_else(|| wrong("\"pol\""))?;
            policies.push(SignedPolicy {
                key: digest(key).ok_or_else(|| wrong("\"pkfp\""))?,
                policy,
                signature: base64(signature).ok_or_else(|| wrong("\"sig\""))?,
                values: entry
                    .get("values")
                    .and_then(|values| believed(bank, values, &policy))
                    .filter(|values| values.selection() == pcrs),
                pcrs,
            });
        }
    }
    Ok(policies)
}

/// A file's new content with one more policy: whatever else is in it stays, and what was approved before is not
/// approved twice. Without a file, `before` is empty.
pub fn merge(before: &[u8], policy: &SignedPolicy) -> Result<String, String> {
    let mut root = Map::new();
    if !before.is_empty() {
        // What cannot be read is not written over.
        parse(before)?;
        root = object(before)?;
    }
    let bank = policy.pcrs.bank();
    let entries = root.entry(bank.name()).or_insert_with(|| json!([]));
    let Some(entries) = entries.as_array_mut() else { return Err("damaged: no list".into()) };
    let new = entry(policy);
    // Each ECDSA signature is another one.
    let same = |old: &Value| ["pcrs", "pkfp", "pol"].into_iter().all(|name| old.get(name) == new.get(name));
    if !entries.iter().any(|old| same(old) && old.get("sig").is_some()) {
        entries.push(new);
    }
    Ok(format!("{}\n", Value::Object(root)))
}

fn entry(policy: &SignedPolicy) -> Value {
    let mut entry = json!({
        "pcrs": policy.pcrs.numbers().collect::<Vec<_>>(),
        "pkfp": to_hex(&policy.key),
        "pol": to_hex(&policy.policy),
        "sig": STANDARD.encode(&policy.signature),
    });
    if let Some(values) = &policy.values {
        let values = values.iter().map(|(number, value)| (number.to_string(), Value::String(to_hex(value))));
        entry["values"] = Value::Object(values.collect());
    }
    entry
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("not a JSON object".into()),
        Err(error) => Err(format!("damaged: not JSON from line {}, column {}", error.line(), error.column())),
    }
}

fn list(entries: &Value, bank: PcrBank) -> Result<&Vec<Value>, String> {
    entries.as_array().ok_or_else(|| format!("damaged: what stands under {} is no list", bank.name()))
}

fn selection(bank: PcrBank, pcrs: &Value) -> Option<PcrSelection> {
    let number = |pcr: &Value| pcr.as_u64().and_then(|number| u8::try_from(number).ok());
    let numbers: BTreeSet<u8> = pcrs.as_array()?.iter().map(number).collect::<Option<_>>()?;
    PcrSelection::new(bank, numbers)
}

fn digest(hex: &Value) -> Option<[u8; 32]> {
    from_hex(hex.as_str()?)?.try_into().ok()
}

fn base64(text: &Value) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text.as_str()?).ok()?;
    (1..=MAX_SIGNATURE).contains(&bytes.len()).then_some(bytes)
}

/// Values that are not those of the policy tell nothing.
fn believed(bank: PcrBank, values: &Value, policy: &[u8; 32]) -> Option<PcrValues> {
    let one = |(number, value): (&String, &Value)| Some((number.parse().ok()?, from_hex(value.as_str()?)?));
    let values: BTreeMap<u8, Vec<u8>> = values.as_object()?.iter().map(one).collect::<Option<_>>()?;
    PcrValues::new(bank, values).filter(|values| PcrPolicy::new(values).digest() == *policy)
}
