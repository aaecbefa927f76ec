//! What `holdfastd` is told on its command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use holdfast_custody::{KeyKind, PcrSelection};
use holdfastd::config;

/// Key provider for encrypted container images; its keys stay in hardware.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) file: File,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Parser)]
pub(crate) struct File {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub(crate) config: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve until told to stop (the default).
    Run {
        #[command(flatten)]
        file: File,
    },
    /// Say what is wrong with the configuration; exit with 1 if anything is.
    Check {
        #[command(flatten)]
        file: File,
        /// Also log in to every token, once, and describe every key.
        #[arg(long)]
        tokens: bool,
    },
    /// Give a token a new key.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Explain, predict and sign the state of the machine that keys in a TPM are bound to.
    #[cfg(feature = "tpm")]
    #[command(subcommand)]
    Pcr(holdfastd::pcr::Command),
}

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key inside a configured token, that never leaves it.
    ///
    /// Prints what the token says of it, the lines for the configuration, and its public half. A label or
    /// an id that is there already is refused.
    Create {
        #[command(flatten)]
        new: New,
        /// What key: rsa-2048, rsa-3072, rsa-4096, ecc-p256, ecc-p384, ecc-p521 or aes-256.
        #[arg(long, value_name = "KIND")]
        algorithm: KeyKind,
        /// Of a key in a TPM: bind it to the values that these PCRs have now, as in sha256:7+11. The TPM
        /// uses it only while they have them, so a change of firmware or kernel may lock it for good.
        #[arg(long, value_name = "BANK:PCRS")]
        pcrs: Option<PcrSelection>,
        /// Of a key in a TPM: bind it to PCR values that the holder of this key signs (holdfastd pcr sign), now or
        /// later, so that an update needs a signature and no new key. A public key in PEM: RSA, P-256 or P-384.
        #[arg(long, value_name = "FILE", conflicts_with = "pcrs")]
        policy_key: Option<PathBuf>,
        /// Of a key in a TPM: give it this persistent handle as well, as in 0x81010002.
        #[arg(long, value_name = "HANDLE")]
        persist: Option<String>,
    },
    /// Bring a private key from a file into a configured token, from where it cannot leave again.
    ///
    /// The token states for ever that the key was imported, because copies of it may be elsewhere. Where
    /// you can, make a new key instead and encrypt the images anew.
    Import {
        #[command(flatten)]
        new: New,
        /// An RSA or EC key in PEM, not encrypted: PKCS#8, PKCS#1 or SEC 1. Or one that key seal has sealed to
        /// this machine's TPM. Or, for a KMIP server, the 32 bytes of an AES-256 key.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Seal a private key to the TPMs of many machines, each of which imports its own file.
    ///
    /// Needs no configuration, no TPM and no daemon. Makes DIR/NODE.tss for each NODE.srk.pub, all or none, and
    /// only for storage keys whose Names are pinned: what is sealed to a storage key, its holder has.
    #[cfg(feature = "tpm")]
    Seal(Seal),
    /// Write the public half of a TPM's storage key, for key seal, and print its Name.
    #[cfg(feature = "tpm")]
    StorageKey(StorageKey),
}

#[derive(Args)]
pub(crate) struct New {
    /// The token and the new key's label, as in pkcs11:token=prod;object=images-2026; an id is chosen
    /// where none is given. In a TPM the new key's file, as in tpm:file=/etc/holdfast/images.tss. In
    /// a KMIP server its name, as in kmip:server=kms-1;name=images-2026.
    // Parsed by us: clap would quote one that it does not like, and somebody may have put a PIN into it.
    pub(crate) uri: String,
    /// Write the public half (PEM) to this new file and not to the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) public: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) file: File,
}

#[cfg(feature = "tpm")]
#[derive(Args)]
pub(crate) struct Seal {
    /// An RSA or EC key in PEM, not encrypted: PKCS#8, PKCS#1 or SEC 1. Destroy it when it is sealed.
    pub(crate) key: PathBuf,
    /// The public half of a TPM's storage key, as key storage-key writes it on its machine. As often as there
    /// are machines.
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) to: Vec<PathBuf>,
    /// The list of pinned storage keys: one Name a line, with a label behind it if you like.
    #[arg(long, value_name = "PINNED")]
    pub(crate) names: PathBuf,
    /// Where the sealed keys are written; made if it is not there.
    #[arg(short = 'o', value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Bind the key to these PCR values, as in sha256:7=65ca…+11=0000…. A TPM uses it only while they hold.
    #[arg(long, value_name = "BANK:PCR=VALUE")]
    pub(crate) pcrs: Option<holdfast_custody::PcrValues>,
    /// Bind it to PCR values that the holder of this key signs, now or later. A public key in PEM.
    #[arg(long, value_name = "FILE", conflicts_with = "pcrs")]
    pub(crate) policy_key: Option<PathBuf>,
}

#[cfg(feature = "tpm")]
#[derive(Args)]
pub(crate) struct StorageKey {
    /// The TPM.
    #[arg(default_value = "tpm:")]
    pub(crate) uri: String,
    /// Write the public half to this new file: NODE.srk.pub.
    #[arg(short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) file: File,
}
