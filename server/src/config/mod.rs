//! The configuration: one TOML file, read once into what it means.
//!
//! Every fault is told, with its line, before anything starts; an unknown key is a fault. `holdfastd
//! check` runs this same code. What a value may be is in `docs/configuration.md`, every option with its
//! default in `holdfastd.full.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_custody::{Requirement, Settings};
use holdfast_envelope::pgp::Certificate;
use holdfast_wire::{Algorithm, KeyUri, Labels};

mod duration;
mod read;
mod reader;

pub use crate::listen::TlsFiles;
pub use reader::Fault;

/// Where the file is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/holdfast/holdfastd.toml";

/// Everything the daemon is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[listen]`
    pub listen: Listen,
    /// `[limits]`
    pub limits: Limits,
    /// `[state] dir`: latches live here.
    pub state_dir: PathBuf,
    /// `[audit] file`
    pub audit_file: PathBuf,
    /// `[log]`
    pub log: Log,
    /// `[wrap]`
    pub wrap: Wrap,
    /// `[[token]]`
    pub tokens: Vec<Token>,
    /// `[[key]]`, in the order of the file: the order in which they are tried.
    pub keys: Vec<Key>,
    /// `[[allow]]`
    pub rules: Vec<Rule>,
}

/// `[listen]`
#[derive(Debug, Clone)]
pub struct Listen {
    /// Path of the unix socket.
    pub unix: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Group id it is given to.
    pub group: Option<u32>,
    /// How long one request may take; ocicrypt sends no deadline of its own.
    pub timeout: Duration,
    /// `[listen.tcp]`
    pub tcp: Option<TcpListen>,
}

/// `[listen.tcp]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpListen {
    /// Address and port.
    pub address: SocketAddr,
    /// Mutual TLS; `None` is plaintext, on loopback only.
    pub tls: Option<TlsFiles>,
}

/// `[limits]`: what strangers and friends may have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one caller.
    pub connections_per_caller: usize,
    /// Requests of one caller.
    pub requests_per_caller: usize,
    /// Requests on one connection.
    pub streams_per_connection: u32,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// JSON lines instead of text.
    pub json: bool,
    /// "error", "warn", "info", "debug" or "trace".
    pub level: String,
}

/// `[wrap]`
#[derive(Debug, Clone)]
pub struct Wrap {
    /// The name this provider has in ocicrypt's configuration.
    pub provider: String,
    /// The alias that `provider:NAME` without a parameter means.
    pub default: Option<String>,
}

/// `[[token]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Which token.
    pub uri: KeyUri,
    /// How it is reached.
    pub way: Way,
    /// The worker pool before it.
    pub pool: Settings,
}

/// How a token is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Through a PKCS#11 module.
    Pkcs11 {
        /// The module.
        module: PathBuf,
        /// The file that holds the PIN.
        pin: PathBuf,
        /// Its keys of which RSA-OAEP with SHA-256 may be unpadded in the daemon.
        unpad: Vec<KeyUri>,
    },
    /// Through tpm2-tss.
    Tpm(Tpm),
    /// Over mutual TLS.
    Kmip(Kmip),
}

/// How a TPM is reached, and which one it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpm {
    /// TCTI, the TPM Command Transmission Interface of tpm2-tss: "device:/dev/tpmrm0". It has been read already.
    pub tcti: String,
    /// The Name of its storage key, in hexadecimal digits. It has been read already.
    pub storage_key_name: Option<String>,
    /// Whether nobody else uses it, so that what is found in it is flushed.
    pub exclusive: bool,
    /// Files and directories with signed PCR policies.
    pub pcr_signatures: Vec<PathBuf>,
}

/// How a KMIP server is reached, or several that hold the same keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kmip {
    /// Hosts with ports, in the order in which they are preferred: "kms-1.internal:5696". They have been read
    /// already.
    pub addresses: Vec<String>,
    /// The authorities of the servers' certificates.
    pub ca: PathBuf,
    /// The daemon's own certificate, and the chain behind it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[[key]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What people call it.
    pub alias: String,
    /// Which key, on which token.
    pub uri: KeyUri,
    /// Index of its token in [`Config::tokens`].
    pub token: usize,
    /// What packets call it; symmetric keys alone have one of their own.
    pub kid: Option<String>,
    /// What it may be used with; `None`: all that the token can do with it, but for RSA1_5.
    pub algorithms: Option<Vec<Algorithm>>,
    /// The OpenPGP certificate that it has a part in. The file has been read already.
    pub openpgp: Option<Certificate>,
    /// Whether RSA-OAEP with SHA-256 may be unpadded in the daemon where the token cannot.
    pub oaep_sha256_in_daemon: bool,
    /// Whether new images are encrypted to it.
    pub wraps: bool,
    /// What is asked of its custody.
    pub requirement: Requirement,
}

impl Key {
    /// Whether it is used with RSA PKCS#1 v1.5, and so with nothing else.
    pub(crate) fn only_pkcs1_v1_5(&self) -> bool {
        self.algorithms.as_ref().is_some_and(|listed| listed.contains(&Algorithm::Rsa1_5))
    }
}

/// `[[allow]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom it speaks of.
    pub who: Who,
    /// What they may do.
    pub to: Vec<Action>,
    /// With which aliases.
    pub keys: Vec<String>,
    /// Only for packets that carry all of these.
    pub labels: Labels,
}

/// Whom a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A user id.
    User(u32),
    /// A primary group id.
    Group(u32),
    /// A subject alternative name of a client certificate.
    Tls(String),
    /// Plaintext TCP from this machine.
    Loopback,
}

/// What a rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Encrypt new images to a key.
    Wrap,
    /// Open images' layer keys.
    Unwrap,
}

impl Action {
    /// The word in `to = […]`.
    pub fn name(self) -> &'static str {
        match self {
            Action::Wrap => "wrap",
            Action::Unwrap => "unwrap",
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}; give another file with --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It says something wrong.
    #[error("{}", lines(.path, .faults))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        faults: Vec<Fault>,
    },
}

fn lines(path: &Path, faults: &[Fault]) -> String {
    let lines: Vec<String> =
        faults.iter().map(|fault| format!("{}:{}: {}", path.display(), fault.line, fault.what)).collect();
    lines.join("\n")
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        Config::parse(&text).map_err(|faults| ConfigError::Faulty { path: path.to_owned(), faults })
    }

    /// Checks a text.
    pub fn parse(text: &str) -> Result<Config, Vec<Fault>> {
        read::config(text)
    }
}

#[cfg(test)]
mod tests;
