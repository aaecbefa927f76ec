//! A connection that its module can take away, and how a module is initialized anew.
//!
//! When something else in this process finalizes a PKCS#11 library, it must be initialized again, and
//! then its session and object handles may come to name other sessions and other objects: SoftHSM counts
//! from 1 again. So nobody is inside the library while that happens, and every session made before is
//! dropped first. Whoever had one is told that the token is unavailable, and connects again.

use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use holdfast_custody::{Custodian, Error, Health, KeyInfo};
use holdfast_wire::{KeyUri, Sealed, Secret};

use crate::Module;
use crate::connection::Connection;
use crate::module::lock;

/// How long calls under way may take to end before the module is initialized anew without them: not at
/// all then, because one that hangs still uses its session.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection, as the pool has it.
pub(crate) struct Seat {
    module: Arc<Module>,
    connection: Arc<Place>,
}

/// Empty once the module was initialized anew.
type Place = Mutex<Option<Connection>>;

/// Who is inside one module, and which connections there are.
#[derive(Default)]
pub(crate) struct Seats {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    inside: usize,
    renewing: bool,
    places: Vec<Weak<Place>>,
}

/// Inside the module, until dropped.
pub(crate) struct Inside<'a>(&'a Seats);

/// Nobody else is inside the module, until dropped.
struct Alone<'a>(&'a Seats);

impl Seat {
    pub(crate) fn new(module: Arc<Module>, connection: Connection) -> Seat {
        let connection = Arc::new(Mutex::new(Some(connection)));
        let mut state = lock(&module.seats().state);
        state.places.retain(|place| place.strong_count() > 0);
        state.places.push(Arc::downgrade(&connection));
        drop(state);
        Seat { module, connection }
    }

    fn call<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, Error>) -> Result<T, Error> {
        let _inside = self.module.seats().enter();
        match lock(&self.connection).as_mut() {
            Some(connection) => work(connection),
            None => Err(Error::Unavailable("the module was initialized anew in the meantime".into())),
        }
    }
}

impl Custodian for Seat {
    fn describe(&mut self, uri: &KeyUri) -> Result<KeyInfo, Error> {
        self.call(|connection| connection.describe(uri))
    }

    fn open(&mut self, uri: &KeyUri, sealed: &Sealed) -> Result<Secret, Error> {
        self.call(|connection| connection.open(uri, sealed))
    }

    fn probe(&mut self) -> Result<Health, Error> {
        self.call(Custodian::probe)
    }

    fn seal(&mut self, uri: &KeyUri, secret: &Secret) -> Result<Sealed, Error> {
        self.call(|connection| connection.seal(uri, secret))
    }
}

/// Closing a session is a call too.
impl Drop for Seat {
    fn drop(&mut self) {
        let _inside = self.module.seats().enter();
        lock(&self.connection).take();
    }
}

impl Seats {
    /// To be held during every call into the module. Waits while the module is initialized anew.
    pub(crate) fn enter(&self) -> Inside<'_> {
        let mut state = lock(&self.state);
        while state.renewing {
            state = self.changed.wait(state).unwrap_or_else(|broken| broken.into_inner());
        }
        state.inside += 1;
        Inside(self)
    }

    /// Does `initialize` with nobody inside and every connection dropped. Must not be called from inside.
    pub(crate) fn renew(&self, initialize: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let alone = self.alone()?;
        let places = std::mem::take(&mut lock(&self.state).places);
        for place in places.iter().filter_map(Weak::upgrade) {
            lock(&place).take();
        }
        let result = initialize();
        drop(alone);
        result
    }

    fn alone(&self) -> Result<Alone<'_>, Error> {
        let until = Instant::now() + PATIENCE;
        let mut state = lock(&self.state);
        // Whoever comes from now on waits; or else there might always be somebody.
        let mut ours = false;
        loop {
            if !state.renewing {
                state.renewing = true;
                ours = true;
            }
            if ours && state.inside == 0 {
                return Ok(Alone(self));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let inside = state.inside;
                drop(state);
                drop(ours.then(|| Alone(self)));
                return Err(Error::Unavailable(format!(
                    "the module was finalized by another part of this process, and it cannot be initialized anew while calls to it hang ({inside} now); restart holdfastd if they do not end"
                )));
            }
            let wait = self.changed.wait_timeout(state, left);
            state = wait.unwrap_or_else(|broken| broken.into_inner()).0;
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).inside -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).renewing = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn nobody_is_inside_while_a_module_is_initialized_anew() {
        let seats = Seats::default();
        let (say, heard) = mpsc::channel();
        thread::scope(|scope| {
            let inside = seats.enter();
            let renewing = scope.spawn(|| {
                seats.renew(|| {
                    say.send("renewed").unwrap();
                    Ok(())
                })
            });
            while !lock(&seats.state).renewing {
                thread::yield_now();
            }
            let say = say.clone();
            let seats = &seats;
            scope.spawn(move || {
                let _inside = seats.enter();
                say.send("entered").unwrap();
            });
            assert!(heard.try_recv().is_err(), "somebody is inside still");
            drop(inside);
            assert_eq!(heard.recv_timeout(PATIENCE * 5).unwrap(), "renewed");
            assert_eq!(heard.recv_timeout(PATIENCE * 5).unwrap(), "entered");
            renewing.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_call_that_hangs_is_not_waited_for_and_keeps_the_module_as_it_is() {
        let seats = Seats::default();
        let _hangs = seats.enter();
        let error = seats.renew(|| panic!("with somebody inside")).unwrap_err().to_string();
        assert!(error.contains("(1 now); restart holdfastd"), "{error}");
        drop(seats.enter());
    }
}
