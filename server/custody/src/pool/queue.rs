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

    /// The next job; `None` when the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<J> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.pushed.wait(state).unwrap_or_else(PoisonError::into_inner);
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
