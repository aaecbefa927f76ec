//! The audit log: one JSON line a request, on disk before key material leaves.
//!
//! Appends are committed in groups: one thread writes all the records that wait and flushes them with
//! one fdatasync, so that sixteen callers share one flush. [`Receipt`] is the proof of a record on disk,
//! and only a receipt turns an opened packet into something that can be answered.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_wire::{Labels, OptsData};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{mpsc, oneshot};

use crate::caller::Caller;
use crate::request::Request;

mod refusals;
mod writer;

use refusals::{MAX_CALLERS, Refusals};
use writer::{Job, Writer};

/// What is known of a request when it is over.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// "unwrap" or "wrap".
    pub event: &'static str,
    /// "released", "wrapped", or a failure's reason in lower case.
    pub outcome: String,
    /// The aliases it was about, where it got so far.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<&'a str>,
    /// The `kid` of each key that opened it, or that it was wrapped to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kids: Vec<&'a str>,
    /// Digest of the plaintext layer, as the opened packet says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<&'a str>,
    /// "jwe", "pkcs7", "pgp", "pkcs11" or "provider": of the packet that was opened or made, or of those tried.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub schemes: &'a [&'static str],
    /// The packet's labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: &'a Labels,
    /// How often a token was asked to open or seal something.
    pub token_calls: usize,
}

/// The whole line.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request: String,
    #[serde(flatten)]
    caller: CallerFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    #[serde(flatten)]
    record: &'a Record<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<&'a str>,
    microseconds: u128,
    /// Refusals of this caller that were not written one by one since its last line.
    #[serde(skip_serializing_if = "is_zero")]
    suppressed: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CallerFields<'a> {
    Unix { uid: u32, gid: u32 },
    Tls { tls: &'a [String] },
    Loopback { loopback: bool },
}

impl<'a> From<&'a Caller> for CallerFields<'a> {
    fn from(caller: &'a Caller) -> Self {
        match caller {
            Caller::Unix { uid, gid } => CallerFields::Unix { uid: *uid, gid: *gid },
            Caller::Tls { names } => CallerFields::Tls { tls: names },
            Caller::Loopback => CallerFields::Loopback { loopback: true },
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Proof that a record is on disk.
#[must_use]
pub struct Receipt(());

/// An opened packet whose content nobody may see yet.
pub struct Opened(OptsData);

/// Key material that may be answered: a record of it is on disk.
pub struct Released(OptsData);

impl Opened {
    pub(crate) fn new(optsdata: OptsData) -> Opened {
        Opened(optsdata)
    }

    /// Digest of the plaintext layer; no secret.
    pub fn layer(&self) -> &str {
        self.0.digest()
    }
}

impl Receipt {
    /// Lets an opened packet out.
    pub fn release(self, opened: Opened) -> Released {
        Released(opened.0)
    }
}

impl Released {
    /// What was wrapped.
    pub fn optsdata(&self) -> &OptsData {
        &self.0
    }
}

/// A request whose record is still to come.
pub struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The log could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditDown;

/// The audit log. Clones write the same file.
#[derive(Clone)]
pub struct Audit {
    jobs: mpsc::Sender<Job>,
    down: Arc<AtomicBool>,
    /// Requests that will append a record soon.
    under_way: Arc<AtomicUsize>,
    refusals: Arc<Mutex<HashMap<Caller, Refusals>>>,
}

impl Audit {
    /// Opens the file, or makes it, and starts the writer.
    pub fn open(path: &Path) -> io::Result<Audit> {
        let writer = Writer::open(path)?;
        let (jobs, queue) = mpsc::channel(4096);
        let down = Arc::new(AtomicBool::new(false));
        let under_way = Arc::new(AtomicUsize::new(0));
        // For waiting with a deadline, on a thread that has nothing else to do.
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (shared, others) = (down.clone(), under_way.clone());
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || clock.block_on(writer.run(queue, &shared, &others)))?;
        Ok(Audit { jobs, down, under_way, refusals: Arc::default() })
    }

    /// Says that a record will follow: the writer gives the records of requests that are under way at the
    /// same time a moment to share its flush. A request that is alone is not waited for.
    pub fn begin(&self) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.under_way.clone())
    }

    /// Whether a key may be used: after a failed append, not before one has succeeded.
    pub async fn ready(&self) -> Result<(), AuditDown> {
        if self.down.load(Ordering::Acquire) { self.submit(Vec::new()).await } else { Ok(()) }
    }

    /// Goes on in the file at `path`, made if it is not there: after a rotation, or when the
    /// configuration names another. What was appended before stands in the old one. When it cannot be
    /// opened the old file stays in use.
    pub async fn reopen(&self, path: &Path) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        let ended = || io::Error::other("the audit writer has ended");
        self.jobs.try_send(Job::Reopen { path: path.to_owned(), done }).map_err(|_| ended())?;
        result.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Whether the last append failed.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Writes a record; it is on disk when this returns.
    pub async fn append(&self, request: &Request, record: &Record<'_>) -> Result<Receipt, AuditDown> {
        let suppressed = self.refusals().get_mut(request.caller()).map_or(0, Refusals::take_suppressed);
        self.submit(line(request, record, suppressed)).await.map(|()| Receipt(()))
    }

    /// Writes the record of a refusal that touched no key. Nobody waits for it, and a caller that is
    /// refused over and over is counted instead of filling the disk.
    pub fn note_refusal(&self, request: &Request, record: &Record<'_>) {
        let suppressed = {
            let mut refusals = self.refusals();
            if refusals.len() > MAX_CALLERS {
                refusals.retain(|_, refusals| refusals.is_remembered());
            }
            match refusals.entry(request.caller().clone()).or_default().admit() {
                Some(suppressed) => suppressed,
                None => return,
            }
        };
        let job = Job::Append { line: line(request, record, suppressed), done: None };
        if self.jobs.try_send(job).is_err() {
            tracing::warn!(request = %request.id, "the audit queue is full; a refusal was not recorded");
        }
    }

    async fn submit(&self, line: Vec<u8>) -> Result<(), AuditDown> {
        let (done, result) = oneshot::channel();
        self.jobs.try_send(Job::Append { line, done: Some(done) }).map_err(|_| AuditDown)?;
        result.await.unwrap_or(Err(AuditDown))
    }

    fn refusals(&self) -> std::sync::MutexGuard<'_, HashMap<Caller, Refusals>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(request: &Request, record: &Record<'_>, suppressed: u64) -> Vec<u8> {
    let line = Line {
        time: now(),
        request: request.id.to_string(),
        caller: request.caller().into(),
        pid: request.peer.pid,
        address: request.peer.address,
        record,
        manifest: request.manifest.as_deref(),
        microseconds: request.begun.elapsed().as_micros(),
        suppressed,
    };
    // Strings and numbers of our own types: serialization cannot fail.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
