//! The worker pool of one token: threads that each own a connection, a bounded queue before them.
//!
//! A place is taken before a job queues and is given back when the token has answered, not when the
//! caller leaves: a hung token fills its own queue and nothing else. Threads of its own, because a
//! shared pool of blocking threads would be eaten by one hung HSM.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use holdfast_wire::{KeyUri, Sealed, Secret};
use tokio::sync::{Semaphore, oneshot};

use crate::{Custodian, Error, Health, KeyInfo, Requirement};

/// Makes a connection, on the thread that will use it.
pub type Connect = dyn Fn() -> Result<Box<dyn Custodian>, Error> + Send + Sync;

/// How large a pool is and how patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Threads, each with its own connection.
    pub workers: usize,
    /// Jobs that may wait while every worker is busy.
    pub queue: usize,
    /// How long one answer may take, waiting included. A request's own deadline may be earlier.
    pub timeout: Duration,
}

/// Places of a pool, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Threads.
    pub workers: usize,
    /// Jobs waiting or running.
    pub taken: usize,
    /// Jobs that may wait or run.
    pub places: usize,
}

/// The way to one token. Dropping it lets idle workers end; a worker inside a token's call ends when
/// the token answers.
pub struct Pool {
    workers: Workers,
    places: Arc<Semaphore>,
    settings: Settings,
}

/// The threads of a pool. They may outlive it by the call they are in.
#[derive(Clone)]
pub struct Workers {
    queue: Arc<Queue>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// First wait after a failed connection, doubled up to the last: a token that is down is not stormed
/// with logins by every request.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

impl Pool {
    /// Starts the workers. They connect when the first job comes.
    pub fn start(name: &str, settings: Settings, connect: Arc<Connect>) -> std::io::Result<Pool> {
        let queue = Arc::new(Queue::new(settings.workers));
        let gate = Arc::new(Gate { connect, closed: Mutex::new(None) });
        let mut threads = Vec::new();
        for number in 0..settings.workers {
            let (queue, gate) = (queue.clone(), gate.clone());
            let spawned = std::thread::Builder::new().name(format!("{name}#{number}")).spawn({
                let queue = queue.clone();
                move || {
                    Worker { queue: queue.clone(), gate, live: None }.run();
                    queue.ended();
                }
            });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    queue.close();
                    return Err(error);
                }
            }
        }
        let places = settings.workers + settings.queue;
        let workers = Workers { queue, threads: Arc::new(Mutex::new(threads)) };
        Ok(Pool { workers, places: Arc::new(Semaphore::new(places)), settings })
    }

    /// [`Custodian::describe`], freshly from the token, and the custody asked for.
    pub async fn describe(
        &self,
        uri: &KeyUri,
        required: Requirement,
        deadline: Instant,
    ) -> Result<KeyInfo, Error> {
        let uri = uri.clone();
        self.call(deadline, move |live| live.vet(&uri, required)).await
    }

    /// [`Custodian::describe`] for `check`: what the token says, whatever is asked of its custody.
    pub async fn inspect(&self, uri: &KeyUri, deadline: Instant) -> Result<KeyInfo, Error> {
        let uri = uri.clone();
        self.call(deadline, move |live| live.custodian.describe(&uri)).await
    }

    /// [`Custodian::open`]. The key's custody is checked first on every new connection.
    pub async fn open(
        &self,
        uri: &KeyUri,
        required: Requirement,
        sealed: Sealed,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        let uri = uri.clone();
        self.call(deadline, move |live| live.vetted(&uri, required)?.open(&uri, &sealed)).await
    }

    /// [`Custodian::seal`]. The key's custody is checked first on every new connection, because sealing to
    /// a key that can be read would lay the secret open.
    pub async fn seal(
        &self,
        uri: &KeyUri,
        required: Requirement,
        secret: Secret,
        deadline: Instant,
    ) -> Result<Sealed, Error> {
        let uri = uri.clone();
        self.call(deadline, move |live| live.vetted(&uri, required)?.seal(&uri, &secret)).await
    }

    /// [`Custodian::probe`].
    pub async fn probe(&self, deadline: Instant) -> Result<Health, Error> {
        self.call(deadline, |live| live.custodian.probe()).await
    }

    /// To wait for the workers' end when the pool itself is gone.
    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// [`Workers::close`].
    pub fn close(&self, patience: Duration) -> bool {
        self.workers.close(patience)
    }

    /// Places taken and there.
    pub fn usage(&self) -> Usage {
        let places = self.settings.workers + self.settings.queue;
        Usage { workers: self.settings.workers, taken: places - self.places.available_permits(), places }
    }

    async fn call<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl Fn(&mut Live) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
        let deadline = deadline.min(Instant::now() + self.settings.timeout);
        let (answer, answered) = oneshot::channel();
        let job = Job {
            deadline,
            run: Box::new(move |worker| {
                let result = worker.call(deadline, &work);
                // Before the answer, or a caller that asks again at once may find its own place taken.
                drop(place);
                // Nobody may be waiting any more; a secret in the result is then wiped here.
                let _ = answer.send(result);
            }),
        };
        self.workers.queue.push(job);
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Err(_late) => Err(Error::OutOfTime),
            // The job was dropped unrun, which happens only past its deadline.
            Ok(Err(_dropped)) => Err(Error::OutOfTime),
            Ok(Ok(result)) => result,
        }
    }
}

struct Job {
    deadline: Instant,
    /// Owns the place in the queue. Dropping it unrun gives the place back too.
    run: Box<dyn FnOnce(&mut Worker) + Send>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.workers.queue.close();
    }
}

impl Workers {
    /// Ends them, after the jobs that are queued, and waits. False when some still hang in their token. A
    /// process must do this before it exits: exit handlers of the token's library would run while its
    /// sessions are being closed.
    pub fn close(&self, patience: Duration) -> bool {
        self.queue.close();
        let ended = self.queue.wait_for_the_end(patience);
        if ended {
            // What is left of each thread is its thread-local state, of which the token's library has some.
            for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                let _ = thread.join();
            }
        }
        ended
    }

    /// Whether nothing is left of them.
    pub fn have_ended(&self) -> bool {
        self.queue.state().workers == 0
    }
}

/// Jobs that wait for a worker. A lock and a condition, because a channel's receivers spin before they
/// sleep, and here they would spin on the cores that the token's library needs.
struct Queue {
    state: Mutex<QueueState>,
    pushed: Condvar,
    worker_ended: Condvar,
}

struct QueueState {
    jobs: VecDeque<Job>,
    closed: bool,
    workers: usize,
}

impl Queue {
    fn new(workers: usize) -> Queue {
        let state = QueueState { jobs: VecDeque::new(), closed: false, workers };
        Queue { state: Mutex::new(state), pushed: Condvar::new(), worker_ended: Condvar::new() }
    }

    /// After [`Queue::close`] the job is dropped, and with it its place and its caller's hope.
    fn push(&self, job: Job) {
        let mut state = self.state();
        if !state.closed {
            state.jobs.push_back(job);
            drop(state);
            self.pushed.notify_one();
        }
    }

    /// The next job; `None` when the queue is closed and empty.
    fn pop(&self) -> Option<Job> {
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

    fn close(&self) {
        self.state().closed = true;
        self.pushed.notify_all();
    }

    fn ended(&self) {
        self.state().workers -= 1;
        self.worker_ended.notify_all();
    }

    /// Whether every worker ended in time.
    fn wait_for_the_end(&self, patience: Duration) -> bool {
        let wait = self.worker_ended.wait_timeout_while(self.state(), patience, |state| state.workers > 0);
        let (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        state.workers == 0
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens connections for all workers of a token, and keeps them from storming one that is down.
struct Gate {
    connect: Arc<Connect>,
    closed: Mutex<Option<Closed>>,
}

struct Closed {
    until: Instant,
    pause: Duration,
    because: Error,
}

impl Gate {
    fn connect(&self) -> Result<Box<dyn Custodian>, Error> {
        if let Some(closed) = self.closed().as_ref().filter(|closed| Instant::now() < closed.until) {
            return Err(closed.because.clone());
        }
        let result = (self.connect)();
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
struct Live {
    custodian: Box<dyn Custodian>,
    vetted: HashSet<(KeyUri, Requirement)>,
}

impl Live {
    /// The custodian, once the key's custody has been checked on this connection.
    fn vetted(&mut self, uri: &KeyUri, required: Requirement) -> Result<&mut dyn Custodian, Error> {
        if !self.vetted.contains(&(uri.clone(), required)) {
            self.vet(uri, required)?;
        }
        Ok(&mut *self.custodian)
    }

    fn vet(&mut self, uri: &KeyUri, required: Requirement) -> Result<KeyInfo, Error> {
        let key = (uri.clone(), required);
        self.vetted.remove(&key);
        let info = self.custodian.describe(uri)?;
        required.check(&info.custody)?;
        self.vetted.insert(key);
        Ok(info)
    }
}

struct Worker {
    queue: Arc<Queue>,
    gate: Arc<Gate>,
    live: Option<Live>,
}

impl Worker {
    fn run(mut self) {
        while let Some(job) = self.queue.pop() {
            if Instant::now() < job.deadline {
                (job.run)(&mut self);
            }
        }
    }

    /// Runs `work` on the connection, made if there is none. A kept connection that turns out to be
    /// dead is replaced once: after a token's restart nobody needs to see an error.
    fn call<T>(
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
            self.live = None;
        }
        result
    }
}

#[cfg(test)]
mod tests;
