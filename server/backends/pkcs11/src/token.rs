//! One `[[token]]` of the configuration, shared by the workers of its pool.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_custody::{Custodian, Error, Keysmith, PinLatch};
use holdfast_wire::KeyUri;

use crate::connection::Connection;
use crate::errors::failed;
use crate::keysmith::Smith;
use crate::seat::Seat;
use crate::{Module, PinSource, login, slot};

/// What is known of a token before it is asked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// Which of its tokens. Attributes that say which key are ignored.
    pub uri: KeyUri,
    /// Its user PIN.
    pub pin: PinSource,
    /// Remembers a refused PIN across restarts. Its directory must exist and be writable.
    pub latch: PinLatch,
}

/// The way to one token.
#[derive(Debug, Clone)]
pub struct Token {
    config: Config,
    unpad: Arc<[KeyUri]>,
}

enum Access {
    Read,
    Write,
}

impl Token {
    /// Nothing is loaded, read or asked yet.
    pub fn new(config: Config) -> Token {
        Token { config, unpad: Arc::default() }
    }

    /// Lets OAEP with SHA-256 be taken off in this process, after raw RSA in the token, for these keys and
    /// where the token does not do it itself. See the README for what that risks.
    pub fn unpadding(self, keys: Vec<KeyUri>) -> Token {
        Token { unpad: keys.into(), ..self }
    }

    /// A new connection: loads the module if this process has not yet, finds the token, opens a
    /// read-only session and logs in if no other session of this process has. To be called on the
    /// thread that will use the connection.
    pub fn connect(&self) -> Result<Box<dyn Custodian>, Error> {
        let module = Module::load(&self.config.module)?;
        let inside = module.seats().enter();
        let seat = Seat::new(module.clone(), self.open(&module, Access::Read)?);
        drop(inside);
        Ok(Box::new(seat))
    }

    /// A connection with a read-write session, to make keys. The same rules hold for its login. It has no
    /// seat: an operator's process makes a key and ends, nobody initializes the module anew under it.
    pub fn keysmith(&self) -> Result<Box<dyn Keysmith>, Error> {
        let module = Module::load(&self.config.module)?;
        Ok(Box::new(Smith::new(self.open(&module, Access::Write)?)))
    }

    fn open(&self, module: &Arc<Module>, access: Access) -> Result<Connection, Error> {
        let Config { uri, pin, latch, .. } = &self.config;
        let context = module.context();
        let (slot, token) = slot::find(context, &uri.token())?;
        let session = match access {
            Access::Read => context.open_ro_session(slot),
            Access::Write => context.open_rw_session(slot),
        };
        let session = session.map_err(|error| failed(error, "opening a session"))?;
        let state = module.token_state(&token);
        // The session is open first: from here on, another that closes is not the last, which would
        // log the token out.
        login::ensure(context, slot, &session, &state, pin, latch)?;
        tracing::debug!(slot = slot.id(), token = token.label(), "connected");
        Ok(Connection::new(module.clone(), state, slot, token, session).unpadding(self.unpad.clone()))
    }
}
