//! The command line as it is typed.

mod node;

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use holdfast_image::Platform;

pub(crate) use self::node::{Doctor, Node, SetupContainerd};
use crate::place::{Place, Shelf};
use crate::recipients::{Recipient, Removed};

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

#[derive(Subcommand)]
pub(crate) enum ImageVerb {
    /// Decrypt an image to another, in an OCI layout or a registry; it appears there only whole.
    Decrypt(ImageDecrypt),
    /// Encrypt an image to another, in an OCI layout or a registry; it appears there only whole.
    ///
    /// Each layer gets a key of its own, which every recipient can open alone. What is written is
    /// ocicrypt's format, which skopeo, podman, containerd and CRI-O open. Public keys need no daemon.
    Encrypt(ImageEncrypt),
    /// Show the layers of an image and who can open them.
    ///
    /// Which of the daemon's keys do, and how these are, is shown if there is a daemon; none is needed.
    Inspect(ImageInspect),
    /// Change who can open an image, in its annotations alone: no layer is moved or decrypted.
    ///
    /// Whoever is removed can open the image no longer, unless he has kept its layers' keys or the old
    /// manifest: the keys stay the same. Where he must not be able to in any case, --reencrypt makes new ones.
    Rewrap(ImageRewrap),
    /// List the images of registries or repositories, and the keys that open them.
    ///
    /// Reads every page of every list and every manifest that a tag leads to, or fails. Exit code 0 also says
    /// that the list is complete.
    Inventory(ImageInventory),
}

/// How registries are reached.
#[derive(Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct RegistryOptions {
    /// Credentials in Docker's form; without it, those of skopeo login, podman login or docker login.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Certificates (PEM) of authorities to trust besides the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Speak plain HTTP to other machines too; this machine's registries may speak it anyway.
    #[arg(long)]
    pub(crate) plain_http: bool,
}

#[derive(Args)]
#[command(group = ArgGroup::new("change").args(["to", "add", "remove"]).required(true).multiple(true))]
pub(crate) struct ImageRewrap {
    /// The image: oci:DIR or oci:DIR:TAG, or docker://HOST/REPOSITORY with :TAG or @DIGEST; with --reencrypt and a
    /// TARGET, or --dry-run, oci-archive:FILE too.
    pub(crate) image: Place,
    /// Where it is written instead, in the same registry: docker://HOST/REPOSITORY:TAG. Its layers are mounted
    /// there. With --reencrypt, anywhere.
    #[arg(conflicts_with_all = ["all_tags", "dry_run"])]
    pub(crate) target: Option<Place>,
    /// Who shall open it, and nobody else: jwe:FILE, pkcs7:FILE, pgp:FILE or pgp:NAME, pkcs11:FILE, or
    /// holdfast:ALIAS. May be repeated.
    #[arg(long, value_name = "RECIPIENT", conflicts_with_all = ["add", "remove"])]
    pub(crate) to: Vec<Recipient>,
    /// Who shall open it besides those who can. May be repeated.
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) add: Vec<Recipient>,
    /// Who shall open it no longer: anyone that --add takes, holdfast:ALIAS (every key under it but the one that is
    /// added), or kid:ID. May be repeated.
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) remove: Vec<Removed>,
    /// With --to: what it is encrypted for from now on; without it, what it was encrypted for. May be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label, requires = "to")]
    pub(crate) labels: Vec<(String, String)>,
    /// Every tag of the repository docker://HOST/REPOSITORY.
    #[arg(long)]
    pub(crate) all_tags: bool,
    /// Do all of it but the writing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Encrypt every encrypted layer anew, with a new key, for those whom --to names: layers are moved, and who
    /// kept an old key opens nothing of the new image. For any TARGET.
    #[arg(long)]
    pub(crate) reencrypt: bool,
    /// With --reencrypt: where encrypted layers from a registry are kept until they are checked, still
    /// encrypted; without it, TMPDIR or /tmp.
    #[arg(long, value_name = "DIR", requires = "reencrypt")]
    pub(crate) tmpdir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

#[derive(Args)]
pub(crate) struct ImageInspect {
    /// The image: oci:DIR, oci-archive:FILE or docker-archive:FILE, each with :TAG or without, or
    /// docker://HOST/REPOSITORY with :TAG or @DIGEST.
    pub(crate) source: Place,
    /// Have the daemon try packets that name no key id: an unwrap for each, with a record in its audit log.
    #[arg(long)]
    pub(crate) ask: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

#[derive(Args)]
pub(crate) struct ImageInventory {
    /// HOST, for every repository that it lists, or HOST/REPOSITORY. May be repeated.
    #[arg(required = true, value_name = "HOST[/REPOSITORY]")]
    pub(crate) places: Vec<Shelf>,
    /// Only images that this key opens: an alias of the daemon's, or kid:ID, the whole of it.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Have the daemon try packets that name no key id: an unwrap for each, with a record in its audit log.
    #[arg(long)]
    pub(crate) ask: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

#[derive(Args)]
pub(crate) struct ImageDecrypt {
    /// The encrypted image: oci:DIR or oci-archive:FILE, with :TAG or without, or docker://HOST/REPOSITORY with :TAG
    /// or @DIGEST.
    pub(crate) source: Place,
    /// Where it goes: oci:DIR:TAG, a new layout or another image in one; oci-archive:FILE:TAG, a new file; or
    /// docker://HOST/REPOSITORY:TAG.
    pub(crate) target: Place,
    /// Only this platform of a multi-platform image: os/arch or os/arch/variant.
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    /// Where encrypted layers from a registry are kept until they are checked; without it, TMPDIR or /tmp.
    #[arg(long, value_name = "DIR")]
    pub(crate) tmpdir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

#[derive(Args)]
pub(crate) struct ImageEncrypt {
    /// The image: oci:DIR, oci-archive:FILE or docker-archive:FILE, each with :TAG or without, or
    /// docker://HOST/REPOSITORY with :TAG or @DIGEST.
    pub(crate) source: Place,
    /// Where it goes: oci:DIR:TAG, a new layout or another image in one; oci-archive:FILE:TAG, a new file; or
    /// docker://HOST/REPOSITORY:TAG.
    pub(crate) target: Place,
    /// Who shall open it, as often as there are recipients: jwe:FILE, a public key in PEM, DER or JWK, or an
    /// X.509 certificate; pkcs7:FILE, an X.509 certificate; pgp:FILE or pgp:NAME, an OpenPGP certificate, in a file
    /// or known to gpg; pkcs11:FILE, the public key of a token's key; or holdfast:ALIAS, a key of the daemon's.
    #[arg(long, value_name = "RECIPIENT", required = true)]
    pub(crate) to: Vec<Recipient>,
    /// What it is encrypted for, under the packet's seal; the daemon's rules can ask for it. May be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Only this layer, counted from 0, or back from the last as -1. May be repeated; the others are copied.
    #[arg(long = "layer", value_name = "N", allow_negative_numbers = true)]
    pub(crate) layers: Vec<i32>,
    /// Only this platform of a multi-platform image: os/arch or os/arch/variant. May be repeated; the others
    /// are copied.
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<Platform>,
    /// Layers at a time; without it, as many as there are cores, at most 4.
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
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

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn jobs(text: &str) -> Result<NonZero<usize>, String> {
    let number = text.parse::<NonZero<usize>>().ok().filter(|number| number.get() <= 64);
    number.ok_or_else(|| "from 1 to 64 layers at a time".to_owned())
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
