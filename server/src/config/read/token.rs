//! `[[token]]`, and what each backend needs in it.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_custody::Settings;
use holdfast_wire::{KeyUri, Scheme};

use super::super::reader::{At, Section};
use super::super::{Token, Tpm, Way};
use super::{absolute, absolute_path, required_uri, timeout};
use crate::backends;

/// A `[[token]]` as far as it could be read: what only follows from its faults is not told as well.
pub(super) struct Declared {
    pub(super) uri: Option<KeyUri>,
    pub(super) token: Option<Token>,
}

pub(super) fn token(mut section: Section<'_, '_>) -> At<Declared> {
    let span = section.span();
    let uri = required_uri(&mut section, "[[token]]");
    if let Some(uri) = uri.as_ref().filter(|uri| uri.value.names_key()) {
        section.fault(
            uri.span.clone(),
            "the uri of a [[token]] names a key; keep only the part that says which token",
        );
    }
    let is_tpm = uri.as_ref().is_some_and(|uri| uri.value.scheme() == Scheme::Tpm);
    let way = if is_tpm { tpm(&mut section) } else { pkcs11(&mut section, uri.as_ref()) };
    // A TPM's commands run one after the other, whatever is sent at once.
    let workers = if is_tpm { 1 } else { section.number("workers", 1..64, 4) };
    let queue = section.number("queue", 0..65536, 1024);
    let timeout = timeout(&mut section, Duration::from_secs(5));
    if let Some(uri) = &uri {
        let scheme = uri.value.scheme();
        let built_in = backends::built_in();
        if !built_in.contains(&scheme) {
            let names: Vec<&str> = built_in.into_iter().map(Scheme::name).collect();
            section.fault(
                uri.span.clone(),
                format!("this holdfastd was built without {}; it has: {}", scheme.name(), names.join(", ")),
            );
        }
    }
    section.finish();
    let pool = Settings { workers: workers as usize, queue: queue as usize, timeout };
    let uri = uri.map(|at| at.value);
    let token = uri.clone().zip(way).map(|(uri, way)| Token { uri, way, pool });
    At { value: Declared { uri, token }, span }
}

/// `module` and `pin`.
fn pkcs11(section: &mut Section<'_, '_>, uri: Option<&At<KeyUri>>) -> Option<Way> {
    let (has_module, has_pin) = (section.has("module"), section.has("pin"));
    let module = absolute_path(section, "module");
    let pin = pin(section);
    // What a token of a backend that is not here needs is not for us to say.
    if uri.is_some_and(|uri| backends::built_in().contains(&uri.value.scheme())) {
        let span = section.span();
        if !has_module {
            section.fault(span.clone(), "[[token]] needs module, the path of the token's PKCS#11 library");
        }
        if !has_pin {
            section.fault(span, "[[token]] needs pin = { file = \"…\" } or { credential = \"…\" }");
        }
    }
    Some(Way::Pkcs11 { module: module?, pin: pin?, unpad: Vec::new() })
}

/// `tcti`, `storage_key_name`, `exclusive` and `pcr_signatures`.
fn tpm(section: &mut Section<'_, '_>) -> Option<Way> {
    let tcti = section.string("tcti");
    let name = section.string("storage_key_name");
    let exclusive = section.boolean("exclusive", false);
    let signatures = section.strings("pcr_signatures").map_or(Vec::new(), |list| list.value);
    let mut pcr_signatures = Vec::new();
    for path in signatures {
        pcr_signatures.extend(absolute(section, "pcr_signatures", path));
    }
    if let Some(At { value: name, span }) = &name
        && let Err(why) = backends::check_storage_key_name(name)
    {
        section.fault(span.clone(), format!("storage_key_name: {why}"));
    }
    let Some(tcti) = tcti else {
        section
            .fault(section.span(), "[[token]] needs tcti, the way to the TPM: tcti = \"device:/dev/tpmrm0\"");
        return None;
    };
    if let Err(why) = backends::check_tcti(&tcti.value) {
        section.fault(tcti.span, why);
        return None;
    }
    let storage_key_name = name.map(|name| name.value);
    Some(Way::Tpm(Tpm { tcti: tcti.value, storage_key_name, exclusive, pcr_signatures }))
}

/// `pin = { file = "…" }`, or a credential of the service manager (systemd.exec(5), LoadCredential=).
fn pin(section: &mut Section<'_, '_>) -> Option<PathBuf> {
    let mut pin = section.table(
        "pin",
        "pin",
        "{ file = \"…\" } or { credential = \"…\" }; a PIN itself does not stand in this file",
    )?;
    let file = pin.string("file");
    let credential = pin.string("credential");
    let chosen = match (file, credential) {
        (Some(file), None) => absolute(&mut pin, "file", file),
        (None, Some(credential)) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            _ if credential.value.contains('/') || credential.value.starts_with('.') => {
                pin.fault(credential.span, "credential is the name of a systemd credential, not a path");
                None
            }
            Some(dir) => Some(PathBuf::from(dir).join(credential.value)),
            None => {
                pin.fault(
                    credential.span,
                    "credential needs $CREDENTIALS_DIRECTORY, which systemd sets: add LoadCredential= to the unit, or use file",
                );
                None
            }
        },
        _ => {
            pin.fault(pin.span(), "pin is either { file = \"…\" } or { credential = \"…\" }");
            None
        }
    };
    pin.finish();
    chosen
}
