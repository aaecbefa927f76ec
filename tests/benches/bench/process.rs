//! What the kernel says of a process: its CPU time and its memory.

use std::fs;

/// Ticks of /proc/PID/stat a second: USER_HZ, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time so far, in seconds: fields 14 and 15 of proc_pid_stat(5).
pub(crate) fn cpu_seconds(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("a process");
    // The second field may hold blanks; it ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').expect("proc_pid_stat(5)");
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|field| field.parse::<f64>().expect("ticks")).sum::<f64>() / TICKS_PER_SECOND
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
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("proc_pid_status(5)");
        line.trim_start_matches(':').trim_end_matches("kB").trim().parse::<f64>().expect("KiB") / 1024.0
    };
    Memory { now: mib("VmRSS"), peak: mib("VmHWM") }
}
