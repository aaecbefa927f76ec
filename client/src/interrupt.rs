//! SIGINT, SIGTERM and SIGHUP as a wish to stop, so that half-written files are removed.

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// Whether a signal has come. Cheap to ask and to clone.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// From here on the first signal only sets this; the second ends the process at once.
    pub(crate) fn install(runtime: &Handle) -> Result<Interrupt, Failure> {
        let (tell, told) = watch::channel(false);
        // Signals are registered on the runtime, whose thread then waits for them.
        let _context = runtime.enter();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)
                .map_err(|error| Failure::line(format!("cannot listen for signals: {error}; try again")))?;
            let tell = tell.clone();
            runtime.spawn(async move {
                while signals.recv().await.is_some() {
                    if tell.send_replace(true) {
                        std::process::exit(1);
                    }
                }
            });
        }
        Ok(Interrupt(told))
    }

    pub(crate) fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when a signal has come.
    pub(crate) async fn wait(mut self) {
        if self.0.wait_for(|come| *come).await.is_err() {
            // The runtime is going down and takes this future with it.
            std::future::pending().await
        }
    }
}
