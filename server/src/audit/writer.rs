//! The thread that owns the audit file: whole records, flushed in groups, and a disk that may be full.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use super::{AuditDown, now};

/// What the writer is asked to do.
pub(super) enum Job {
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

/// The thread that owns the file.
pub(super) struct Writer {
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
    pub(super) fn open(path: &Path) -> io::Result<Writer> {
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

    /// Until nobody can append any more. The thread is its own: it blocks on the disk.
    pub(super) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Job>,
        down: &AtomicBool,
        under_way: &AtomicUsize,
    ) {
        while let Some(first) = queue.recv().await {
            let mut group = Group::default();
            let mut reopen = group.take(first);
            let until = Instant::now() + GATHER;
            while reopen.is_none() && group.records < GROUP {
                let next = match queue.try_recv() {
                    Ok(job) => job,
                    // Each of these requests holds its place until its own record is written.
                    Err(_) if group.records >= under_way.load(Ordering::Relaxed) => break,
                    Err(_) => match timeout_at(until.into(), queue.recv()).await {
                        Ok(Some(job)) => job,
                        Ok(None) | Err(_) => break,
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
