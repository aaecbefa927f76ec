//! The daemon is asked for a layer's key. One that is restarting is waited for; a refusal is an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_image::{Digest, Packet};
use tokio::runtime::{Builder, Runtime};

use crate::cli::Common;
use crate::daemon::{Daemon, Unanswered};
use crate::failure::Failure;
use crate::layer_key::LayerKey;

/// The pause after the first try that found no daemon; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Asks until there is an answer or the deadline has come. `manifest` is where the packets stand, for the
/// daemon's audit log.
pub(crate) fn ask(
    common: &Common,
    packets: &[Packet],
    manifest: Option<&Digest>,
    deadline: Instant,
) -> Result<LayerKey, Unanswered> {
    // One thread does: it has nothing else to do than to wait, and starting another takes time.
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = Arc::new(runtime.map_err(|error| {
        Failure::line(format!("cannot wait for the daemon: {error}; raise the limit on open files"))
    })?);
    let mut pause = FIRST_PAUSE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match try_once(common, &runtime, packets, manifest, left) {
            Ok(key) => return Ok(key),
            Err(Unanswered { may_pass: true, .. }) if Instant::now() + pause < deadline => {
                runtime.block_on(async { tokio::time::sleep(pause).await });
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
            Err(unanswered) => return Err(unanswered),
        }
    }
}

fn try_once(
    common: &Common,
    runtime: &Arc<Runtime>,
    packets: &[Packet],
    manifest: Option<&Digest>,
    left: Duration,
) -> Result<LayerKey, Unanswered> {
    let daemon = Daemon::connect_within(common, runtime.clone(), left)?;
    daemon.layer_key(packets, manifest, std::future::pending())
}
