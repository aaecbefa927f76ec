use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_envelope::jwk;
use holdfast_image::printable;
use holdfast_wire::grpc::v1::Key;
use holdfast_wire::{Malformed, PublicKey};
use serde_json::json;

use super::key_list::under;
use crate::cli::{Common, KeyFormat};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::file::write_whole;
use crate::output;

pub(crate) fn run(
    common: &Common,
    alias: &str,
    format: KeyFormat,
    file: Option<&Path>,
) -> Result<(), Failure> {
    let keys = under(Daemon::connect(common)?.keys()?, alias)?;
    let key = for_new_images(&keys, alias)?;
    let bytes = encode(key, format)?;
    if let Some(file) = file {
        return write_whole(file, &bytes).map_err(|error| {
            Failure::line(format!(
                "cannot write {}: {error}; name another file with -o",
                printable(&file.to_string_lossy())
            ))
        });
    }
    if common.json {
        let text = match format {
            KeyFormat::Der => STANDARD.encode(&bytes),
            KeyFormat::Pem | KeyFormat::Jwk => String::from_utf8_lossy(&bytes).into_owned(),
        };
        output::print_json(&json!({"alias": key.alias, "kid": key.kid, "publicKey": text}))?;
        return Ok(());
    }
    let mut out = io::stdout().lock();
    if format == KeyFormat::Der && out.is_terminal() {
        return Err(Failure::line("DER is binary and this is a terminal; write it to a file with -o FILE"));
    }
    out.write_all(&bytes)?;
    out.flush()?;
    Ok(())
}

/// A key that has been rotated out still opens, but nothing new should be encrypted to it.
fn for_new_images<'a>(keys: &'a [Key], alias: &str) -> Result<&'a Key, Failure> {
    let key = keys.iter().find(|key| key.wraps).ok_or_else(|| {
        Failure::line(format!(
            "{alias} only opens old images (wraps = false); export the key that took its place"
        ))
    })?;
    if !key.public_key.is_empty() {
        return Ok(key);
    }
    Err(Failure::line(match key.trouble.as_str() {
        "" => format!(
            "{alias} is a symmetric key and has no public half; encrypt through provider:holdfast:{alias}"
        ),
        trouble => format!("the public key of {alias} is not known at the moment: {trouble}"),
    }))
}

fn encode(key: &Key, format: KeyFormat) -> Result<Vec<u8>, Failure> {
    let odd = |error: Malformed| {
        Failure::line(format!("holdfastd answered a public key that cannot be read ({error}); see its log"))
    };
    let public = PublicKey::from_der(&key.public_key).map_err(odd)?;
    match format {
        KeyFormat::Pem => public.to_pem().map(String::into_bytes).map_err(odd),
        KeyFormat::Der => public.to_der().map_err(odd),
        KeyFormat::Jwk => {
            // What skopeo will encrypt with, and the hint by which the daemon finds the key again.
            let algorithm = key.algorithms.first().and_then(|name| name.parse().ok());
            let kid = Some(key.kid.as_str()).filter(|kid| !kid.is_empty());
            Ok(format!("{}\n", jwk::to_json(&public, kid, algorithm)).into_bytes())
        }
    }
}
