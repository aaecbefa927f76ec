use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why a simulator could not be started, used or ended: what happened, then what to do.
///
/// Holds what programs wrote to stderr, but never their arguments or environment: a PIN may be there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not on the `PATH`.
    #[error("{program} is not installed: apt-get install {package}")]
    Missing {
        /// The program's name.
        program: String,
        /// The Debian package it comes with.
        package: String,
    },
    /// A PKCS#11 module is in none of the usual places.
    #[error("libsofthsm2.so is in none of {looked_in}: apt-get install softhsm2, or set SOFTHSM2_MODULE")]
    NoModule {
        /// Where it was looked for.
        looked_in: String,
    },
    /// `SOFTHSM2_MODULE` names a file that is not there.
    #[error("SOFTHSM2_MODULE is {path}, which is not a file: correct it or unset it")]
    ModuleNotThere {
        /// What the variable says.
        path: PathBuf,
    },
    /// A program could not be started.
    #[error("{name} cannot be started: {source}")]
    Spawn {
        /// The process's name.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program said no, or ended when it should have stayed.
    #[error("{name} ended with {status}{}", said(.stderr))]
    Ended {
        /// The process's name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr.
        stderr: String,
    },
    /// A process was not ready, or did not end, in time.
    #[error("{name} {what} within {within:?}{}", said(.stderr))]
    TimedOut {
        /// The process's name.
        name: String,
        /// What did not come about: "was not ready".
        what: &'static str,
        /// How long it had.
        within: Duration,
        /// What it wrote to stderr.
        stderr: String,
    },
    /// A program ended well, but what it was to bring about is not there.
    #[error("{0}")]
    Unexpected(String),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A directory that is not as it must be for what was asked.
    #[error("{path} {problem}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is the matter and what to do, following the path in a sentence.
        problem: String,
    },
    /// The file system or the kernel refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err`, as in `.map_err(Error::io("writing", &path))`.
    pub(crate) fn io(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let what = format!("{doing} {}", path.display());
        move |source| Error::Io { what, source }
    }

    pub(crate) fn directory(path: &Path, problem: impl Into<String>) -> Error {
        Error::Directory { path: path.to_owned(), problem: problem.into() }
    }
}

fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        text => format!("; it wrote: {text}"),
    }
}
