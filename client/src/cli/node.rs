//! The command lines that set a node up and look at one.

use std::path::PathBuf;

use clap::Args;
use holdfast_image::Reference;

use super::provider_name;

/// What every runtime's setup takes.
#[derive(Args)]
pub(crate) struct Node {
    /// Write the files; without it, they are printed.
    #[arg(long)]
    pub(crate) write: bool,
    /// Take away again all that this command wrote.
    #[arg(long, conflicts_with = "write")]
    pub(crate) remove: bool,
    /// The system's root directory: a node's image, say.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Replace files and entries under our names that this command did not write.
    #[arg(long)]
    pub(crate) force: bool,
    /// The provider's name, where one is written: NAME in provider:NAME:ALIAS, and what `provider` under
    /// `[wrap]` is in holdfastd's configuration.
    #[arg(long, value_name = "NAME", default_value = "holdfast", value_parser = provider_name)]
    pub(crate) name: String,
}

#[derive(Args)]
pub(crate) struct SetupContainerd {
    #[command(flatten)]
    pub(crate) node: Node,
    /// Have imgcrypt's ctd-decoder decode layers, instead of `holdfast decode`.
    #[arg(long)]
    pub(crate) stock: bool,
    /// containerd's configuration file.
    #[arg(long, value_name = "PATH", default_value = "/etc/containerd/config.toml")]
    pub(crate) config: PathBuf,
    /// Where the decoder is on the node; without it, this very program, under another --root
    /// /usr/bin/holdfast, with --stock ctd-decoder in containerd's PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) program: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Doctor {
    /// The system's root directory: a node's image, say. The daemon is asked only at `/`.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Also whether this node can open an image: oci:DIR or oci:DIR:TAG.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<Reference>,
    /// containerd's configuration file; without it, what its unit names, else /etc/containerd/config.toml.
    #[arg(long, value_name = "PATH")]
    pub(crate) containerd_config: Option<PathBuf>,
}
