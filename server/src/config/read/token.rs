//! `[[token]]`, and what each backend needs in it.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_custody::Settings;
use holdfast_wire::{KeyUri, Scheme};

use super::super::reader::{At, Section};
use super::super::{Kmip, Token, Tpm, Way};
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
    let scheme = uri.as_ref().map(|uri| uri.value.scheme());
    let way = match scheme {
        Some(Scheme::Tpm) => tpm(&mut section),
        Some(Scheme::Kmip) => kmip(&mut section),
        Some(Scheme::Pkcs11) | None => pkcs11(&mut section, uri.as_ref()),
    };
    // A TPM's commands run one after the other, whatever is sent at once.
    let workers = if scheme == Some(Scheme::Tpm) { 1 } else { section.number("workers", 1..64, 4) };
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
    let pin = secret_file(
        section,
        "pin",
        "{ file = \"…\" } or { credential = \"…\" }; a PIN itself does not stand in this file",
    );
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

/// `addresses`, `ca`, `cert` and `key`.
fn kmip(section: &mut Section<'_, '_>) -> Option<Way> {
    for (key, what) in [
        (
            "addresses",
            "addresses, the hosts and ports of the KMIP server: addresses = [\"kms-1.internal:5696\"]",
        ),
        ("ca", "ca, the authorities of the KMIP server's certificate"),
        ("cert", "cert, the client certificate that the KMIP server knows the daemon by"),
        ("key", "key = { file = \"…\" } or { credential = \"…\" }, the private key of cert"),
    ] {
        if !section.has(key) {
            section.fault(section.span(), format!("[[token]] needs {what}"));
        }
    }
    let addresses = addresses(section);
    let ca = absolute_path(section, "ca");
    let cert = absolute_path(section, "cert");
    let key = secret_file(
        section,
        "key",
        "{ file = \"…\" } or { credential = \"…\" }; a private key itself does not stand in this file",
    );
    Some(Way::Kmip(Kmip { addresses: addresses?, ca: ca?, cert: cert?, key: key? }))
}

fn addresses(section: &mut Section<'_, '_>) -> Option<Vec<String>> {
    let At { value: listed, span } = section.strings("addresses")?;
    if listed.is_empty() {
        section.fault(span, "addresses is empty; give at least one, like \"kms-1.internal:5696\"");
        return None;
    }
    let mut addresses: Vec<String> = Vec::new();
    for At { value: address, span } in listed {
        match backends::check_address(&address) {
            Err(why) => section.fault(span, why),
            Ok(()) if addresses.contains(&address) => {
                section.fault(span, format!("the address {address} stands twice"));
            }
            Ok(()) => addresses.push(address),
        }
    }
    Some(addresses)
}

/// `{ file = "…" }`, or a credential of the service manager (systemd.exec(5), LoadCredential=).
fn secret_file(section: &mut Section<'_, '_>, key: &'static str, wanted: &str) -> Option<PathBuf> {
    let mut table = section.table(key, key, wanted)?;
    let file = table.string("file");
    let credential = table.string("credential");
    let chosen = match (file, credential) {
        (Some(file), None) => absolute(&mut table, "file", file),
        (None, Some(credential)) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            _ if credential.value.contains('/') || credential.value.starts_with('.') => {
                table.fault(credential.span, "credential is the name of a systemd credential, not a path");
                None
            }
            Some(dir) => Some(PathBuf::from(dir).join(credential.value)),
            None => {
                table.fault(
                    credential.span,
                    "credential needs $CREDENTIALS_DIRECTORY, which systemd sets: add LoadCredential= to the unit, or use file",
                );
                None
            }
        },
        _ => {
            table.fault(
                table.span(),
                format!("{key} is either {{ file = \"…\" }} or {{ credential = \"…\" }}"),
            );
            None
        }
    };
    table.finish();
    chosen
}
