//! `holdfastd key`: an operator gives a configured token a new key, or seals one for TPMs elsewhere.
//!
//! Module and PIN are those of the `[[token]]` that the new key's URI matches, so that there is one place
//! that says how a token is reached, and the PIN latch is the daemon's. The daemon itself makes no keys.

use std::fmt::Write as _;
use std::path::Path;

use aws_lc_rs::rand;
use holdfast_custody::hex::to_hex;
use holdfast_custody::{Binding, KeyKind, Keysmith, Made, RegularFile};
use holdfast_wire::keyprovider::is_alias;
use holdfast_wire::{KeyUri, PublicKey};

use crate::backends;
use crate::check::printable;
use crate::config::{self, Config};
use crate::keyring::type_name;

pub(crate) mod file;
#[cfg(feature = "tpm")]
mod pinned;
#[cfg(feature = "tpm")]
pub mod seal;
#[cfg(feature = "tpm")]
pub mod storage_key;

/// A key that was brought into its token.
pub struct Imported {
    /// As a made one.
    pub made: Made,
    /// What is still to be done with where it came from: a line.
    pub warning: String,
}

/// Makes a key inside the token that `uri` names; for use only in the state that it is bound `to`.
pub fn create(config: &Config, uri: &KeyUri, kind: KeyKind, to: Option<&Binding>) -> Result<Made, String> {
    let mut smith = keysmith(config, uri)?;
    let made = match to {
        None => smith.create(uri, kind),
        Some(to) => smith.create_bound(uri, kind, to),
    };
    made.map_err(|error| format!("{uri}: {error}"))
}

/// The public key in PEM whose holder signs PCR policies.
pub fn policy_key(file: &Path) -> Result<PublicKey, String> {
    const MAX_LEN: usize = 64 * 1024;
    let read = RegularFile::read(file, MAX_LEN).map_err(|error| format!("{}: {error}", file.display()))?;
    PublicKey::from_pem(&String::from_utf8_lossy(read.bytes.expose())).map_err(|why| {
        format!(
            "{}: {why}; openssl pkey -in policy.pem -pubout writes the public half of a policy key",
            file.display()
        )
    })
}

/// Brings the private key in a PEM file, in plain or sealed to that very token, or an AES key, into the token that `uri` names.
pub fn import(config: &Config, uri: &KeyUri, from: &Path) -> Result<Imported, String> {
    // A file that cannot be used is found out before the token is asked for anything.
    let found = file::find(from).map_err(|why| format!("{}: {why}", from.display()))?;
    let mut smith = keysmith(config, uri)?;
    let (made, warning) = match &found {
        file::Found::Plain(key) => (smith.import(uri, key), in_the_clear(from)),
        file::Found::Secret(key) => (smith.import_secret(uri, key), in_the_clear(from)),
        file::Found::Sealed(text) => (smith.import_sealed(uri, text.expose()), with_its_tpm(from)),
    };
    Ok(Imported { made: made.map_err(|error| format!("{uri}: {error}"))?, warning })
}

/// What is to be done with the file of a plain key that is elsewhere now: a line.
pub fn in_the_clear(file: &Path) -> String {
    format!(
        "{} still holds the key in the clear: destroy it and every copy of it, backups included",
        file.display()
    )
}

/// TPM2_Rewrap gives the key away from such a file, whatever it is bound to.
fn with_its_tpm(file: &Path) -> String {
    format!(
        "{} and this TPM together still give the key away, whatever it is bound to: destroy it and every copy of it",
        file.display()
    )
}

/// What was made, for a terminal: what the token says of it and the lines for the configuration.
pub fn report(made: &Made) -> Result<String, String> {
    let Made { uri, info } = made;
    let mut text = String::new();
    let name = type_name(info.public.as_ref());
    let mut line = |line: String| {
        let _ = writeln!(text, "{}", printable(&line));
    };
    line(format!("{uri}"));
    line(format!("  {name}, {}", info.custody.summary()));
    let kid = match &info.public {
        Some(public) => {
            line(format!("  kid {}", holdfast_envelope::jwk::thumbprint(public)));
            None
        }
        None => Some(random_kid()?),
    };
    for (name, value) in &info.custody.evidence {
        line(format!("  {name} = {value}"));
    }
    if !info.custody.is_proven() {
        line("  custody is not proven: an image's key that this one opens may be open elsewhere too".into());
    }
    line(String::new());
    line("For the configuration (then SIGHUP; rules speak of the alias):".into());
    line(String::new());
    line("[[key]]".into());
    let stem = uri.text("file").and_then(|file| Path::new(file).file_stem()?.to_str());
    let alias =
        uri.text("object").or(uri.text("name")).or(stem).filter(|label| is_alias(label)).unwrap_or("new-key");
    line(format!("alias = \"{alias}\""));
    line(format!("uri = \"{uri}\""));
    if let Some(kid) = kid {
        line(format!("kid = \"{kid}\"          # random; images carry it, so it tells nothing"));
    }
    Ok(text)
}

/// The public half in PEM; symmetric keys have none.
pub fn public_pem(made: &Made) -> Result<Option<String>, String> {
    made.info.public.as_ref().map(PublicKey::to_pem).transpose().map_err(|error| error.to_string())
}

fn keysmith(config: &Config, uri: &KeyUri) -> Result<Box<dyn Keysmith>, String> {
    let token = token_of(config, uri)?;
    backends::make_state_dir(&config.state_dir).map_err(|error| {
        format!("cannot make the state directory {}: {error}", config.state_dir.display())
    })?;
    backends::keysmith(token, &config.state_dir).map_err(|error| format!("{}: {error}", token.uri))
}

fn token_of<'a>(config: &'a Config, uri: &KeyUri) -> Result<&'a config::Token, String> {
    let scheme = uri.scheme();
    if !backends::built_in().contains(&scheme) {
        return Err(format!("this holdfastd was built without {}", scheme.name()));
    }
    let mut on = config.tokens.iter().filter(|token| token.uri.is_token_of(uri));
    match (on.next(), on.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(format!(
            "{uri}: no [[token]] of the configuration matches; all attributes of its uri must stand in the key's with the same values"
        )),
        (Some(_), Some(_)) => {
            Err(format!("{uri}: more than one [[token]] of the configuration matches; say more of the token"))
        }
    }
}

/// 64 bits in hexadecimal digits.
fn random_kid() -> Result<String, String> {
    let mut kid = [0; 8];
    rand::fill(&mut kid).map_err(|_| "no random kid can be made".to_owned())?;
    Ok(to_hex(&kid))
}
