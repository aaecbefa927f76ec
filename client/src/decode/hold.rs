//! Why a decoder failed must reach whoever started it. containerd reads the layer until its end and then
//! looks at once whether the decoder has failed; but the kernel closes a process's files before it tells the
//! exit, so that look always comes too early, and half of the failures become "wrong diff id".
//!
//! So a second process keeps the layer's pipe open a little longer: until the decoder's exit has been fetched
//! (its entry in /proc is gone) and containerd has had a moment to note it down. It is told how the decoder
//! ended, so that one that was started early also serves a decoder that was killed. It holds nothing else that
//! containerd waits for: its copy of file descriptor 3 is a read end of a pipe that nobody writes to any more.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden verb that [`hold`] does: `holdfast hold PID`.
pub(crate) const VERB: &str = "hold";

/// From the decoder's end until containerd has it noted down. 20 ms have never been too few.
const GRACE: Duration = Duration::from_millis(100);
/// Longest wait for somebody to fetch the exit.
const LONGEST: Duration = Duration::from_secs(5);
/// Time between two looks: the kernel tells nobody but the parent.
const LOOK: Duration = Duration::from_millis(1);

/// How the decoder ends, as it tells its holder.
const DONE: u8 = b'd';
const FAILED: u8 = b'f';

/// Layers longer than this are worth a process that is only needed if this one is killed; shorter ones are
/// done before it would have started.
const SHORT: u64 = 256 * 1024;

/// The process that keeps stdout open, if there is one. To drop this without a word is what a killed decoder
/// does.
#[derive(Default)]
pub(crate) struct Holder(Option<ChildStdin>);

impl Holder {
    /// Work on a layer of so many bytes begins.
    pub(crate) fn begin(&mut self, size: u64) {
        if size > SHORT {
            self.start();
        }
    }

    /// All is well: the pipe may close.
    pub(crate) fn release(self) {
        self.tell(DONE);
    }

    /// The line is on stderr.
    pub(crate) fn keep(mut self) {
        self.start();
        self.tell(FAILED);
    }

    /// Where stdout is a pipe. A holder that cannot be started leaves things as they are without one.
    fn start(&mut self) {
        let is_pipe = || std::fs::metadata("/proc/self/fd/1").is_ok_and(|one| one.file_type().is_fifo());
        if self.0.is_none() && is_pipe() {
            let mut command = Command::new("/proc/self/exe");
            command.args([VERB, &std::process::id().to_string()]).stdin(Stdio::piped());
            self.0 = command.spawn().ok().and_then(|child| child.stdin);
        }
    }

    fn tell(self, how: u8) {
        if let Some(mut pipe) = self.0 {
            // One that is gone needs to know nothing.
            let _ = pipe.write_all(&[how]);
        }
    }
}

/// The holder's whole life. `pid` is the decoder's.
pub(crate) fn hold(pid: &str) {
    let mut how = [0];
    let told = io::stdin().read(&mut how).unwrap_or(0);
    if told > 0 && how[0] == DONE {
        return;
    }
    if told == 0 {
        // Nowhere is left to tell that stderr cannot be written.
        let _ = writeln!(
            io::stderr(),
            "holdfast: decode was killed before it was done; see the kernel's log, it may have been out of memory"
        );
    }
    // containerd waits for the end of stderr before it notes the exit down.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stderr(null);
    }
    let decoder = PathBuf::from("/proc").join(pid);
    let begun = Instant::now();
    while decoder.exists() && begun.elapsed() < LONGEST {
        std::thread::park_timeout(LOOK);
    }
    let fetched = Instant::now();
    while fetched.elapsed() < GRACE {
        std::thread::park_timeout(GRACE);
    }
}
