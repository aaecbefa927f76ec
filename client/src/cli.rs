//! The command line as it is typed.

mod image;
mod node;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::image::{
    ImageDecrypt, ImageEncrypt, ImageInspect, ImageInventory, ImageRewrap, ImageVerb, RegistryOptions,
};
pub(crate) use self::node::{Doctor, Node, SetupContainerd};

/// What every verb takes stands behind a verb's own options in its help.
const BEHIND: usize = 900;

/// How long the daemon may take unless --timeout says.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// Encrypts container images, and opens them with keys that stay in hardware.
#[derive(Parser)]
#[command(version, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The command line of `decode` alone: a node starts it for each layer, and most of what there is to parse is
/// not for it.
#[derive(Parser)]
#[command(name = "holdfast", version, propagate_version = false)]
pub(crate) struct Decoder {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: DecoderVerb,
}

#[derive(Subcommand)]
pub(crate) enum DecoderVerb {
    Decode(Decode),
}

/// What every verb takes.
#[derive(Args)]
pub(crate) struct Common {
    /// The daemon's unix socket.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "HOLDFAST_SOCKET",
        default_value = "/run/holdfast/keyprovider.sock",
        display_order = BEHIND
    )]
    pub(crate) socket: PathBuf,
    /// Print one JSON document instead of tables.
    #[arg(long, global = true, display_order = BEHIND)]
    pub(crate) json: bool,
    /// How long the daemon may take for one answer: 500ms, 15s, 2m.
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        default_value = "15s",
        value_parser = duration,
        display_order = BEHIND
    )]
    pub(crate) timeout: Duration,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Encrypt, decrypt, inspect and re-wrap images, and list who can open them.
    #[command(subcommand)]
    Image(Box<ImageVerb>),
    /// List, show and export the keys you may use.
    #[command(subcommand)]
    Key(KeyVerb),
    /// Make other programs call the daemon.
    #[command(subcommand)]
    Setup(SetupVerb),
    /// Answer one call of ocicrypt's key provider protocol: a request on stdin, the answer on stdout.
    ///
    /// For programs that start a provider instead of calling one (`cmd` in ocicrypt's configuration;
    /// `holdfast setup ocicrypt --bridge` writes it). The caller's own private keys, which ocicrypt sends
    /// along, are dropped here and never reach the daemon.
    Bridge,
    Decode(Decode),
    /// Look for what keeps this node from opening encrypted images, and say what to do.
    ///
    /// Exit codes: 0 nothing found, 1 it could not look, 2 not understood, 3 warnings only, 4 faults.
    Doctor(Doctor),
    /// Show how the daemon and its tokens do, and who it takes you for.
    Status,
    /// Print the version.
    Version,
}

/// Decrypt one layer from stdin to stdout: containerd's stream processor, in ctd-decoder's place.
///
/// containerd starts it, with the layer's descriptor on file descriptor 3. Nothing is written before all of
/// the layer has been checked, where it can be found as a file; else its end is kept back until then.
#[derive(Args)]
pub(crate) struct Decode {
    /// Say on stderr how the layer was found and opened. Only when all went well: a failure is one line.
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Without a payload: refuse a layer that several manifests name with different packets.
    #[arg(long)]
    pub(crate) single_manifest: bool,
    /// Taken and ignored, so that ctd-decoder's arguments need no change: private keys are the daemon's.
    #[arg(long, value_name = "DIR")]
    pub(crate) decryption_keys_path: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum KeyVerb {
    /// List the keys you may use.
    List,
    /// Show all of a key: its algorithms, its custody, the token's evidence.
    Show {
        /// The key's alias.
        alias: String,
    },
    /// Print a public key, to encrypt images to it (skopeo copy --encryption-key jwe:FILE).
    Export {
        /// The key's alias; of several keys under it, the one that new images are encrypted to.
        alias: String,
        /// How it is written.
        #[arg(long, value_enum, default_value_t = KeyFormat::Pem)]
        format: KeyFormat,
        /// Write it to this file instead of printing it.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub(crate) enum SetupVerb {
    /// Enter the daemon into ocicrypt's configuration, which skopeo, podman, buildah and ctd-decoder read.
    Ocicrypt(SetupOcicrypt),
    /// Have containerd decode encrypted layers through the daemon: stream processors in a drop-in file.
    Containerd(SetupContainerd),
    /// Have CRI-O ask the daemon.
    Crio(Node),
    /// Have podman, buildah and skopeo ask the daemon, users' and the system's.
    Podman(Node),
}

#[derive(Args)]
pub(crate) struct SetupOcicrypt {
    /// Write it to this file, beside the providers that are there; without it, it is printed.
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// The provider's name: NAME in provider:NAME:ALIAS, and what `provider` under `[wrap]` is in
    /// holdfastd's configuration.
    #[arg(long, value_name = "NAME", default_value = "holdfast", value_parser = provider_name)]
    pub(crate) name: String,
    /// Have `holdfast bridge` started for each call, instead of the socket called.
    #[arg(long)]
    pub(crate) bridge: bool,
    /// Take the entry out of the file again.
    #[arg(long, requires = "file")]
    pub(crate) remove: bool,
    /// Replace or remove an entry of this name that is not as this command writes it.
    #[arg(long, requires = "file")]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyFormat {
    /// A PUBLIC KEY block (RFC 7468).
    Pem,
    /// A JSON Web Key (RFC 7517) with kid and alg, so that packets name their recipient.
    Jwk,
    /// SubjectPublicKeyInfo (RFC 5280), binary.
    Der,
}

/// ocicrypt splits `provider:NAME:PARAMETER` at colons and command lines at commas.
fn provider_name(text: &str) -> Result<String, String> {
    if holdfast_wire::keyprovider::is_alias(text) {
        Ok(text.to_owned())
    } else {
        Err("a provider's name has 1 to 64 letters, digits, '.', '_' or '-'".to_owned())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "a time is a number and a unit: 500ms, 15s, 2m")?;
    let time = match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => return Err("the units of a time are ms, s and m".to_owned()),
    };
    time.filter(|time| !time.is_zero() && *time <= Duration::from_secs(24 * 3600))
        .ok_or_else(|| "a time is more than nothing and at most a day".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn times_have_units_and_bounds() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("15"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "0s", "-1s", "1h", "25000m", "999999999999999999999s", "1.5s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
