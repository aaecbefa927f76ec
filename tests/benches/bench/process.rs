//! What the kernel says of a process, its CPU time and its memory, and of the machine around it.

use std::fs;
use std::time::Duration;

/// Ticks of /proc/PID/stat a second: USER_HZ, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time so far, in seconds: fields 14 and 15 of proc_pid_stat(5).
pub(crate) fn cpu_seconds(id: u32) -> f64 {
    cpu_fields(id, 2)
}

/// The same of this process's children that have ended: fields 16 and 17.
pub(crate) fn children_cpu_seconds() -> f64 {
    let id = std::process::id();
    cpu_fields(id, 4) - cpu_fields(id, 2)
}

fn cpu_fields(id: u32, fields: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("a process");
    // The second field may hold blanks; it ends at the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').expect("proc_pid_stat(5)");
    let ticks = rest.split_whitespace().skip(11).take(fields);
    ticks.map(|field| field.parse::<f64>().expect("ticks")).sum::<f64>() / TICKS_PER_SECOND
}

/// How much of the machine went to others since it was made: by that a reader knows what to believe.
pub(crate) struct Machine {
    all: f64,
    idle: f64,
    mine: f64,
}

impl Machine {
    /// Starts to watch.
    pub(crate) fn watch() -> Machine {
        let stat = fs::read_to_string("/proc/stat").expect("proc_stat(5)");
        let line = stat.lines().next().expect("the line of all cores");
        // user nice system idle iowait irq softirq steal; what follows is in user and nice already
        let ticks = line.split_whitespace().skip(1).take(8).map(|field| field.parse::<f64>().expect("ticks"));
        let ticks: Vec<f64> = ticks.map(|ticks| ticks / TICKS_PER_SECOND).collect();
        // With the two fields after this process's own: its children that have ended.
        Machine {
            all: ticks.iter().sum(),
            idle: ticks[3] + ticks[4],
            mine: cpu_fields(std::process::id(), 4),
        }
    }

    /// The part of all cores' time that went neither to this run and its ended children nor idle.
    pub(crate) fn others(&self) -> f64 {
        let now = Machine::watch();
        let all = now.all - self.all;
        (all - (now.idle - self.idle) - (now.mine - self.mine)) / all
    }
}

/// Resident memory of a process, in MiB.
pub(crate) struct Memory {
    /// Now (VmRSS).
    pub(crate) now: f64,
    /// At its highest (VmHWM).
    pub(crate) peak: f64,
}

/// From /proc/PID/status, proc_pid_status(5).
pub(crate) fn memory(id: u32) -> Memory {
    living(id).expect("a process")
}

/// The most memory resident of a process that `ended` tells the end of, in MiB. It is looked at all the time: the
/// kernel forgets when the process ends.
#[expect(clippy::disallowed_methods, reason = "a process that grows wakes nobody")]
pub(crate) fn peak_until_end(id: u32, mut ended: impl FnMut() -> bool) -> f64 {
    let mut peak = 0.0;
    while !ended() {
        peak = living(id).map_or(peak, |memory| memory.peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

/// Nothing of a process that has ended.
fn living(id: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').trim_end_matches("kB").trim().parse::<f64>().expect("KiB") / 1024.0)
    };
    Some(Memory { now: mib("VmRSS")?, peak: mib("VmHWM")? })
}
