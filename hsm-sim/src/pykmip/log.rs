//! What the server has written of itself.

use std::path::PathBuf;

use super::Pykmip;

/// PyKMIP's own log: 1 MB, and five older ones with `.1` to `.5` behind the name.
pub(super) const FILE: &str = "server.log";
/// stdout and stderr.
pub(super) const OUTPUT: &str = "output.log";

impl Pykmip {
    /// All that it has written since it was made, its own log before what it complained of on stderr since the last
    /// start. After 6 MB (some 20,000 requests) the oldest is gone.
    pub fn log(&self) -> String {
        let older = (1..=5).rev().map(|number| format!("{FILE}.{number}"));
        let files = older.chain([FILE.to_owned(), OUTPUT.to_owned()]).map(|name| self.dir.join(name));
        // Not all are there: one that is missing says nothing.
        let read = |path: PathBuf| std::fs::read(path).unwrap_or_default();
        files.map(|path| String::from_utf8_lossy(&read(path)).into_owned()).collect()
    }

    /// How many batch items of one operation it has got to work on so far, after KMIP's name in one word:
    /// `Decrypt`, `GetAttributes`. Those of [our own client](Pykmip::ask) count too.
    pub fn calls(&self, operation: &str) -> usize {
        let line = format!("Processing operation: {operation}");
        self.log().lines().filter(|logged| logged.ends_with(&line)).count()
    }

    /// How many connections it has accepted so far, whatever became of them: the probe's and our own client's too.
    pub fn connections(&self) -> usize {
        self.log().lines().filter(|logged| logged.contains("Receiving incoming connection from")).count()
    }
}
