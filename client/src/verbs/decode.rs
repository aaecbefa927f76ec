//! One layer, decrypted from stdin to stdout: containerd's stream processor.
//!
//! A failure is one line on stderr and exit code 1; containerd puts the line into its own error. Notes are
//! printed when all has gone well, so that they never stand beside that line.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Cursor, IsTerminal as _, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Instant;

use holdfast_image::{EncryptedLayer, Error, Payload, cipher, printable};

use crate::cli::{Common, Decode};
use crate::decode::{self, Inherited};
use crate::failure::Failure;

pub(crate) fn run(common: &Common, wanted: &Decode, inherited: Inherited) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::line(
            "decode reads an encrypted layer on stdin; containerd starts it, see its stream_processors",
        ));
    }
    let deadline = Instant::now() + common.timeout;
    let payload = inherited.read(Payload::MAX_LEN, deadline)?;
    let mut notes = Notes::default();
    let layer = match payload {
        Some(bytes) => {
            let payload = Payload::parse(&bytes)?;
            if payload.private_values > 0 {
                notes.warnings.push(format!(
                    "{} private keys or passwords came along with the layer and were dropped; holdfastd has the keys, so give containerd none",
                    payload.private_values
                ));
            }
            payload.layer
        }
        None => {
            return Err(Failure::line("there is no payload on file descriptor 3; containerd writes it there"));
        }
    };
    let source = Source::of(&layer)?;
    let answer = decode::ask(common, &layer.packets, None, deadline)?;
    notes.details.push(format!(
        "opened with {} (request {})",
        printable(&answer.alias),
        printable(&answer.request_id)
    ));
    notes.details.push(source.told().to_owned());
    let mut out = File::from(own(io::stdout().as_fd().try_clone_to_owned(), "stdout")?);
    let write = |plain: &[u8]| out.write_all(plain).map_err(unwritable);
    match source {
        Source::File(file) => {
            cipher::verify_whole(file, layer.size, &layer.public, &answer.optsdata)?.release(write)?;
        }
        Source::Stream(head, stdin) => {
            let end = |source: io::Chain<Cursor<Vec<u8>>, File>| at_end(source, layer.size, deadline);
            cipher::stream(head.chain(stdin), layer.size, &layer.public, &answer.optsdata, write, end)?;
        }
    }
    notes.print(wanted.verbose);
    Ok(())
}

/// Where the ciphertext is read from.
enum Source {
    /// A complete file.
    File(File),
    /// Stdin, and what has been read of it.
    Stream(Cursor<Vec<u8>>, File),
}

impl Source {
    fn of(layer: &EncryptedLayer) -> Result<Source, Failure> {
        let mut stdin = File::from(own(io::stdin().as_fd().try_clone_to_owned(), "stdin")?);
        let is_file = stdin.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file && stdin.stream_position().is_ok_and(|position| position == 0) {
            return Ok(Source::File(stdin));
        }
        let prefix = decode::prefix(&mut stdin, decode::PREFIX_LEN).map_err(|error| {
            Failure::line(format!("cannot read the layer on stdin: {error}; containerd writes it there"))
        })?;
        let blob = decode::find(&prefix)
            .into_iter()
            .find(|blob| blob.digest == layer.digest && blob.size == layer.size);
        Ok(match blob {
            Some(blob) => Source::File(blob.file),
            None => Source::Stream(Cursor::new(prefix), stdin),
        })
    }

    fn told(&self) -> &'static str {
        match self {
            Source::File(_) => "all of the layer was checked before the first byte was written",
            Source::Stream(..) => {
                "the layer is no file that can be found, so it was written as it came and its end kept back until it had been checked"
            }
        }
    }
}

/// Nothing may follow the blob; whoever writes it has until the deadline to say so.
fn at_end(source: io::Chain<Cursor<Vec<u8>>, File>, size: u64, deadline: Instant) -> Result<(), Error> {
    let unreadable = |source| Error::Io { what: "cannot read the layer".to_owned(), source };
    let (head, mut stdin) = source.into_inner();
    let read_all = head.position() == head.get_ref().len() as u64;
    let ended = read_all
        && decode::readable(stdin.as_fd(), deadline).map_err(unreadable)?
        && stdin.read(&mut [0]).map_err(unreadable)? == 0;
    if ended {
        return Ok(());
    }
    Err(Error::Damaged(format!(
        "the layer on stdin does not end after the {size} bytes that its descriptor gives; copy the image again from its source"
    )))
}

fn own(fd: io::Result<OwnedFd>, name: &str) -> Result<OwnedFd, Failure> {
    fd.map_err(|error| Failure::line(format!("{name} cannot be used: {error}; containerd opens it")))
}

fn unwritable(source: io::Error) -> Error {
    Error::Io { what: "cannot write the layer to stdout".to_owned(), source }
}

/// What is told when all has gone well.
#[derive(Default)]
struct Notes {
    warnings: Vec<String>,
    details: Vec<String>,
}

impl Notes {
    fn print(&self, verbose: bool) {
        let details = self.details.iter().filter(|_| verbose);
        let mut text = String::new();
        for (kind, note) in
            self.warnings.iter().map(|note| ("warning", note)).chain(details.map(|note| ("note", note)))
        {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "holdfast: {kind}: {note}");
        }
        // Not a failure, and nowhere is left to tell that stderr cannot be written.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
