//! A worker's thread: its connection, the keys that were vetted on it, and how it is made anew.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_wire::KeyUri;

use super::Connect;
use super::queue::{Next, Queue};
use crate::{Custodian, Error, KeyInfo, Requirement};

/// First wait after a failed connection, doubled up to the last: a token that is down is not stormed
/// with logins by every request.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// How long a worker has nothing to do before its connection is told so.
const IDLE: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(5) };

/// Something to do on a connection.
pub(super) struct Job {
    pub(super) deadline: Instant,
    /// Owns the place in the queue. Dropping it unrun gives the place back too.
    pub(super) run: Box<dyn FnOnce(&mut Worker) + Send>,
}

/// Opens connections for all workers of a token, and keeps them from storming one that is down.
pub(super) struct Gate {
    connect: Arc<Connect>,
    closed: Mutex<Option<Closed>>,
    lost: AtomicU64,
}

struct Closed {
    until: Instant,
    pause: Duration,
    because: Error,
}

impl Gate {
    pub(super) fn new(connect: Arc<Connect>) -> Gate {
        Gate { connect, closed: Mutex::new(None), lost: AtomicU64::new(0) }
    }

    /// Connections that turned out to be dead.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    fn connect(&self) -> Result<Box<dyn Custodian>, Error> {
        if let Some(closed) = self.closed().as_ref().filter(|closed| Instant::now() < closed.until) {
            return Err(closed.because.clone());
        }
        let mut result = (self.connect)();
        if matches!(result, Err(Error::Unavailable(_))) && self.closed().is_none() {
            // A token that was there so far, or was never asked, may be gone for a moment: while another
            // process logs in, while a cluster changes its leader. That is no caller's error yet.
            std::thread::park_timeout(FIRST_BACKOFF);
            result = (self.connect)();
        }
        let mut closed = self.closed();
        match &result {
            Ok(_) => *closed = None,
            Err(because) => {
                let pause = closed.as_ref().map_or(FIRST_BACKOFF, |c| (c.pause * 2).min(LAST_BACKOFF));
                *closed = Some(Closed { until: Instant::now() + pause, pause, because: because.clone() });
            }
        }
        result
    }

    fn closed(&self) -> MutexGuard<'_, Option<Closed>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, and the keys whose custody was checked on it.
pub(super) struct Live {
    pub(super) custodian: Box<dyn Custodian>,
    vetted: HashSet<(KeyUri, Requirement)>,
}

impl Live {
    /// The custodian, once the key's custody has been checked on this connection.
    pub(super) fn vetted(
        &mut self,
        uri: &KeyUri,
        required: Requirement,
    ) -> Result<&mut dyn Custodian, Error> {
        if !self.vetted.contains(&(uri.clone(), required)) {
            self.vet(uri, required)?;
        }
        Ok(&mut *self.custodian)
    }

    pub(super) fn vet(&mut self, uri: &KeyUri, required: Requirement) -> Result<KeyInfo, Error> {
        let key = (uri.clone(), required);
        self.vetted.remove(&key);
        let info = self.custodian.describe(uri)?;
        required.check(&info.custody)?;
        self.vetted.insert(key);
        Ok(info)
    }
}

pub(super) struct Worker {
    queue: Arc<Queue<Job>>,
    gate: Arc<Gate>,
    live: Option<Live>,
}

impl Worker {
    pub(super) fn new(queue: Arc<Queue<Job>>, gate: Arc<Gate>) -> Worker {
        Worker { queue, gate, live: None }
    }

    /// Until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut patience = Some(IDLE);
        loop {
            match self.queue.pop(patience) {
                Next::Job(job) => {
                    if Instant::now() < job.deadline {
                        (job.run)(&mut self);
                    }
                    patience = Some(IDLE);
                }
                Next::Nothing => {
                    self.rest();
                    patience = None;
                }
                Next::Closed => return,
            }
        }
    }

    fn rest(&mut self) {
        let Some(live) = &mut self.live else { return };
        if catch_unwind(AssertUnwindSafe(|| live.custodian.rest())).is_err() {
            self.live = None;
        }
    }

    /// Runs `work` on the connection, made if there is none. A kept connection that turns out to be
    /// dead is replaced once: after a token's restart nobody needs to see an error.
    pub(super) fn call<T>(
        &mut self,
        deadline: Instant,
        work: &dyn Fn(&mut Live) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let kept = self.live.is_some();
        match self.attempt(work) {
            Err(Error::Unavailable(why)) if kept && Instant::now() < deadline => {
                tracing::info!(%why, "connection to the token lost; making another");
                self.attempt(work)
            }
            result => result,
        }
    }

    fn attempt<T>(&mut self, work: &dyn Fn(&mut Live) -> Result<T, Error>) -> Result<T, Error> {
        // A panic in a backend costs its connection and one answer, never the thread.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let live = match &mut self.live {
                Some(live) => live,
                none => none.insert(Live { custodian: self.gate.connect()?, vetted: HashSet::new() }),
            };
            work(live)
        }))
        .unwrap_or_else(|_| Err(Error::Internal("the backend panicked; see the log".into())));
        if matches!(result, Err(Error::Unavailable(_) | Error::Internal(_))) {
            // Counted before anybody hears of it.
            if self.live.take().is_some() {
                self.gate.lost.fetch_add(1, Ordering::AcqRel);
            }
        }
        result
    }
}
