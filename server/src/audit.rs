//! The audit log: one JSON line a request, on disk before key material leaves.
//!
//! Appends are committed in groups: one thread writes all the records that wait and flushes them with
//! one fdatasync, so that sixteen callers share one flush. [`Receipt`] is the proof of a record on disk,
//! and only a receipt turns an opened packet into something that can be answered.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use holdfast_wire::{Labels, OptsData};
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;

use crate::caller::Caller;
use crate::request::Request;

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
    /// Thumbprint of the key that opened it, or that it was wrapped to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kids: Vec<&'a str>,
    /// Digest of the plaintext layer, as the opened packet says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<&'a str>,
    /// The packet's labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: &'a Labels,
    /// How often a token was asked to open something.
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
    jobs: Sender<Job>,
    down: Arc<AtomicBool>,
    /// Requests that will append a record soon.
    under_way: Arc<AtomicUsize>,
    refusals: Arc<Mutex<HashMap<Caller, Refusals>>>,
}

enum Job {
    Append {
        line: Vec<u8>,
        done: Option<oneshot::Sender<Result<(), AuditDown>>>,
    },
    /// Go on in the file that is at this path now.
    Reopen {
        path: PathBuf,
        done: oneshot::Sender<io::Result<()>>,
    },
}

impl Audit {
    /// Opens the file, or makes it, and starts the writer.
    pub fn open(path: &Path) -> io::Result<Audit> {
        let writer = Writer::open(path)?;
        let (jobs, queue) = crossbeam_channel::bounded(4096);
        let down = Arc::new(AtomicBool::new(false));
        let under_way = Arc::new(AtomicUsize::new(0));
        let (shared, others) = (down.clone(), under_way.clone());
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run(&queue, &shared, &others))?;
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

/// Callers remembered before those without suppressed refusals are forgotten.
const MAX_CALLERS: usize = 1024;
/// Refusals of one caller written at once, and how many more each second.
const REFUSAL_BURST: f64 = 20.0;
const REFUSALS_PER_SECOND: f64 = 1.0;

/// A token bucket for one caller's refusals.
struct Refusals {
    left: f64,
    at: Instant,
    suppressed: u64,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals { left: REFUSAL_BURST, at: Instant::now(), suppressed: 0 }
    }
}

impl Refusals {
    /// `Some` with the number suppressed before when this one is to be written.
    fn admit(&mut self) -> Option<u64> {
        let now = Instant::now();
        let gained = now.duration_since(self.at).as_secs_f64() * REFUSALS_PER_SECOND;
        self.left = (self.left + gained).min(REFUSAL_BURST);
        self.at = now;
        if self.left < 1.0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1.0;
        Some(self.take_suppressed())
    }

    fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    fn is_remembered(&self) -> bool {
        self.suppressed > 0 || self.at.elapsed() < Duration::from_secs(60)
    }
}

/// The thread that owns the file.
struct Writer {
    path: PathBuf,
    file: File,
    /// Bytes that are whole records on disk; `None` for what is not a regular file.
    good: Option<u64>,
}

/// Records that share a flush.
#[derive(Default)]
struct Group {
    records: usize,
    bytes: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), AuditDown>>>,
}

impl Group {
    /// Adds a record. A reopening is handed back: what came before it belongs into the old file.
    fn take(&mut self, job: Job) -> Option<(PathBuf, oneshot::Sender<io::Result<()>>)> {
        match job {
            Job::Append { line, done } => {
                self.records += 1;
                self.bytes.extend_from_slice(&line);
                self.waiting.extend(done);
                None
            }
            Job::Reopen { path, done } => Some((path, done)),
        }
    }
}

/// Records written with one flush at most.
const GROUP: usize = 512;
/// How long a record waits for others to share its flush.
const GATHER: Duration = Duration::from_millis(2);
/// Bytes that must be free before a full disk counts as mended.
const RESERVE: u64 = 16 * 1024;

impl Writer {
    fn open(path: &Path) -> io::Result<Writer> {
        let file = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path)?;
        let good = if file.metadata()?.is_file() {
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process writes this audit log")
            })?;
            Some(cut_torn_record(&file)?)
        } else {
            None
        };
        // A file that did not exist a moment ago must be found again after a power cut.
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            File::open(dir)?.sync_all()?;
        }
        Ok(Writer { path: path.to_owned(), file, good })
    }

    fn run(mut self, queue: &Receiver<Job>, down: &AtomicBool, under_way: &AtomicUsize) {
        while let Ok(first) = queue.recv() {
            let mut group = Group::default();
            let mut reopen = group.take(first);
            let until = Instant::now() + GATHER;
            while reopen.is_none() && group.records < GROUP {
                let next = match queue.try_recv() {
                    Ok(job) => job,
                    // Each of these requests holds its place until its own record is written.
                    Err(_) if group.records >= under_way.load(Ordering::Relaxed) => break,
                    Err(_) => match queue.recv_deadline(until) {
                        Ok(job) => job,
                        Err(_) => break,
                    },
                };
                reopen = group.take(next);
            }
            self.commit_and_tell(group, down);
            if let Some((path, done)) = reopen {
                let _ = done.send(self.reopen(&path));
            }
        }
    }

    fn commit_and_tell(&mut self, group: Group, down: &AtomicBool) {
        if group.records == 0 {
            return;
        }
        let result = self.commit(&group.bytes, down.load(Ordering::Acquire));
        let was_down = down.swap(result.is_err(), Ordering::AcqRel);
        match &result {
            Err(error) if !was_down => {
                let path = self.path.display();
                tracing::error!(%error, %path, "the audit log cannot be written; no key is used until it can");
            }
            Ok(()) if was_down => tracing::info!("the audit log is written again"),
            _ => {}
        }
        for done in group.waiting {
            let _ = done.send(result.as_ref().map(|_| ()).map_err(|_| AuditDown));
        }
    }

    /// After a failure the file is opened anew and a line says so, in one write with what waits: "ready"
    /// means that something was really written.
    fn commit(&mut self, bytes: &[u8], was_down: bool) -> io::Result<()> {
        if !was_down {
            return self.append(bytes);
        }
        self.reopen(&self.path.clone())?;
        self.reserve()?;
        let mut resumed = format!("{{\"time\":\"{}\",\"event\":\"audit-resumed\"}}\n", now()).into_bytes();
        resumed.extend_from_slice(bytes);
        self.append(&resumed)
    }

    /// Room for more than the line that says so: on a disk with a few bytes left that line would fit, the
    /// next record would not, and a token would have been used for nothing.
    fn reserve(&self) -> io::Result<()> {
        let Some(good) = self.good else { return Ok(()) };
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, good, RESERVE) {
            // Some file systems cannot; then the next append finds out.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match (&result, &mut self.good) {
            (Ok(()), Some(good)) => *good += bytes.len() as u64,
            // A torn record would make the next one unreadable. Cut, never grown: somebody may have
            // emptied the file meanwhile.
            (Err(_), Some(good)) => {
                let whole = self.file.metadata().map_or(*good, |file| file.len().min(*good));
                let _ = self.file.set_len(whole);
                *good = whole;
            }
            _ => {}
        }
        result
    }

    fn reopen(&mut self, path: &Path) -> io::Result<()> {
        // It may be the same file: its lock must be free before it can be taken again, and is taken
        // back when the other file cannot be opened.
        let regular = self.good.is_some();
        if regular {
            rustix::fs::flock(&self.file, FlockOperation::Unlock)?;
        }
        match Writer::open(path) {
            Ok(fresh) => {
                *self = fresh;
                Ok(())
            }
            Err(error) => {
                if regular {
                    let _ = rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive);
                }
                Err(error)
            }
        }
    }
}

/// A record without its newline was never answered (the process died while writing it): it is cut.
/// Returns the length that remains.
fn cut_torn_record(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let len = file.metadata()?.len();
    let mut whole = len;
    let mut block = [0; 4096];
    while whole > 0 {
        let from = whole.saturating_sub(block.len() as u64);
        let block = &mut block[..(whole - from) as usize];
        file.read_exact_at(block, from)?;
        if let Some(newline) = block.iter().rposition(|byte| *byte == b'\n') {
            whole = from + newline as u64 + 1;
            break;
        }
        whole = from;
    }
    if whole < len {
        tracing::warn!(
            bytes = len - whole,
            "the audit log ended in half a record, which was never answered; it was cut"
        );
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests;
