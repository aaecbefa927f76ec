//! The file of a record: JSON, for people to read as well.
//!
//! ```text
//! {"values": "sha256:7=65ca…+11=0000…", "events": {"7": [{"type": "EV_…", "description": "…", "digest": "…"}]}}
//! ```

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use holdfast_custody::{PcrValues, RegularFile};
use serde_json::{Map, Value, json};

use super::{Logged, Record};
use crate::eventlog::clean;
use crate::policy::PcrPolicy;
use holdfast_custody::hex::{from_hex, to_hex};

/// Bytes. The events of all PCRs of a real machine have some tens of KiB.
pub(super) const MAX_LEN: usize = 1024 * 1024;
pub(super) const DAMAGED: &str = "not a record of PCR values, or a damaged one";

impl Record {
    /// Where the record of a key is: beside its file.
    pub fn path(key_file: &Path) -> PathBuf {
        let mut name = key_file.as_os_str().to_owned();
        name.push(".pcrs");
        name.into()
    }

    /// Writes it beside the key's file, for everybody to read: it holds nothing that is secret. It takes the place
    /// of one that is there, and appears whole or not at all.
    pub fn write(&self, key_file: &Path) -> io::Result<()> {
        let path = Record::path(key_file);
        let mut text = self.to_json(true);
        if text.len() > MAX_LEN {
            text = self.to_json(false);
        }
        let mut temporary = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().set_permissions(Permissions::from_mode(0o644))?;
        temporary.as_file().sync_all()?;
        temporary.persist(&path).map(drop).map_err(|error| error.error)
    }

    /// Reads the record of a key whose policy has this digest. The error says why it tells nothing, in one line.
    pub fn read(key_file: &Path, policy: &[u8; 32]) -> Result<Record, String> {
        let path = Record::path(key_file);
        let file = RegularFile::read(&path, MAX_LEN).map_err(|error| error.to_string())?;
        let record = Record::from_json(file.bytes.expose()).ok_or(DAMAGED)?;
        if PcrPolicy::new(&record.values).digest() != *policy {
            return Err(
                "it is of another key, or was changed: its values are not those of the key's policy".into()
            );
        }
        Ok(record)
    }

    pub(super) fn to_json(&self, with_events: bool) -> String {
        let mut root = json!({ "values": self.values.to_string() });
        if let Some(events) = self.events.as_ref().filter(|_| with_events) {
            let list = |events: &Vec<Logged>| events.iter().map(Logged::to_json).collect();
            let events = events.iter().map(|(pcr, events)| (pcr.to_string(), list(events)));
            root["events"] = Value::Object(events.collect());
        }
        format!("{root:#}\n")
    }

    fn from_json(bytes: &[u8]) -> Option<Record> {
        let root: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let values: PcrValues = root.get("values")?.as_str()?.parse().ok()?;
        let list = |events: &Value| events.as_array()?.iter().map(Logged::from_json).collect::<Option<_>>();
        let one = |(pcr, events): (&String, &Value)| Some((pcr.parse().ok()?, list(events)?));
        let events = match root.get("events") {
            Some(events) => Some(events.as_object()?.iter().map(one).collect::<Option<_>>()?),
            None => None,
        };
        Some(Record { values, events })
    }
}

impl Logged {
    fn to_json(&self) -> Value {
        json!({ "type": self.kind, "description": self.description, "digest": to_hex(&self.digest) })
    }

    fn from_json(value: &Value) -> Option<Logged> {
        let text = |name: &str| value.get(name)?.as_str();
        let digest = from_hex(text("digest")?)?;
        Some(Logged { kind: clean(text("type")?), description: clean(text("description")?), digest })
    }
}
