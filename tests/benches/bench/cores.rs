//! A core for the server alone, as another machine would be: its thread and the clients' take no time from
//! each other then, on either side of a comparison.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// As long as it lives, what this thread starts keeps off the server's core.
pub(crate) struct Apart(CpuSet);

impl Apart {
    /// Starts a server on the first core, if there is another for all else.
    pub(crate) fn from<T>(server: impl FnOnce() -> T) -> (T, Apart) {
        let all = sched_getaffinity(None).expect("the cores of this thread");
        let first = (0..CpuSet::MAX_CPU).find(|&core| all.is_set(core)).expect("a core");
        let (mut own, mut rest) = (CpuSet::new(), all);
        own.set(first);
        rest.unset(first);
        if rest.count() == 0 {
            return (server(), Apart(all));
        }
        // Threads and processes inherit it.
        sched_setaffinity(None, &own).expect("one core");
        let server = server();
        sched_setaffinity(None, &rest).expect("the other cores");
        (server, Apart(all))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}
