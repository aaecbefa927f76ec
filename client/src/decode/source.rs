//! Where the ciphertext is read from: a complete file where there is one, else the stream.

use std::fs::File;
use std::io::{self, Chain, Cursor, Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Instant;

use holdfast_image::{Digest, Error};

use super::blob::{self, Blob, PREFIX_LEN};
use super::inherited::readable;
use crate::failure::Failure;

/// Stdin, as it was found.
pub(crate) enum Source {
    /// A file, from its beginning: nothing says of which digest, unless it lies in a content store.
    File(File, Option<(PathBuf, Digest)>),
    /// A pipe: what has been read of it, the rest, and the files that begin alike.
    Pipe(Cursor<Vec<u8>>, File, Vec<Blob>),
}

impl Source {
    pub(crate) fn of_stdin() -> Result<Source, Failure> {
        let unreadable = |error| {
            Failure::line(format!("cannot read the layer on stdin: {error}; containerd writes it there"))
        };
        // Not through io::stdin(), whose buffer would be one more copy.
        let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?);
        let is_file = stdin.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file && stdin.stream_position().is_ok_and(|position| position == 0) {
            let lies = std::fs::read_link("/proc/self/fd/0").ok().and_then(|path| blob::named(&path));
            return Ok(Source::File(stdin, lies));
        }
        let mut prefix = Vec::with_capacity(PREFIX_LEN);
        (&mut stdin).take(PREFIX_LEN as u64).read_to_end(&mut prefix).map_err(unreadable)?;
        let blobs = blob::find(&prefix);
        Ok(Source::Pipe(Cursor::new(prefix), stdin, blobs))
    }

    /// The layer of this digest.
    pub(crate) fn select(self, digest: &Digest) -> Selected {
        match self {
            Source::File(file, _) => Selected::File(file),
            Source::Pipe(prefix, stdin, blobs) => {
                match blobs.into_iter().find(|blob| blob.digest == *digest) {
                    Some(blob) => Selected::File(blob.file),
                    None => Selected::Stream(prefix.chain(stdin)),
                }
            }
        }
    }

    /// The files that it may be, with their digests and where they lie.
    pub(crate) fn blobs(self) -> Vec<Blob> {
        match self {
            Source::File(file, Some((directory, digest))) => match file.metadata() {
                Ok(metadata) => vec![Blob { file, digest, size: metadata.len(), directory }],
                Err(_) => Vec::new(),
            },
            Source::File(_, None) => Vec::new(),
            Source::Pipe(_, _, blobs) => blobs,
        }
    }
}

/// One layer's bytes.
pub(crate) enum Selected {
    /// All of them.
    File(File),
    /// As they come.
    Stream(Stream),
}

/// What has been read of stdin, and the rest.
pub(crate) type Stream = Chain<Cursor<Vec<u8>>, File>;

/// Nothing may follow the blob's `size` bytes; whoever writes it has until the deadline to say so.
pub(crate) fn at_end(stream: Stream, size: u64, deadline: Instant) -> Result<(), Error> {
    let unreadable = |source| Error::Io { what: "cannot read the layer".to_owned(), source };
    let (head, mut stdin) = stream.into_inner();
    let read_all = head.position() == head.get_ref().len() as u64;
    let ended = read_all
        && readable(stdin.as_fd(), deadline).map_err(unreadable)?
        && stdin.read(&mut [0]).map_err(unreadable)? == 0;
    if ended {
        return Ok(());
    }
    Err(Error::Damaged(format!(
        "the layer on stdin does not end after the {size} bytes that its descriptor gives; copy the image again from its source"
    )))
}
