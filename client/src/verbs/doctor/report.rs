//! What was found: one line a check, and for what is wrong a second one with what to do.

use std::io;
use std::path::Path;

use holdfast_image::printable;
use serde_json::{Value, json};

/// How a check came out. The order is that in which they decide the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Ok,
    /// Something may be wrong, or will be.
    Warning,
    /// It could not be looked at.
    Unknown,
    /// Encrypted images do not open, or some.
    Fault,
}

struct Finding {
    check: &'static str,
    state: State,
    what: String,
    place: String,
    remedy: String,
}

/// All of them, in the order in which they were made.
#[derive(Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, what: impl Into<String>, place: impl AsRef<Path>) {
        self.add(check, State::Ok, what, place.as_ref(), "");
    }

    pub(super) fn warning(
        &mut self,
        check: &'static str,
        what: impl Into<String>,
        place: impl AsRef<Path>,
        remedy: &str,
    ) {
        self.add(check, State::Warning, what, place.as_ref(), remedy);
    }

    pub(super) fn unknown(
        &mut self,
        check: &'static str,
        what: impl Into<String>,
        place: impl AsRef<Path>,
        remedy: &str,
    ) {
        self.add(check, State::Unknown, what, place.as_ref(), remedy);
    }

    /// What could not be looked at for an error of the system's.
    pub(super) fn unread(
        &mut self,
        check: &'static str,
        what: impl Into<String>,
        error: io::ErrorKind,
        place: impl AsRef<Path>,
    ) {
        let remedy = match error {
            io::ErrorKind::PermissionDenied => "run this as root",
            _ => "see what is there in its place",
        };
        self.unknown(check, what, place, remedy);
    }

    pub(super) fn fault(
        &mut self,
        check: &'static str,
        what: impl Into<String>,
        place: impl AsRef<Path>,
        remedy: &str,
    ) {
        self.add(check, State::Fault, what, place.as_ref(), remedy);
    }

    fn add(
        &mut self,
        check: &'static str,
        state: State,
        what: impl Into<String>,
        place: &Path,
        remedy: &str,
    ) {
        let finding = Finding {
            check,
            state,
            what: what.into(),
            place: place.to_string_lossy().into_owned(),
            remedy: remedy.to_owned(),
        };
        self.0.push(finding);
    }

    pub(super) fn worst(&self) -> State {
        self.0.iter().map(|finding| finding.state).max().unwrap_or(State::Ok)
    }

    pub(super) fn text(&self) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for finding in &self.0 {
            let (state, place) = (word(finding.state), printable(&finding.place));
            let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
            let line =
                format!("{state:<7}  {:<width$}  {}{place}\n", finding.check, printable(&finding.what));
            text.push_str(&line);
            if !finding.remedy.is_empty() {
                text.push_str(&format!("         {:<width$}  do: {}\n", "", printable(&finding.remedy)));
            }
        }
        let count = |state, one: &str| {
            let number = self.0.iter().filter(|finding| finding.state == state).count();
            format!("{number} {one}{}", if number == 1 { "" } else { "s" })
        };
        text.push_str(&format!(
            "{}, {}, {} could not be made\n",
            count(State::Fault, "fault"),
            count(State::Warning, "warning"),
            count(State::Unknown, "check")
        ));
        text
    }

    pub(super) fn document(&self) -> Value {
        let some = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let findings = self.0.iter().map(|finding| {
            json!({
                "check": finding.check,
                "state": word(finding.state).to_lowercase(),
                "what": finding.what,
                "where": some(&finding.place),
                "do": some(&finding.remedy),
            })
        });
        json!({ "worst": word(self.worst()).to_lowercase(), "checks": findings.collect::<Vec<_>>() })
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Unknown => "unknown",
        State::Fault => "FAULT",
    }
}
