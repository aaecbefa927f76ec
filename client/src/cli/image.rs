//! `holdfast image` as it is typed.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use holdfast_image::Platform;

use crate::place::{Place, Shelf};
use crate::recipients::{Recipient, Removed};

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

/// What is told of the work while it lasts.
#[derive(Args)]
pub(crate) struct ProgressOptions {
    /// Tell nothing on stderr of how far the work is.
    #[arg(short, long)]
    pub(crate) quiet: bool,
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
    /// With --reencrypt: layers at a time; without it, as many as there are cores, at most 3.
    #[arg(long, value_name = "N", value_parser = jobs, requires = "reencrypt")]
    pub(crate) jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    pub(crate) progress: ProgressOptions,
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
    pub(crate) progress: ProgressOptions,
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
    /// Layers at a time; without it, as many as there are cores, 2 to 4.
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    pub(crate) progress: ProgressOptions,
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
    pub(crate) progress: ProgressOptions,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn jobs(text: &str) -> Result<NonZero<usize>, String> {
    let number = text.parse::<NonZero<usize>>().ok().filter(|number| number.get() <= 64);
    number.ok_or_else(|| "from 1 to 64 layers at a time".to_owned())
}
