//! One layer, decrypted from stdin to stdout: containerd's stream processor.
//!
//! A failure is one line on stderr and exit code 1; containerd puts the line into its own error. Notes are
//! printed when all has gone well, so that they never stand beside that line.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Instant;

use holdfast_image::{Error, Payload, cipher, printable};

use crate::cli::{Common, Decode};
use crate::daemon::Unanswered;
use crate::decode::{self, Candidate, Holder, Inherited, Selected, Source};
use crate::failure::Failure;
use crate::layer_key::LayerKey;

pub(crate) fn run(
    common: &Common,
    wanted: &Decode,
    inherited: Inherited,
    holder: &mut Holder,
) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::line(
            "decode reads an encrypted layer on stdin; containerd starts it, see its stream_processors",
        ));
    }
    if io::stdout().is_terminal() {
        return Err(Failure::line("a layer is binary and stdout is a terminal; send it to a file"));
    }
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(unwritable)?;
    let mut notes = Notes::default();
    match inherited.read(Payload::MAX_LEN, Instant::now() + common.timeout)? {
        Some(bytes) => {
            let payload = Payload::parse(&bytes)?;
            drop(bytes);
            holder.begin(payload.layer.size);
            with_payload(common, &payload, File::from(stdout), &mut notes)?;
        }
        None => {
            let candidates = decode::candidates(Source::of_stdin()?.blobs(), wanted.single_manifest)?;
            holder.begin(candidates.iter().map(|one| one.layer.size).max().unwrap_or_default());
            without_payload(common, candidates, File::from(stdout), &mut notes)?;
        }
    }
    notes.print(wanted.verbose);
    Ok(())
}

fn with_payload(common: &Common, payload: &Payload, mut out: File, notes: &mut Notes) -> Result<(), Failure> {
    if payload.private_values > 0 {
        notes.warnings.push(format!(
            "{} private keys or passwords came along with the layer and were dropped; holdfastd has the keys, so give containerd none",
            payload.private_values
        ));
    }
    let layer = &payload.layer;
    let selected = Source::of_stdin()?.select(&layer.digest);
    let deadline = Instant::now() + common.timeout;
    let answer = decode::ask(common, &layer.packets, None, deadline)?;
    notes.opened(&answer);
    let write = |plain: &[u8]| out.write_all(plain).map_err(unwritable);
    match selected {
        Selected::File(file) => {
            notes.details.push("all of the layer was checked before its first byte was written".to_owned());
            cipher::verify_whole(file, layer.size, &layer.public, &answer.optsdata)?.release(write)?;
        }
        Selected::Stream(stream) => {
            notes.details.push(
                "the layer is no file that can be found: it was written as it came, and its end kept back until all of it had been checked"
                    .to_owned(),
            );
            let at_end = |stream| decode::at_end(stream, layer.size, Instant::now() + common.timeout);
            cipher::stream(stream, layer.size, &layer.public, &answer.optsdata, write, at_end)?;
        }
    }
    Ok(())
}

/// Tries what the manifests say, one after the other, so that the daemon's audit log has the manifest whose
/// packet it was. The MAC and the plaintext's digest decide.
fn without_payload(
    common: &Common,
    candidates: Vec<Candidate>,
    mut out: File,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let (count, mut first) = (candidates.len(), None);
    for Candidate { file, layer, manifest } in candidates {
        let deadline = Instant::now() + common.timeout;
        let answer = match decode::ask(common, &layer.packets, Some(&manifest), deadline) {
            Ok(answer) => answer,
            // No other packet is opened by a daemon that is not there.
            Err(Unanswered { failure, may_pass: true, .. }) => return Err(failure),
            Err(Unanswered { failure, .. }) => {
                first.get_or_insert((manifest, failure));
                continue;
            }
        };
        let verified = cipher::verify_whole(file, layer.size, &layer.public, &answer.optsdata)
            .and_then(|verified| verified.begins_as(&layer.media_type));
        match verified {
            Ok(verified) => {
                notes.opened(&answer);
                notes.details.push(format!("there was no payload: the packets of manifest {manifest} were used, one of {count} that were found"));
                return Ok(verified.release(|plain| out.write_all(plain).map_err(unwritable))?);
            }
            Err(error) => {
                first.get_or_insert((manifest, error.into()));
            }
        }
    }
    Err(match first {
        Some((_, failure)) if count == 1 => failure,
        Some((manifest, failure)) => Failure::line(format!(
            "none of the newest {count} manifests that name the layer opens it, the newest of all ({}) because: {failure}",
            manifest.short()
        )),
        None => Failure::line("no manifest names the layer; pull the image again"),
    })
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
    fn opened(&mut self, answer: &LayerKey) {
        self.details.push(format!("opened with {} (request {})", answer.alias, answer.request_id));
    }

    fn print(&self, verbose: bool) {
        let warnings = self.warnings.iter().map(|note| ("warning", note));
        let details = self.details.iter().filter(|_| verbose).map(|note| ("note", note));
        let mut text = String::new();
        for (kind, note) in warnings.chain(details) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "holdfast: {kind}: {}", printable(note));
        }
        // Not a failure, and nowhere is left to tell that stderr cannot be written.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
