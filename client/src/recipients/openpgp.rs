//! A recipient's OpenPGP certificate: from a file, or from the user's own gpg.
//!
//! Whose a certificate is, nobody but its user can say. What is verified is that the key which is encrypted to is bound
//! to it, and is neither expired nor revoked ([`EncryptionKey::choose`]).

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_envelope::jwk;
use holdfast_envelope::pgp::{Certificate, EncryptionKey};
use holdfast_image::{Identity, Name, printable};
use holdfast_wire::PublicKey;

use super::source;
use super::typed::Scheme;
use crate::failure::Failure;

pub(super) fn read(from: &str) -> Result<EncryptionKey, Failure> {
    choose(from, &certificate(from)?)
}

/// Every key that may have been encrypted to: it may have expired since, or be revoked.
pub(super) fn read_to_remove(from: &str) -> Result<Vec<Identity>, Failure> {
    let bytes = certificate(from)?;
    let of = |id, public: Option<PublicKey>| Identity {
        name: Some(Name::OpenPgp(id)),
        kid: public.map(|public| jwk::thumbprint(&public)),
    };
    match Certificate::parse(&bytes) {
        Ok(all) => Ok(all.keys().iter().map(|key| of(key.key_id(), Some(key.public().clone()))).collect()),
        // One of Curve25519 alone, or none at all.
        Err(_) => choose(from, &bytes).map(|key| vec![of(key.key_id(), key.public())]),
    }
}

fn choose(from: &str, certificate: &[u8]) -> Result<EncryptionKey, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    EncryptionKey::choose(certificate, now)
        .map_err(|error| Failure::line(format!("{}: {error}", printable(from))))
}

/// `from` is a file if there is one or it is a path; else whom gpg knows.
fn certificate(from: &str) -> Result<Vec<u8>, Failure> {
    let file = Path::new(from);
    if from.contains('/') || file.exists() {
        Ok(source::read(Scheme::Pgp, file, Certificate::MAX_LEN)?.to_vec())
    } else {
        exported(from)
    }
}

/// What gpg exports. It is found in PATH, and finds its keyring as ever (GNUPGHOME).
fn exported(name: &str) -> Result<Vec<u8>, Failure> {
    let shown = printable(name);
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--no-tty", "--quiet", "--export", "--"]).arg(name).stdin(Stdio::null());
    let output = gpg.output().map_err(|error| {
        Failure::line(match error.kind() {
            ErrorKind::NotFound => format!(
                "{shown} is no file, and gpg is not installed, which would know whom it means; give the file of an OpenPGP certificate"
            ),
            _ => format!("gpg, which would know whom {shown} means, cannot be run: {error}"),
        })
    })?;
    if output.stdout.is_empty() {
        return Err(Failure::line(format!(
            "{shown} is no file, and gpg has no certificate of that name; see gpg --list-keys, or give a file"
        )));
    }
    Ok(output.stdout)
}
