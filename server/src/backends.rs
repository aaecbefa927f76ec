//! Which backends are compiled in, and how a configured token is connected to.

use std::path::Path;
use std::sync::Arc;

use holdfast_custody::{Connect, PinLatch};
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
            let token = holdfast_pkcs11::Token::new(holdfast_pkcs11::Config {
                module: token.module.clone(),
                uri: token.uri.clone(),
                pin: holdfast_pkcs11::PinSource::File(token.pin.clone()),
                latch,
            });
            Arc::new(move || token.connect())
        }
        scheme => Arc::new(move || {
            let _ = &latch;
            let name = scheme.name();
            Err(holdfast_custody::Error::Internal(format!("this holdfastd was built without {name}")))
        }),
    }
}

/// Where latches live: for the daemon's own user alone.
pub fn make_state_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
