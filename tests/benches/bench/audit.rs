//! What it costs to have a record on disk before an answer leaves, without the daemon around it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::report::{Report, Round};

/// A record of the audit log has about so many bytes.
const RECORD: [u8; 380] = [b'x'; 380];
/// Callers whose records share one flush.
const GROUP: usize = 16;

/// One flush of sixteen records in the scratch directory, against one record: what a group commit saves.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    const NAME: &str = "audit/flush/p50";
    if !plan.wants(NAME) {
        return;
    }
    println!("{NAME} …");
    let dir = tempfile::tempdir().expect("a scratch directory");
    let time = plan.time / 4;
    let rounds: Vec<Round> = (0..plan.rounds)
        .map(|_| Round {
            ours: flush(&dir.path().join("group"), GROUP, time) / GROUP as f64,
            other: flush(&dir.path().join("one"), 1, time),
            cost: None,
        })
        .collect();
    report.add(NAME.into(), "ms/record", &rounds);
}

/// Median time of an append and its fdatasync, in milliseconds.
fn flush(path: &Path, records: usize, time: Duration) -> f64 {
    let mut file: File = OpenOptions::new().create(true).append(true).open(path).expect("a file");
    let deadline = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < deadline {
        let before = Instant::now();
        file.write_all(&RECORD.repeat(records)).expect("an append");
        file.sync_data().expect("fdatasync");
        took.push(before.elapsed());
    }
    took.sort_unstable();
    took[took.len() / 2].as_secs_f64() * 1000.0
}
