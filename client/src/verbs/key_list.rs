use holdfast_wire::grpc::v1::Key;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::output::{self, Table};

pub(crate) fn run(common: &Common) -> Result<(), Failure> {
    let keys = Daemon::connect(common)?.keys()?;
    if common.json {
        let keys: Vec<Value> = keys.iter().map(document).collect();
        output::print_json(&json!({ "keys": keys }))?;
    } else if keys.is_empty() {
        output::print("no key that you may use; holdfast status shows who the daemon takes you for\n")?;
    } else {
        let mut table = Table::new(&["ALIAS", "TYPE", "ALGORITHMS", "YOU MAY", "NEW IMAGES", "STATE", "KID"]);
        for key in &keys {
            table.row(&[
                &key.alias,
                &key.r#type,
                &key.algorithms.join(", "),
                &key.permissions.join(", "),
                if key.wraps { "yes" } else { "no" },
                state(key),
                &key.kid,
            ]);
        }
        output::print(&table.text())?;
    }
    Ok(())
}

/// Why the key cannot be used, else how it is kept.
pub(super) fn state(key: &Key) -> &str {
    if key.trouble.is_empty() { &key.custody } else { &key.trouble }
}

/// What stands in a list of keys.
pub(super) fn document(key: &Key) -> Value {
    json!({
        "alias": key.alias,
        "kid": key.kid,
        "type": key.r#type,
        "algorithms": key.algorithms,
        "permissions": key.permissions,
        "wraps": key.wraps,
        "custody": key.custody,
        "trouble": (!key.trouble.is_empty()).then_some(&key.trouble),
    })
}

/// The keys under an alias, at least one.
pub(super) fn under(keys: Vec<Key>, alias: &str) -> Result<Vec<Key>, Failure> {
    let found: Vec<Key> = keys.into_iter().filter(|key| key.alias == alias).collect();
    if found.is_empty() {
        return Err(Failure::line(format!(
            "no key {alias} that you may use; holdfast key list shows those you may"
        )));
    }
    Ok(found)
}
