use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hsm_sim::Home;

use super::Stopped;

/// End what `hsm-sim up` started, and remove its directory.
///
/// Only a directory that hsm-sim made is removed, and only processes that it started are ended.
#[derive(Debug, Args)]
pub(super) struct Down {
    /// The directory given to `hsm-sim up`.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Down {
    pub(super) fn run(&self) -> ExitCode {
        match Home::down(&self.dir) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => Stopped::from(error).exit(1),
        }
    }
}
