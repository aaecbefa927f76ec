//! Logging in: once per token and process, and never twice with a PIN that was refused.
//!
//! HSMs lock themselves after a few wrong PINs, for good. So all workers log in one after the other
//! under one lock, of which all but the first find the token logged in already (the state belongs to the
//! process, not to a session); and a refused PIN is remembered here and on disk, so that neither a
//! request nor a restart tries it again.

use cryptoki::context::Pkcs11;
use cryptoki::error::Error as Pkcs11Error;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use holdfast_custody::{Error, PinLatch};
use holdfast_wire::Secret;

use crate::PinSource;
use crate::errors::{LoginFailure, failed, login_failure};
use crate::module::{TokenState, lock};

/// What the process remembers of a token's logins.
#[derive(Debug, Default)]
pub(crate) struct Login {
    refused: Option<Refused>,
}

/// Spares a PBKDF2 for every connection while latched, and holds when the disk did not take the latch.
#[derive(Debug)]
struct Refused {
    pin: Secret,
    on_disk: bool,
}

/// Leaves the session logged in, by at most one C_Login.
pub(crate) fn ensure(
    context: &Pkcs11,
    slot: Slot,
    session: &Session,
    state: &TokenState,
    pin: &PinSource,
    latch: &PinLatch,
) -> Result<(), Error> {
    let mut login = lock(&state.login);
    if is_user(session)? {
        return Ok(());
    }
    let info = || context.get_token_info(slot).map_err(|error| failed(error, "asking the state of the PIN"));
    let before = info()?;
    may_be_tried(&before)?;
    let secret = pin.read()?;
    login.check(&secret, pin, latch)?;
    let Err(error) = try_once(session, &secret) else {
        login.refused = None;
        if let Err(error) = latch.clear() {
            tracing::warn!(file = %latch.file().display(), %error, "a latch for another PIN cannot be removed");
        }
        tracing::info!(token = before.label(), "logged in");
        return Ok(());
    };
    let failure = match login_failure(&error) {
        // Some tokens answer a wrong PIN with a code of their own, but count it.
        LoginFailure::Other if !before.user_pin_count_low() && info()?.user_pin_count_low() => {
            LoginFailure::WrongPin
        }
        failure => failure,
    };
    match failure {
        LoginFailure::AlreadyDone => Ok(()),
        LoginFailure::WrongPin => Err(login.remember(secret, pin, latch)),
        LoginFailure::Locked => Err(locked()),
        LoginFailure::Expired => Err(Error::PinRefused(
            "the token says its PIN has expired; set a new one with the token's own tool and put it into the PIN file".into(),
        )),
        LoginFailure::NoPinSet => Err(no_pin_set()),
        LoginFailure::AnotherUser => Err(Error::Unavailable(
            "the token's security officer is logged in within this process; end that login".into(),
        )),
        LoginFailure::Other => Err(failed(error, "logging in")),
    }
}

/// Whether the token says that the user is logged in on this session.
pub(crate) fn is_user(session: &Session) -> Result<bool, Error> {
    let info =
        session.get_session_info().map_err(|error| failed(error, "asking the state of the session"))?;
    Ok(matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser))
}

/// The error of a session that should be logged in and is not.
pub(crate) fn lost() -> Error {
    Error::Unavailable("the session is no longer logged in".into())
}

impl Login {
    /// Refuses a PIN that was refused before.
    fn check(&mut self, secret: &Secret, pin: &PinSource, latch: &PinLatch) -> Result<(), Error> {
        if let Some(refused) = &self.refused {
            let lifted = refused.on_disk && !latch.file().exists();
            if !lifted && refused.pin.expose() == secret.expose() {
                return Err(not_again(pin, latch));
            }
            self.refused = None;
        }
        let latched = latch.is_latched(secret).map_err(|error| {
            Error::Unavailable(format!(
                "{}: {error}; whether the PIN was refused before cannot be known, so it is not tried",
                latch.file().display()
            ))
        })?;
        if latched {
            self.refused = Some(Refused { pin: Secret::copy_of(secret.expose()), on_disk: true });
            return Err(not_again(pin, latch));
        }
        latch.check_writable().map_err(|error| {
            Error::Unavailable(format!(
                "{}: {error}; a refused PIN could not be remembered there, so none is tried; make the state directory writable",
                latch.file().display()
            ))
        })
    }

    /// Latches a PIN, and gives the error that says so.
    fn remember(&mut self, secret: Secret, pin: &PinSource, latch: &PinLatch) -> Error {
        let written = latch.latch(&secret);
        self.refused = Some(Refused { pin: secret, on_disk: written.is_ok() });
        if let Err(error) = written {
            tracing::error!(file = %latch.file().display(), %error,
                "that the PIN was refused cannot be kept on disk: a restart would try it once more and may lock the token");
        }
        not_again(pin, latch)
    }
}

/// What the token says of its PIN before it is asked.
fn may_be_tried(token: &TokenInfo) -> Result<(), Error> {
    if token.protected_authentication_path() {
        return Err(Error::Unavailable(
            "the token takes its PIN on its own keypad (protected authentication path), which a daemon cannot press: not supported".into(),
        ));
    }
    if !token.user_pin_initialized() {
        return Err(no_pin_set());
    }
    if token.user_pin_locked() {
        return Err(locked());
    }
    if token.user_pin_final_try() {
        return Err(Error::TokenLocked(
            "one more wrong PIN locks the token, so the PIN is not tried; log in once with the right one by another tool (pkcs11-tool --login --list-objects), which resets the count".into(),
        ));
    }
    Ok(())
}

fn try_once(session: &Session, secret: &Secret) -> Result<(), Pkcs11Error> {
    // Wiped by its own type when dropped.
    let pin = RawAuthPin::new(Box::new(secret.expose().to_vec()));
    let done = session.login_with_raw(UserType::User, &pin);
    clear_dead_frames();
    done
}

/// The token's library works on the PIN in frames that are dead by now, and need not clear them: they lie below this
/// one, and a worker that is not busy would leave them there.
#[inline(never)]
fn clear_dead_frames() {
    let mut below = [0_u8; 64 * 1024];
    std::hint::black_box(&mut below);
}

fn not_again(pin: &PinSource, latch: &PinLatch) -> Error {
    Error::PinRefused(format!(
        "the token refused the PIN in {}, and it is not tried again lest the token lock itself; put the right PIN there, or remove {} to have this one tried once more",
        pin.path().display(),
        latch.file().display()
    ))
}

fn locked() -> Error {
    Error::TokenLocked(
        "the token has locked its PIN; its security officer must set it anew (C_InitPIN) with the token's own tool".into(),
    )
}

fn no_pin_set() -> Error {
    Error::PinRefused("the token has no user PIN yet; set one with the token's own tool (C_InitPIN)".into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn pin(text: &str) -> Secret {
        Secret::copy_of(text.as_bytes())
    }

    fn refused(result: Result<(), Error>) -> bool {
        matches!(result, Err(Error::PinRefused(_)))
    }

    #[test]
    fn a_refused_pin_waits_for_another_pin_or_an_operator() {
        let dir = tempfile::tempdir().unwrap();
        let latch = PinLatch::new(dir.path(), "t");
        let source = PinSource::File(dir.path().join("pin"));
        let mut login = Login::default();
        login.check(&pin("1111"), &source, &latch).unwrap();
        login.remember(pin("1111"), &source, &latch);
        assert!(refused(login.check(&pin("1111"), &source, &latch)));
        let mut restarted = Login::default();
        assert!(refused(restarted.check(&pin("1111"), &source, &latch)));
        assert!(restarted.refused.is_some(), "PBKDF2 is not for every connection");
        login.check(&pin("2222"), &source, &latch).unwrap();
        assert!(refused(login.check(&pin("1111"), &source, &latch)));
        std::fs::remove_file(latch.file()).unwrap();
        login.check(&pin("1111"), &source, &latch).unwrap();
        restarted.check(&pin("1111"), &source, &latch).unwrap();
    }

    #[test]
    fn a_pin_whose_refusal_could_not_be_remembered_is_not_tried() {
        let latch = PinLatch::new(Path::new("/nonexistent"), "t");
        let source = PinSource::File("pin".into());
        let mut login = Login::default();
        let Err(Error::Unavailable(why)) = login.check(&pin("1111"), &source, &latch) else {
            panic!("it would be tried")
        };
        assert!(why.contains("make the state directory writable") && !why.contains("1111"), "{why}");
        // And one that the disk stopped taking in between stays refused in this process.
        let error = login.remember(pin("1111"), &source, &latch).to_string();
        assert!(!error.contains("1111"), "{error}");
        for _ in 0..2 {
            assert!(refused(login.check(&pin("1111"), &source, &latch)));
        }
    }
}
