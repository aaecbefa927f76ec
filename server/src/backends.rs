//! Which backends are compiled in, how a configured token is connected to, and who makes keys on it.

use std::path::Path;
use std::sync::Arc;

use holdfast_custody::{Connect, Error, Keysmith, PinLatch};
use holdfast_wire::{KeyUri, Scheme};

use crate::config;

/// The schemes this holdfastd can serve.
pub fn built_in() -> Vec<Scheme> {
    let mut schemes = Vec::new();
    if cfg!(feature = "pkcs11") {
        schemes.push(Scheme::Pkcs11);
    }
    if cfg!(feature = "tpm") {
        schemes.push(Scheme::Tpm);
    }
    if cfg!(feature = "kmip") {
        schemes.push(Scheme::Kmip);
    }
    schemes
}

/// What makes a connection to a token. The configuration has been checked: its scheme is built in.
pub fn connector(token: &config::Token, state_dir: &Path) -> Arc<Connect> {
    let latch = PinLatch::new(state_dir, &token.uri.to_string());
    match &token.way {
        #[cfg(feature = "pkcs11")]
        config::Way::Pkcs11 { module, pin, unpad } => {
            let token = pkcs11(&token.uri, module, pin, latch).unpadding(unpad.clone());
            Arc::new(move || token.connect())
        }
        #[cfg(feature = "tpm")]
        config::Way::Tpm(way) => {
            let _ = latch;
            let token = tpm(token, way).map(|tpm| {
                let tpm = tpm.with_state_dir(state_dir.to_owned());
                // Of the daemon alone: what an operator's command finds in the TPM is the daemon's.
                if way.exclusive { tpm.exclusive() } else { tpm }
            });
            Arc::new(move || token.as_ref().map_err(Clone::clone).and_then(holdfast_tpm::Token::connect))
        }
        #[cfg(feature = "kmip")]
        config::Way::Kmip(way) => {
            let _ = latch;
            let token = kmip(token, way);
            Arc::new(move || token.as_ref().map_err(Clone::clone).and_then(holdfast_kmip::Token::connect))
        }
        #[cfg(not(all(feature = "pkcs11", feature = "tpm", feature = "kmip")))]
        _ => {
            let _ = latch;
            let scheme = token.uri.scheme();
            Arc::new(move || Err(without(scheme)))
        }
    }
}

/// A connection that makes keys on a token.
pub fn keysmith(token: &config::Token, state_dir: &Path) -> Result<Box<dyn Keysmith>, Error> {
    let latch = PinLatch::new(state_dir, &token.uri.to_string());
    match &token.way {
        #[cfg(feature = "pkcs11")]
        config::Way::Pkcs11 { module, pin, .. } => pkcs11(&token.uri, module, pin, latch).keysmith(),
        #[cfg(feature = "tpm")]
        config::Way::Tpm(way) => {
            let _ = latch;
            tpm(token, way)?.with_state_dir(state_dir.to_owned()).keysmith()
        }
        #[cfg(feature = "kmip")]
        config::Way::Kmip(way) => {
            let _ = latch;
            kmip(token, way)?.keysmith()
        }
        #[cfg(not(all(feature = "pkcs11", feature = "tpm", feature = "kmip")))]
        _ => {
            let _ = latch;
            Err(without(token.uri.scheme()))
        }
    }
}

/// The storage key of a TPM, whether or not it is the one that is pinned.
#[cfg(feature = "tpm")]
pub fn storage_key(token: &config::Token) -> Result<holdfast_tpm::StorageKey, Error> {
    match &token.way {
        config::Way::Tpm(way) => {
            tpm(token, &config::Tpm { storage_key_name: None, ..way.clone() })?.storage_key()
        }
        _ => Err(Error::KeyUnfit("only a TPM has a storage key".into())),
    }
}

/// The TPM behind a token, if it is one, and how it is configured.
#[cfg(feature = "tpm")]
pub fn tpm_of(token: &config::Token) -> Option<Result<(holdfast_tpm::Token, &config::Tpm), Error>> {
    match &token.way {
        config::Way::Tpm(way) => Some(tpm(token, way).map(|tpm| (tpm, way))),
        _ => None,
    }
}

/// Where latches live: for the daemon's own user alone.
pub fn make_state_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether a `tcti` is one, as it must be written. The error says how.
pub fn check_tcti(tcti: &str) -> Result<(), String> {
    #[cfg(feature = "tpm")]
    return tcti.parse::<holdfast_tpm::Tcti>().map(drop);
    #[cfg(not(feature = "tpm"))]
    {
        let _ = tcti;
        Err(without(Scheme::Tpm).to_string())
    }
}

/// Whether the Name of a TPM's storage key is one. The error says how one is written.
pub fn check_storage_key_name(name: &str) -> Result<(), String> {
    #[cfg(feature = "tpm")]
    return name.parse::<holdfast_tpm::Name>().map(drop).map_err(str::to_owned);
    #[cfg(not(feature = "tpm"))]
    {
        let _ = name;
        Err(without(Scheme::Tpm).to_string())
    }
}

/// Whether the address of a KMIP server is one. The error says how one is written.
pub fn check_address(address: &str) -> Result<(), String> {
    #[cfg(feature = "kmip")]
    return address.parse::<holdfast_kmip::Address>().map(drop);
    #[cfg(not(feature = "kmip"))]
    {
        let _ = address;
        Err(without(Scheme::Kmip).to_string())
    }
}

/// Whether the URI of a key names one in the way that its backend has it, as far as the URI itself tells.
pub fn check_key(uri: &KeyUri) -> Result<(), String> {
    match uri.scheme() {
        #[cfg(feature = "tpm")]
        Scheme::Tpm => holdfast_tpm::check_uri(uri),
        #[cfg(feature = "kmip")]
        Scheme::Kmip => holdfast_kmip::check_uri(uri),
        _ => Ok(()),
    }
}

#[cfg(feature = "pkcs11")]
fn pkcs11(uri: &KeyUri, module: &Path, pin: &Path, latch: PinLatch) -> holdfast_pkcs11::Token {
    holdfast_pkcs11::Token::new(holdfast_pkcs11::Config {
        module: module.to_owned(),
        uri: uri.clone(),
        pin: holdfast_pkcs11::PinSource::File(pin.to_owned()),
        latch,
    })
}

#[cfg(feature = "tpm")]
fn tpm(token: &config::Token, way: &config::Tpm) -> Result<holdfast_tpm::Token, Error> {
    let mut tpm = holdfast_tpm::Token::new(way.tcti.parse().map_err(Error::Internal)?)
        .with_signed_policies(way.pcr_signatures.clone())
        .with_patience(token.pool.timeout);
    if let Some(name) = &way.storage_key_name {
        tpm = tpm.with_storage_key(name.parse().map_err(|why: &str| Error::Internal(why.to_owned()))?);
    }
    Ok(tpm)
}

#[cfg(feature = "kmip")]
fn kmip(token: &config::Token, way: &config::Kmip) -> Result<holdfast_kmip::Token, Error> {
    let addresses: Result<Vec<_>, String> = way.addresses.iter().map(|address| address.parse()).collect();
    let files = holdfast_kmip::Files { ca: way.ca.clone(), cert: way.cert.clone(), key: way.key.clone() };
    Ok(holdfast_kmip::Token::new(addresses.map_err(Error::Internal)?, files, token.pool.timeout))
}

#[cfg(not(all(feature = "pkcs11", feature = "tpm", feature = "kmip")))]
fn without(scheme: Scheme) -> Error {
    Error::Internal(format!("this holdfastd was built without {}", scheme.name()))
}
