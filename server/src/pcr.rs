//! `holdfastd pcr`: the state of the machine that keys in a TPM are bound to, for an operator: what it is (`show`),
//! what it will be (`predict`), and what a signer approves (`sign`). No key is used for it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_custody::{PcrSelection, PcrValues};
use holdfast_tpm::{EventLog, Replacement};

mod machine;
mod predict;
mod report;
mod show;
mod sign;

pub use report::Report;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell the values that PCRs have, and whether the keys that are bound to them open now.
    ///
    /// Where one does not, tells which PCR differs and, from the event log, which step of the boot. Exits with 1
    /// if a key does not open.
    Show(Show),
    /// Tell the values that PCRs will have: the event log, replayed, with other digests for some of its events.
    ///
    /// The first line is what `pcr sign --pcrs` and `key seal --pcrs` take. Exits with 1 if a key would not open.
    Predict(Predict),
    /// Sign values of PCRs: the keys that are bound to the signer open while the PCRs have them.
    ///
    /// Writes the signed policy as systemd has it (tpm2-pcr-signature.json).
    Sign(Sign),
}

/// `pcr show`
#[derive(Debug, Args)]
pub struct Show {
    /// The keys to tell of; without any, all in a TPM.
    #[arg(value_name = "ALIAS")]
    pub aliases: Vec<String>,
    /// The PCRs to tell of.
    #[arg(
        long,
        value_name = "BANK:PCRS",
        default_value = "sha256:0+1+2+3+4+5+6+7+8+9+10+11+12+13+14+15+16+23"
    )]
    pub pcrs: PcrSelection,
    /// List the event log's events of these PCRs as well.
    #[arg(long)]
    pub events: bool,
    /// Where to look, and how to tell it.
    #[command(flatten)]
    pub about: About,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
}

/// `pcr predict`
#[derive(Debug, Args)]
pub struct Predict {
    /// The PCRs to predict, as in sha256:4+7+11.
    #[arg(long, value_name = "BANK:PCRS")]
    pub pcrs: PcrSelection,
    /// Give an event another digest, as in 4.2=65ca…: the second event of PCR 4. `pcr show --events` lists them.
    #[arg(long, value_name = "PCR.EVENT=HEX")]
    pub replace: Vec<Replacement>,
    /// Where to look, and how to tell it.
    #[command(flatten)]
    pub about: About,
    /// The configuration; where there is none, the event log alone is used.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `pcr sign`
#[derive(Debug, Args)]
pub struct Sign {
    /// The signer's private key: RSA or EC P-256 in PEM, not encrypted.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// PCRs, as in sha256:11, for the values that they have now, or values, as in sha256:7=65ca…+11=0000…, which
    /// takes neither a TPM nor a configuration.
    #[arg(long, value_name = "BANK:PCRS")]
    pub pcrs: Pcrs,
    /// Add the signed policy to this file, beside those that are in it, and not to the terminal.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
}

/// What `show` and `predict` are told both.
#[derive(Debug, Args)]
pub struct About {
    /// The event log.
    #[arg(long, value_name = "FILE", default_value = EventLog::PATH)]
    pub log: PathBuf,
    /// Look here for signed policies too: a file, or a directory of *.json files.
    #[arg(long, value_name = "PATH")]
    pub pcr_signatures: Vec<PathBuf>,
    /// Write JSON.
    #[arg(long)]
    pub json: bool,
}

/// PCRs with values or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pcrs {
    /// Those that they have now.
    Now(PcrSelection),
    /// These.
    Given(PcrValues),
}

impl std::str::FromStr for Pcrs {
    type Err = String;

    fn from_str(text: &str) -> Result<Pcrs, String> {
        if text.contains('=') { text.parse().map(Pcrs::Given) } else { text.parse().map(Pcrs::Now) }
    }
}

/// Does it.
pub fn run(command: &Command) -> Result<Report, String> {
    match command {
        Command::Show(options) => show::run(options),
        Command::Predict(options) => predict::run(options),
        Command::Sign(options) => sign::run(options),
    }
}
