//! The worker pool of one token: threads that each own a connection, a bounded queue before them.
//!
//! A place is taken before a job queues and is given back when the token has answered, not when the
//! caller leaves: a hung token fills its own queue and nothing else. Threads of its own, because a
//! shared pool of blocking threads would be eaten by one hung HSM.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use holdfast_wire::{KeyUri, Sealed, Secret};
use tokio::sync::{Semaphore, oneshot};

use crate::{Custodian, Error, Health, KeyInfo, Requirement};

mod queue;
mod worker;

use queue::Queue;
use worker::{Gate, Job, Live, Worker};

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
    gate: Arc<Gate>,
    places: Arc<Semaphore>,
    settings: Settings,
}

/// The threads of a pool. They may outlive it by the call they are in.
#[derive(Clone)]
pub struct Workers {
    queue: Arc<Queue<Job>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Pool {
    /// Starts the workers. They connect when the first job comes.
    pub fn start(name: &str, settings: Settings, connect: Arc<Connect>) -> std::io::Result<Pool> {
        let queue = Arc::new(Queue::new(settings.workers));
        let gate = Arc::new(Gate::new(connect));
        let mut threads = Vec::new();
        for number in 0..settings.workers {
            let spawned = std::thread::Builder::new().name(format!("{name}#{number}")).spawn({
                let (queue, gate) = (queue.clone(), gate.clone());
                move || {
                    Worker::new(queue.clone(), gate).run();
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
        Ok(Pool { workers, gate, places: Arc::new(Semaphore::new(places)), settings })
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

    /// How many connections turned out to be dead so far. What a token answered while this number changed
    /// may not be the truth about a key: a token that somebody logged out in that moment refuses a good
    /// ciphertext like a bad one.
    pub fn lost_connections(&self) -> u64 {
        self.gate.lost()
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
        self.queue.workers() == 0
    }
}

#[cfg(test)]
mod tests;
