//! `holdfastd key storage-key`: what another machine needs to seal keys to this one's TPM.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use holdfast_tpm::StorageKey;
use holdfast_wire::KeyUri;

use super::token_of;
use crate::backends;
use crate::config::{Config, Way};

/// The storage key of the TPM that `uri` names.
pub fn read(config: &Config, uri: &KeyUri) -> Result<StorageKey, String> {
    backends::storage_key(token_of(config, uri)?).map_err(|error| format!("{uri}: {error}"))
}

/// Writes its public half to a new file.
pub fn write(key: &StorageKey, path: &Path) -> Result<(), String> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(key.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// What it is, for a terminal, and the lines that pin it. `file` is where its public half was written.
pub fn report(config: &Config, uri: &KeyUri, key: &StorageKey, file: Option<&Path>) -> String {
    let name = key.name().to_string();
    let known = match pinned(config, uri) {
        Some(pinned) if pinned.eq_ignore_ascii_case(&name) => ", as storage_key_name has it".to_owned(),
        Some(pinned) => format!(", and NOT the one that storage_key_name has, {pinned}"),
        None => String::new(),
    };
    let label = file.and_then(|file| file.file_name()?.to_str()).map(|file| {
        let stem = file.split_once(".srk").or_else(|| file.rsplit_once('.')).map_or(file, |(stem, _)| stem);
        format!(" {stem}")
    });
    format!(
        "storage key: {}, Name {name}{known}\n\n\
         For this machine's [[token]]:\nstorage_key_name = \"{name}\"\n\n\
         For the list of pinned storage keys (holdfastd key seal --names), by a way that nobody can change:\n{name}{}\n",
        key.type_name(),
        label.unwrap_or_default(),
    )
}

fn pinned<'a>(config: &'a Config, uri: &KeyUri) -> Option<&'a str> {
    match &token_of(config, uri).ok()?.way {
        Way::Tpm(tpm) => tpm.storage_key_name.as_deref(),
        Way::Pkcs11 { .. } | Way::Kmip(_) => None,
    }
}
