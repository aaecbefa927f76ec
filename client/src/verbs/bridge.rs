//! One call of ocicrypt's key provider protocol, for programs that start a provider (`cmd`) instead of
//! calling one: the request's JSON on stdin until its end, the answer's on stdout.
//!
//! What goes wrong is one line on stderr and exit code 1, which ocicrypt puts into its own error; a
//! request that was not answered leaves stdout empty. Nothing is decided here: that is the daemon's.

mod forwarded;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd as _;

use holdfast_wire::grpc::MAX_MESSAGE_LEN;
use zeroize::Zeroizing;

use self::forwarded::{Call, Forwarded};
use crate::cli::Common;
use crate::daemon::Daemon;
use crate::failure::Failure;

pub(crate) fn run(common: &Common) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::line(
            "bridge reads a request of ocicrypt's key provider protocol on stdin; programs start it, see holdfast setup ocicrypt --bridge",
        ));
    }
    // Not through io::stdin(), whose buffer would keep a copy of what is wiped here.
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(|error| unreadable(&error))?;
    let request = read_whole(File::from(stdin))?;
    let forwarded = Forwarded::of(&request).map_err(|what| {
        Failure::line(format!(
            "{what}; bridge is started by programs that use ocicrypt, see holdfast setup ocicrypt --bridge"
        ))
    })?;
    drop(request);
    let daemon = Daemon::connect(common)?;
    let answer = Zeroizing::new(match forwarded.call {
        Call::Wrap => daemon.wrap_key(forwarded.body.into_unprotected(), std::future::pending()),
        Call::Unwrap => daemon.unwrap_key(forwarded.body.into_unprotected()),
    }?);
    if answer.is_empty() {
        return Err(Failure::line("holdfastd answered nothing; see its log"));
    }
    // Nor through io::stdout(), for the same reason.
    File::from(io::stdout().as_fd().try_clone_to_owned()?).write_all(&answer)?;
    Ok(())
}

/// All of the request, in a buffer that is wiped; so are the smaller ones it outgrew.
fn read_whole(mut from: impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut buffer = Zeroizing::new(vec![0; 64 * 1024]);
    let mut len = 0;
    loop {
        if len == buffer.len() {
            if len > MAX_MESSAGE_LEN {
                return Err(Failure::line(
                    "the request on stdin has more than 16 MiB; ocicrypt's have a few KiB for a layer, so look at what starts bridge",
                ));
            }
            let mut larger = Zeroizing::new(vec![0; 2 * len]);
            larger[..len].copy_from_slice(&buffer);
            buffer = larger;
        }
        match from.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    buffer.truncate(len);
    Ok(buffer)
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::line(format!("cannot read the request on stdin: {error}; bridge needs it there, until its end"))
}
