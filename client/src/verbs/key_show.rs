use holdfast_wire::PublicKey;
use holdfast_wire::grpc::v1::Key;
use serde_json::{Value, json};

use super::key_list::{document, state, under};
use crate::cli::Common;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::output::{self, Table};

pub(crate) fn run(common: &Common, alias: &str) -> Result<(), Failure> {
    let keys = under(Daemon::connect(common)?.keys()?, alias)?;
    if common.json {
        let keys: Vec<Value> = keys.iter().map(full_document).collect();
        output::print_json(&json!({ "keys": keys }))?;
    } else {
        let texts: Vec<String> = keys.iter().map(text).collect();
        output::print(&texts.join("\n"))?;
    }
    Ok(())
}

fn text(key: &Key) -> String {
    let mut table = Table::of_pairs();
    table.row(&["alias", &key.alias]);
    table.row(&["kid", &key.kid]);
    table.row(&["type", &key.r#type]);
    table.row(&["algorithms", &key.algorithms.join(", ")]);
    table.row(&["you may", &key.permissions.join(", ")]);
    table.row(&["new images", if key.wraps { "yes" } else { "no" }]);
    let name = if key.trouble.is_empty() { "custody" } else { "trouble" };
    table.row(&[name, state(key)]);
    for evidence in &key.evidence {
        table.row(&[&format!("  {}", evidence.name), &evidence.value]);
    }
    let mut text = table.text();
    if let Some(pem) = pem(key) {
        text.push_str(&pem);
    }
    text
}

fn full_document(key: &Key) -> Value {
    let mut full = document(key);
    full["evidence"] =
        key.evidence.iter().map(|evidence| json!({"name": evidence.name, "value": evidence.value})).collect();
    full["publicKey"] = pem(key).into();
    full
}

/// Made anew from the parsed key: what the daemon sent is not printed as it is.
fn pem(key: &Key) -> Option<String> {
    PublicKey::from_der(&key.public_key).ok()?.to_pem().ok()
}
