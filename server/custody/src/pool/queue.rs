//! Jobs that wait for a worker, and the count of workers that still run.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Jobs that wait for a worker. A lock and a condition, because a channel's receivers spin before they
/// sleep, and here they would spin on the cores that the token's library needs.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    pushed: Condvar,
    worker_ended: Condvar,
}

struct State<J> {
    jobs: VecDeque<J>,
    closed: bool,
    workers: usize,
}

/// What a worker that asked for a job gets.
pub(super) enum Next<J> {
    Job(J),
    /// There was nothing to do for as long as it would wait.
    Nothing,
    /// The queue is closed and empty.
    Closed,
}

impl<J> Queue<J> {
    pub(super) fn new(workers: usize) -> Self {
        let state = State { jobs: VecDeque::new(), closed: false, workers };
        Queue { state: Mutex::new(state), pushed: Condvar::new(), worker_ended: Condvar::new() }
    }

    /// After [`Queue::close`] the job is dropped, and with it its place and its caller's hope.
    pub(super) fn push(&self, job: J) {
        let mut state = self.state();
        if !state.closed {
            state.jobs.push_back(job);
            drop(state);
            self.pushed.notify_one();
        }
    }

    /// The next job, waited for no longer than `patience` where there is one.
    pub(super) fn pop(&self, patience: Option<Duration>) -> Next<J> {
        let nothing = |state: &mut State<J>| state.jobs.is_empty() && !state.closed;
        let mut state = match patience {
            Some(patience) => {
                let waited = self.pushed.wait_timeout_while(self.state(), patience, nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.pushed.wait_while(self.state(), nothing).unwrap_or_else(PoisonError::into_inner),
        };
        match state.jobs.pop_front() {
            Some(job) => Next::Job(job),
            None if state.closed => Next::Closed,
            None => Next::Nothing,
        }
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.pushed.notify_all();
    }

    pub(super) fn ended(&self) {
        self.state().workers -= 1;
        self.worker_ended.notify_all();
    }

    /// Whether every worker ended in time.
    pub(super) fn wait_for_the_end(&self, patience: Duration) -> bool {
        let wait = self.worker_ended.wait_timeout_while(self.state(), patience, |state| state.workers > 0);
        let (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        state.workers == 0
    }

    /// Workers that still run.
    pub(super) fn workers(&self) -> usize {
        self.state().workers
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
