//! One connection: the [`Custodian`].

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_custody::{Custodian, Error, Health, KeyInfo};
use holdfast_wire::{KeyUri, Sealed, Secret};

use crate::desk::Desk;
use crate::device::{About, Device, Loaded};
use crate::errors::{Again, Failure};
use crate::policy::Policy;
use crate::source::{Source, Usable};
use crate::{Difference, EventLog, Record, ability, evidence, meet, open, pcrs};

/// First pause before the TPM is asked again that asked for patience, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Connection(Arc<Desk>);

impl Connection {
    pub(crate) fn open(desk: Arc<Desk>) -> Result<Connection, Error> {
        desk.turn().device()?;
        Ok(Connection(desk))
    }

    /// One turn at the TPM. What fails because of what is kept in the TPM from earlier turns, or because the TPM
    /// asks for patience, is done again: `work` may run several times, and must not use a key twice.
    pub(crate) fn turn<T>(
        &mut self,
        mut work: impl FnMut(&mut Device) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut turn = self.0.turn();
        let device = turn.device()?;
        let mut patience = Patience::new(self.0.settings().patience);
        let mut afresh = false;
        let error = loop {
            let Failure { error, again } = match device.attempt(&mut work) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            match again {
                Again::Gone if !afresh && device.keeps() => device.forget(),
                Again::Full if !afresh && device.keeps() => device.put_away(),
                Again::Later if patience.waited() => continue,
                _ => break error,
            }
            afresh = true;
        };
        match error {
            // After a failure on the way nothing can be asked through this context any more.
            Error::Unavailable(_) | Error::Internal(_) => turn.close(),
            Error::TokenLocked(why) => return Err(Error::TokenLocked(with_recovery(device, why))),
            _ => {}
        }
        Err(error)
    }

    fn with_key<T>(
        &mut self,
        uri: &KeyUri,
        work: impl FnMut(&mut Device, &Loaded) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.with_key_at(uri, &Source::of(uri)?, work)
    }

    fn with_key_at<T>(
        &mut self,
        uri: &KeyUri,
        source: &Source,
        mut work: impl FnMut(&mut Device, &Loaded) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        // Files are read before the turn: nobody waits for a slow disk.
        let usable = source.file.as_deref().map(Usable::read).transpose()?.map(Arc::new);
        self.turn(|device| {
            let key = device.key(uri, source, usable.as_ref())?;
            work(device, &key)
        })
    }
}

impl Connection {
    /// A refusal because of the machine's state, with what differs where the record of the key tells that.
    fn with_differences(&mut self, uri: &KeyUri, error: Error) -> Error {
        match error {
            Error::StateRefused { differ, why } if differ.is_empty() => {
                let differences = self.differences(uri).unwrap_or_default();
                let lines = differences.iter().map(|difference| format!("; {difference}"));
                let why = lines.fold(why, |why, line| why + &line);
                Error::StateRefused {
                    differ: differences.iter().map(|difference| difference.pcr).collect(),
                    why,
                }
            }
            error => error,
        }
    }

    fn differences(&mut self, uri: &KeyUri) -> Option<Vec<Difference>> {
        let file = Source::of(uri).ok()?.file?;
        let policy = Usable::read(&file).ok()?.policy?;
        let Policy::Exact(policy) = policy.as_ref() else { return None };
        let record = Record::read(&file, &policy.digest()).ok()?;
        let now = self.turn(|device| pcrs::current(device, policy.pcrs())).ok()?;
        let log = EventLog::read(Path::new(EventLog::PATH)).ok().flatten();
        Some(record.differences(&now, log.as_ref()))
    }

    /// As the custodian describes it, of the key at a place.
    pub(crate) fn describe_at(&mut self, uri: &KeyUri, source: &Source) -> Result<KeyInfo, Error> {
        let keeps = self.0.turn().opened().is_some_and(|device| device.keeps());
        let signed = self.0.settings().signed_policies.clone();
        let info = self.with_key_at(uri, source, |device, key| {
            let (public, operations) = ability::of(&key.public)?;
            let (policy, under) = (key.policy.as_deref(), key.under.as_deref());
            let mut custody = evidence::of(&key.public, policy, under, device.about());
            if let Some(policy) = policy {
                let state = meet::state(device, policy, &signed);
                custody.evidence.push(("state now".into(), state.into()));
            }
            Ok(KeyInfo { public: Some(public), operations, custody })
        });
        // Keys are described every few seconds, by the daemon for its health: nothing stays because of that.
        if !keeps {
            self.rest();
        }
        info
    }
}

impl Custodian for Connection {
    fn describe(&mut self, uri: &KeyUri) -> Result<KeyInfo, Error> {
        self.describe_at(uri, &Source::of(uri)?)
    }

    fn open(&mut self, uri: &KeyUri, sealed: &Sealed) -> Result<Secret, Error> {
        let signed = self.0.settings().signed_policies.clone();
        self.with_key(uri, |device, key| open::open(device, key, &signed, sealed))
            .map_err(|error| self.with_differences(uri, error))
    }

    fn probe(&mut self) -> Result<Health, Error> {
        self.turn(|device| {
            device.probe()?;
            let About { manufacturer, firmware } = device.about();
            Ok(Health { token: format!("TPM 2.0, manufacturer {manufacturer}, firmware {firmware}") })
        })
    }

    fn rest(&mut self) {
        self.0.turn().opened().map(Device::put_away);
    }
}

impl Drop for Connection {
    /// Other connections open the way again.
    fn drop(&mut self) {
        self.0.turn().close();
    }
}

fn with_recovery(device: &mut Device, why: String) -> String {
    match device.lockout_seconds() {
        Some(seconds) => format!("{why}; it takes passwords again in at most {seconds} s"),
        None => why,
    }
}

/// How long the TPM's wish for patience is granted.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    fn new(patience: Duration) -> Patience {
        Patience { until: Instant::now() + patience, pause: FIRST_PAUSE }
    }

    /// Waits a little. False when there was enough of it.
    fn waited(&mut self) -> bool {
        if Instant::now() + self.pause > self.until {
            return false;
        }
        std::thread::park_timeout(self.pause);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        true
    }
}
