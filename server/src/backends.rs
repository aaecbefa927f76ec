//! Which backends are compiled in, how a configured token is connected to, and who makes keys on it.

use std::path::Path;
use std::sync::Arc;

use holdfast_custody::{Connect, Error, Keysmith, PinLatch};
use holdfast_wire::Scheme;

use crate::config;

/// The schemes this holdfastd can serve.
pub fn built_in() -> Vec<Scheme> {
    let mut schemes = Vec::new();
    if cfg!(feature = "pkcs11") {
        schemes.push(Scheme::Pkcs11);
    }
    schemes
}

/// What makes a connection to a token. The configuration has been checked: its scheme is built in.
pub fn connector(token: &config::Token, state_dir: &Path) -> Arc<Connect> {
    let latch = PinLatch::new(state_dir, &token.uri.to_string());
    match token.uri.scheme() {
        #[cfg(feature = "pkcs11")]
        Scheme::Pkcs11 => {
            let token = pkcs11(token, latch);
            Arc::new(move || token.connect())
        }
        scheme => Arc::new(move || {
            let _ = &latch;
            Err(without(scheme))
        }),
    }
}

/// A connection that makes keys on a token.
pub fn keysmith(token: &config::Token, state_dir: &Path) -> Result<Box<dyn Keysmith>, Error> {
    let latch = PinLatch::new(state_dir, &token.uri.to_string());
    match token.uri.scheme() {
        #[cfg(feature = "pkcs11")]
        Scheme::Pkcs11 => pkcs11(token, latch).keysmith(),
        scheme => {
            let _ = &latch;
            Err(without(scheme))
        }
    }
}

/// Where latches live: for the daemon's own user alone.
pub fn make_state_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(feature = "pkcs11")]
fn pkcs11(token: &config::Token, latch: PinLatch) -> holdfast_pkcs11::Token {
    holdfast_pkcs11::Token::new(holdfast_pkcs11::Config {
        module: token.module.clone(),
        uri: token.uri.clone(),
        pin: holdfast_pkcs11::PinSource::File(token.pin.clone()),
        latch,
    })
    .unpadding(token.unpad.clone())
}

fn without(scheme: Scheme) -> Error {
    Error::Internal(format!("this holdfastd was built without {}", scheme.name()))
}
