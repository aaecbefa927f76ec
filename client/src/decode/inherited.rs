//! The file descriptors that a stream processor is given: 0 the encrypted layer, 3 the payload.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Where containerd puts the payload.
const PAYLOAD: &str = "/proc/self/fd/3";

/// The payload's end of a pipe, or a file, where there is one.
#[derive(Default)]
pub(crate) struct Inherited(Option<File>);

impl Inherited {
    /// To be called before anything is opened, as that would become file descriptor 3. It is opened again by
    /// its name in /proc, which needs no unsafe code; the original stays open, and is only a pipe's read end.
    pub(crate) fn look() -> Inherited {
        let payload = |metadata: std::fs::Metadata| {
            // An empty file is what containerd itself has inherited from whoever started it, a lock for one.
            metadata.file_type().is_fifo() || (metadata.is_file() && metadata.len() > 0)
        };
        if !std::fs::metadata(PAYLOAD).is_ok_and(payload) {
            return Inherited(None);
        }
        Inherited(File::open(PAYLOAD).ok())
    }

    /// All of it, or the first `most` bytes and one more. Its writer has until `deadline`.
    pub(crate) fn read(self, most: usize, deadline: Instant) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let Some(mut file) = self.0 else {
            return Ok(None);
        };
        let late = || {
            Failure::line(
                "the payload on file descriptor 3 did not end in time; containerd writes it when it starts its stream processor",
            )
        };
        let unreadable = |error| {
            Failure::line(format!(
                "the payload on file descriptor 3 cannot be read: {error}; containerd writes it when it starts its stream processor"
            ))
        };
        let mut bytes = Zeroizing::new(vec![0; 16 * 1024]);
        let mut len = 0;
        while len <= most {
            if len == bytes.len() {
                // Growing in place would leave a copy behind.
                let mut larger = Zeroizing::new(vec![0; (4 * len).min(most + 1)]);
                larger[..len].copy_from_slice(&bytes);
                bytes = larger;
            }
            if !readable(file.as_fd(), deadline).map_err(unreadable)? {
                return Err(late());
            }
            match file.read(&mut bytes[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        bytes.truncate(len);
        Ok(Some(bytes))
    }
}

/// Waits until there is something to read, the end included; false when there is nothing by `deadline`.
pub(crate) fn readable(fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
