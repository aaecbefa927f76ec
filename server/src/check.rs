//! `holdfastd check`: what the daemon would make of its configuration, and what its tokens say.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use holdfast_custody::KeyInfo;
use holdfast_wire::{Algorithm, PublicKey};

use crate::backends;
use crate::config::{Config, Key, Way};
use crate::daemon::Stopped;
use crate::keyring::{Facts, Keyring, type_name};

/// How long tokens may take to end their sessions.
const CLOSING: Duration = Duration::from_secs(2);

/// What was found, for a terminal.
pub struct Report {
    /// Lines, each ended.
    pub text: String,
    /// Whether everything can be used.
    pub good: bool,
    /// Whether a token still hangs.
    pub stopped: Stopped,
}

/// A configuration without faults, summed up.
pub fn configuration(config: &Config) -> Report {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let mut text = format!(
        "configuration: good: {}, {}, {}\n",
        count(config.tokens.len(), "token"),
        count(config.keys.len(), "key"),
        count(config.rules.len(), "rule")
    );
    if config.rules.is_empty() {
        text.push_str("note: without an [[allow]] rule nobody may do anything\n");
    }
    Report { text, good: true, stopped: Stopped::Whole }
}

/// Logs in to every token, once, and describes every key.
pub async fn tokens(config: &Config) -> io::Result<Report> {
    let mut one_worker = config.clone();
    for token in &mut one_worker.tokens {
        token.pool.workers = 1;
        if let Way::Tpm(tpm) = &mut token.way {
            // The daemon may be using it.
            tpm.exclusive = false;
        }
    }
    backends::make_state_dir(&config.state_dir).map_err(|error| {
        let dir = config.state_dir.display();
        io::Error::new(error.kind(), format!("cannot make the state directory {dir}: {error}"))
    })?;
    let keyring = Keyring::start(&one_worker, |token| backends::connector(token, &config.state_dir), None)?;
    let mut report = Report { text: String::new(), good: true, stopped: Stopped::Whole };
    for (index, token) in keyring.tokens().iter().enumerate() {
        let deadline = Instant::now() + config.tokens[index].pool.timeout;
        match keyring.probe(index, deadline).await {
            Ok(health) => line(&mut report, &format!("{}: good: {}", token.uri(), health.token)),
            Err(error) => {
                trouble(&mut report, &format!("{}: {error}", token.uri()));
                continue;
            }
        }
        for (number, key) in config.keys.iter().enumerate().filter(|(_, key)| key.token == index) {
            let deadline = Instant::now() + config.tokens[index].pool.timeout;
            match keyring.inspect(number, deadline).await {
                Ok(info) => describe(&mut report, key, &info),
                Err(error) => trouble(&mut report, &format!("  {}: {}: {error}", key.alias, key.uri)),
            }
        }
    }
    if !keyring.close(CLOSING) {
        report.stopped = Stopped::WithCallsThatHang;
    }
    Ok(report)
}

fn describe(report: &mut Report, key: &Key, info: &KeyInfo) {
    let name = type_name(info.public.as_ref());
    line(report, &format!("  {}: {name}, {}", key.alias, info.custody.summary()));
    line(report, &format!("    uri {}", key.uri));
    match Facts::of(key, info.clone()) {
        Ok(facts) => {
            line(report, &format!("    kid {}", facts.kid));
            openpgp(report, key, &facts);
        }
        Err(error) => trouble(report, &format!("    {}: {error}", key.alias)),
    }
    let mut algorithms: Vec<&str> = info.algorithms().iter().map(|algorithm| algorithm.name()).collect();
    if info.serves(Algorithm::Rsa1_5) {
        // It is never among the defaults, and whoever reads pkcs7 or pgp packets looks for it here.
        algorithms.push("RSA1_5 (only where algorithms lists it alone)");
    }
    line(report, &format!("    the token can do {}", algorithms.join(", ")));
    for (name, value) in &info.custody.evidence {
        line(report, &format!("    {name} = {value}"));
    }
    if let Err(error) = key.requirement.check(&info.custody) {
        trouble(report, &format!("    {}: {error}", key.alias));
    }
    for algorithm in key.algorithms.iter().flatten().filter(|wanted| !info.serves(**wanted)) {
        let what = format!(
            "    {}: the configuration names {algorithm}, which this token cannot do with this key",
            key.alias
        );
        trouble(report, &what);
    }
}

/// What is used of its OpenPGP certificate. An RSA key opens OpenPGP messages by PKCS#1 v1.5, which is never a
/// default.
fn openpgp(report: &mut Report, key: &Key, facts: &Facts) {
    let Some(certified) = &facts.openpgp else { return };
    line(report, &format!("    openpgp {certified}"));
    if matches!(facts.public, Some(PublicKey::Rsa(_))) && !facts.algorithms.contains(&Algorithm::Rsa1_5) {
        let what = format!(
            "    {}: openpgp is of no use to an RSA key without algorithms = [\"RSA1_5\"]: OpenPGP seals by nothing else",
            key.alias
        );
        trouble(report, &what);
    }
}

fn line(report: &mut Report, text: &str) {
    let _ = writeln!(report.text, "{}", printable(text));
}

/// A token's label is chosen by whoever initialized it: no control characters on a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn trouble(report: &mut Report, text: &str) {
    report.good = false;
    line(report, &format!("{text} [TROUBLE]"));
}
