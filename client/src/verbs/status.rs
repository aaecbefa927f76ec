use holdfast_wire::grpc::v1::{GetStatusResponse, Token};
use serde_json::{Value, json};

use crate::cli::Common;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::output::{self, Table};

pub(crate) fn run(common: &Common) -> Result<(), Failure> {
    let status = Daemon::connect(common)?.status()?;
    if common.json {
        output::print_json(&document(&status))?;
    } else {
        output::print(&text(&status))?;
    }
    Ok(())
}

fn text(status: &GetStatusResponse) -> String {
    let mut table = Table::of_pairs();
    table.row(&["holdfastd", &format!("{}, up {}", status.version, uptime(status.uptime_seconds))]);
    table.row(&["you are", &status.caller]);
    if !status.known {
        let mut text = table.text();
        text.push_str("no [[allow]] rule names you, so you may use no key; ask the operator for one\n");
        return text;
    }
    let audit = match status.audit_trouble.as_str() {
        "" => "written".to_owned(),
        trouble => format!("NOT WRITTEN, requests are refused: {trouble}"),
    };
    table.row(&["audit", &audit]);
    let mut text = table.text();
    let mut tokens = Table::new(&["TOKEN", "STATE", "WORKERS", "QUEUE"]);
    for token in &status.tokens {
        let queue = format!("{} of {}", token.places_taken, token.places);
        tokens.row(&[&token.name, &state(token), &token.workers.to_string(), &queue]);
    }
    text.push('\n');
    text.push_str(&tokens.text());
    text
}

fn state(token: &Token) -> String {
    if token.serving { "serving".to_owned() } else { format!("NOT SERVING: {}", token.trouble) }
}

fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn document(status: &GetStatusResponse) -> Value {
    let text = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    let tokens = status.tokens.iter().map(|token| {
        json!({
            "name": token.name,
            "serving": token.serving,
            "trouble": text(&token.trouble),
            "workers": token.workers,
            "placesTaken": token.places_taken,
            "places": token.places,
        })
    });
    json!({
        "version": status.version,
        "uptimeSeconds": status.uptime_seconds,
        "caller": status.caller,
        "known": status.known,
        "auditTrouble": text(&status.audit_trouble),
        "tokens": tokens.collect::<Vec<_>>(),
    })
}
