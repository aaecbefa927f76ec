//! Which of a cluster's addresses to connect to: the first that answers, without asking a dead one again and again.
//!
//! Each address has a circuit breaker, and all connections of a token share them. An address that failed is passed
//! over for as long as another answers; it is tried again where nobody waits for it ([`Cluster::look_again`], from
//! a connection that rests), after a pause that doubles. So what a dead address costs, it costs once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_custody::Error;

use crate::address::Address;

/// How long an address that failed is left alone, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LAST_PAUSE: Duration = Duration::from_secs(300);

pub(crate) struct Cluster {
    addresses: Vec<Address>,
    breakers: Mutex<Vec<Breaker>>,
    /// Held while an address is tried that is not known to answer: others wait for the outcome, instead of paying
    /// the same again.
    trying: Mutex<()>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Breaker {
    Unknown,
    Answers,
    Failed { at: Instant, pause: Duration, why: Error },
}

impl Cluster {
    pub(crate) fn new(addresses: Vec<Address>) -> Cluster {
        let breakers = Mutex::new(vec![Breaker::Unknown; addresses.len()]);
        Cluster { addresses, breakers, trying: Mutex::new(()) }
    }

    /// The first connection that `connect` makes. When it makes none, the error tells of each address.
    pub(crate) fn connect<C>(&self, connect: impl Fn(&Address) -> Result<C, Error>) -> Result<C, Error> {
        let began = Instant::now();
        let known = self.breakers().iter().position(|breaker| *breaker == Breaker::Answers);
        let mut told = Vec::new();
        if let Some(index) = known {
            match self.attempt(index, &connect) {
                Ok(connection) => return Ok(connection),
                Err(error) => told.push((index, error)),
            }
        }
        let _trying = self.trying.lock().unwrap_or_else(PoisonError::into_inner);
        for index in self.order() {
            if let Some(error) = self.failed_since(index, began) {
                if known != Some(index) {
                    told.push((index, error));
                }
                continue;
            }
            match self.attempt(index, &connect) {
                Ok(connection) => return Ok(connection),
                Err(error) => told.push((index, error)),
            }
        }
        let told: Vec<String> =
            told.into_iter().map(|(index, error)| format!("{}: {error}", self.addresses[index])).collect();
        Err(Error::Unavailable(told.join("; ")))
    }

    /// Asks one address that failed, if it was left alone for long enough. Nobody waits for this.
    pub(crate) fn look_again(&self, connect: impl FnOnce(&Address) -> Result<(), Error>) {
        let due = {
            let mut breakers = self.breakers();
            let is_due = |breaker: &Breaker| match breaker {
                Breaker::Failed { at, pause, .. } => at.elapsed() >= *pause,
                _ => false,
            };
            let due = breakers.iter().position(is_due);
            // Others leave it to this one.
            if let Some(index) = due
                && let Breaker::Failed { why, .. } = &breakers[index]
            {
                breakers[index] = failed_again(&breakers[index], why.clone());
            }
            due
        };
        let Some(index) = due else { return };
        let address = &self.addresses[index];
        match connect(address) {
            Ok(()) => {
                tracing::info!(%address, "the KMIP server answers again");
                self.breakers()[index] = Breaker::Answers;
            }
            Err(error) => tracing::debug!(%address, %error, "still no connection to the KMIP server"),
        }
    }

    fn attempt<C>(&self, index: usize, connect: impl Fn(&Address) -> Result<C, Error>) -> Result<C, Error> {
        let began = Instant::now();
        let result = connect(&self.addresses[index]);
        let mut breakers = self.breakers();
        match &result {
            Ok(_) => breakers[index] = Breaker::Answers,
            Err(error) => {
                tracing::warn!(address = %self.addresses[index], %error, "no connection to the KMIP server");
                // When it dies, all that are on their way to it fail: that is one failure.
                let is_known = matches!(&breakers[index], Breaker::Failed { at, .. } if *at >= began);
                if !is_known {
                    breakers[index] = failed_again(&breakers[index], error.clone());
                }
            }
        }
        result
    }

    /// What answers or was never asked comes first, in the configured order; then what failed, the longest ago first.
    fn order(&self) -> Vec<usize> {
        let breakers = self.breakers();
        let failed_at = |index: &usize| match breakers[*index] {
            Breaker::Failed { at, .. } => Some(at),
            _ => None,
        };
        let mut order: Vec<usize> = (0..breakers.len()).collect();
        // A stable sort, and None is less than any instant.
        order.sort_by_key(failed_at);
        order
    }

    /// What another connection met with meanwhile.
    fn failed_since(&self, index: usize, began: Instant) -> Option<Error> {
        match &self.breakers()[index] {
            Breaker::Failed { at, why, .. } if *at >= began => Some(why.clone()),
            _ => None,
        }
    }

    fn breakers(&self) -> MutexGuard<'_, Vec<Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed_again(breaker: &Breaker, why: Error) -> Breaker {
    let pause = match breaker {
        Breaker::Failed { pause, .. } => (*pause * 2).min(LAST_PAUSE),
        _ => FIRST_PAUSE,
    };
    Breaker::Failed { at: Instant::now(), pause, why }
}

#[cfg(test)]
mod tests;
