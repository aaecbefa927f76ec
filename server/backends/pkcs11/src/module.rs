//! A PKCS#11 library in this process.
//!
//! `C_Initialize` and the login state are one per process and library, whatever the number of `[[token]]`s
//! that name it: the registry here hands out one [`Module`] a path. We never finalize or unload a module
//! while the process lives; if something else in it does, the module is initialized anew, in [`crate::seat`]'s way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::slot::TokenInfo;
use holdfast_custody::Error;

use crate::errors::{failed, is_not_initialized};
use crate::login::Login;
use crate::seat::Seats;

/// A loaded and initialized PKCS#11 library.
pub struct Module {
    context: Pkcs11,
    description: String,
    seats: Seats,
    /// By token, because a slot's number may change under it.
    tokens: Mutex<BTreeMap<TokenId, Arc<TokenState>>>,
}

/// What is known of one token by every session of this process.
#[derive(Debug, Default)]
pub(crate) struct TokenState {
    /// Held while a session is being logged in: one C_Login in all.
    pub(crate) login: Mutex<Login>,
    /// Whether C_DecryptInit takes RSA-OAEP with SHA-1, and with SHA-256.
    pub(crate) oaep: [OnceLock<bool>; 2],
    /// Whether it takes RSA with PKCS#1 v1.5.
    pub(crate) pkcs1_v1_5: OnceLock<bool>,
    /// Whether it takes RSA alone.
    pub(crate) raw_rsa: OnceLock<bool>,
    /// Whether it takes AES-GCM.
    pub(crate) gcm: OnceLock<bool>,
}

/// Serial number and label.
type TokenId = (String, String);

/// A path's place in the registry. Locked while its library loads, so that a library that hangs there
/// holds up only its own tokens.
#[derive(Default)]
struct Place {
    /// Kept when C_Initialize fails: a library that is unloaded and loaded again is asking for trouble.
    loaded: Option<Pkcs11>,
    module: Option<Arc<Module>>,
}

static PLACES: Mutex<BTreeMap<PathBuf, Arc<Mutex<Place>>>> = Mutex::new(BTreeMap::new());

impl Module {
    /// The library at `path`, loaded and initialized by the first who asks, and initialized anew when it
    /// has been finalized since. The error names the path: that token cannot serve until an operator
    /// acts, the daemon's other tokens can.
    pub fn load(path: &Path) -> Result<Arc<Module>, Error> {
        // The real path, so that one library behind two names is one module. Also: a name without a
        // slash would be looked for in the loader's own directories, which is not what was configured.
        let real = path.canonicalize().map_err(|error| {
            Error::Unavailable(format!(
                "the PKCS#11 module {}: {error}; correct module in its [[token]], or install it",
                path.display()
            ))
        })?;
        let place = lock(&PLACES).entry(real.clone()).or_default().clone();
        let mut place = lock(&place);
        if let Some(module) = place.module.clone() {
            drop(place);
            module.revive(&real)?;
            return Ok(module);
        }
        let context = match &place.loaded {
            Some(context) => context.clone(),
            None => open_library(&real)?,
        };
        place.loaded = Some(context.clone());
        let module = Arc::new(Module::initialize(context, &real)?);
        tracing::info!(path = %real.display(), library = module.description, "PKCS#11 module initialized");
        place.module = Some(module.clone());
        Ok(module)
    }

    /// What the library says it is: "SoftHSM: Implementation of PKCS11 2.6".
    pub fn description(&self) -> &str {
        &self.description
    }

    pub(crate) fn context(&self) -> &Pkcs11 {
        &self.context
    }

    pub(crate) fn token_state(&self, token: &TokenInfo) -> Arc<TokenState> {
        let id = (token.serial_number().to_owned(), token.label().to_owned());
        lock(&self.tokens).entry(id).or_default().clone()
    }

    pub(crate) fn seats(&self) -> &Seats {
        &self.seats
    }

    fn initialize(context: Pkcs11, path: &Path) -> Result<Module, Error> {
        initialize(&context, path)?;
        let info =
            context.get_library_info().map_err(|error| failed(error, "asking the module what it is"))?;
        let description =
            format!("{}: {} {}", info.manufacturer_id(), info.library_description(), info.library_version());
        Ok(Module { context, description, seats: Seats::default(), tokens: Mutex::default() })
    }

    /// Initializes the library if it is not: something else in this process has finalized it.
    fn revive(&self, path: &Path) -> Result<(), Error> {
        // By its slots: C_GetInfo is answered by some libraries that are not initialized (kryoptic).
        let is_finalized =
            || self.context.get_slots_with_token().is_err_and(|error| is_not_initialized(&error));
        let inside = self.seats.enter();
        if !is_finalized() {
            return Ok(());
        }
        drop(inside);
        self.seats.renew(|| {
            // Unless another worker came first.
            if is_finalized() {
                initialize(&self.context, path)?;
                tracing::warn!(path = %path.display(), "another part of this process finalized the PKCS#11 module (C_Finalize); it is initialized anew");
            }
            Ok(())
        })
    }
}

/// The lock, also after a thread panicked in it: what is in there is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn initialize(context: &Pkcs11, path: &Path) -> Result<(), Error> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Something else in this process uses the library too; its state is shared with us.
        Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(Error::Unavailable(format!(
            "the PKCS#11 module {} does not start: {}; look at its own configuration and log, and at the environment that holdfastd gives it",
            path.display(),
            failed(error, "initializing it")
        ))),
    }
}

fn open_library(path: &Path) -> Result<Pkcs11, Error> {
    // Its code runs in this process from here on, and may end it: then this is the last line of the log.
    tracing::info!(path = %path.display(), "loading the PKCS#11 module");
    Pkcs11::new(path).map_err(|error| {
        let why = match error {
            Pkcs11Error::LibraryLoading(cause) => format!("cannot be loaded: {cause}"),
            Pkcs11Error::MissingSymbol(name) => format!("is no PKCS#11 module: it has no {name}"),
            other => failed(other, "does not say which functions it has").to_string(),
        };
        Error::Unavailable(format!(
            "the PKCS#11 module {} {why}; correct module in its [[token]], or install it anew",
            path.display()
        ))
    })
}
