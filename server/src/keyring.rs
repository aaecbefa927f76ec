//! The configured keys and the tokens they lie on.
//!
//! Opening, wrapping and sealing take a [`Grant`] by value, so that no key is used without a decision of the
//! policy. What a token said of a key (its public half, its kid, its custody) is remembered to
//! choose candidates by; wrapping asks the token anew, because encrypting an image to a key that is no
//! longer there would lose it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use holdfast_custody::{Connect, Error, Health, KeyInfo, Pool, Usage, Workers};
use holdfast_wire::{KeyUri, Sealed, Secret};

use crate::config::{self, Action};
use crate::policy::Grant;

mod facts;

pub use facts::{Facts, type_name};

/// All keys, in the configuration's order.
pub struct Keyring {
    tokens: Vec<Arc<Token>>,
    keys: Vec<Key>,
}

/// A token and the workers before it.
pub struct Token {
    config: config::Token,
    pool: Pool,
    trouble: RwLock<Option<Error>>,
}

/// A configured key.
pub struct Key {
    /// Its alias.
    pub alias: String,
    /// Whether new images are encrypted to it.
    pub wraps: bool,
    config: config::Key,
    facts: RwLock<Option<Arc<Facts>>>,
}

impl Keyring {
    /// Starts the workers of every token; of those that `running` has with the same settings, its own
    /// are kept. No token is asked anything yet.
    pub fn start(
        config: &config::Config,
        connect: impl Fn(&config::Token) -> Arc<Connect>,
        running: Option<&Keyring>,
    ) -> std::io::Result<Keyring> {
        let tokens = config.tokens.iter().enumerate().map(|(number, token)| {
            let kept = running.and_then(|running| running.tokens.iter().find(|kept| kept.config == *token));
            if let Some(kept) = kept {
                return Ok(kept.clone());
            }
            let pool = Pool::start(&format!("token{number}"), token.pool, connect(token))?;
            Ok(Arc::new(Token { config: token.clone(), pool, trouble: RwLock::new(None) }))
        });
        let tokens = tokens.collect::<std::io::Result<Vec<_>>>()?;
        let keys = config.keys.iter().map(|key| Key {
            alias: key.alias.clone(),
            wraps: key.wraps,
            config: key.clone(),
            facts: RwLock::new(running.and_then(|running| running.known_of(key, tokens.get(key.token)?))),
        });
        Ok(Keyring { keys: keys.collect(), tokens })
    }

    /// What is known of a key that was configured alike, on the same token.
    fn known_of(&self, key: &config::Key, token: &Arc<Token>) -> Option<Arc<Facts>> {
        let alike = |known: &&Key| {
            self.tokens.get(known.config.token).is_some_and(|of| Arc::ptr_eq(of, token))
                && config::Key { token: key.token, ..known.config.clone() } == *key
        };
        self.keys.iter().find(alike)?.known()
    }

    /// The keys, in the configuration's order.
    pub fn keys(&self) -> impl Iterator<Item = (usize, &Key)> {
        self.keys.iter().enumerate()
    }

    /// The tokens.
    pub fn tokens(&self) -> &[Arc<Token>] {
        &self.tokens
    }

    /// The keys of one alias.
    pub fn keys_of<'a>(&'a self, alias: &'a str) -> impl Iterator<Item = (usize, &'a Key)> {
        self.keys().filter(move |(_, key)| key.alias == alias)
    }

    /// Each alias once, in the configuration's order.
    pub fn aliases(&self) -> Vec<&str> {
        let mut aliases: Vec<&str> = Vec::new();
        for key in &self.keys {
            if !aliases.contains(&key.alias.as_str()) {
                aliases.push(&key.alias);
            }
        }
        aliases
    }

    /// What is known of a key; asks its token if nothing is known yet.
    pub async fn facts(&self, index: usize, deadline: Instant) -> Result<Arc<Facts>, Error> {
        let known = read(&self.key(index)?.facts).clone();
        match known {
            Some(facts) => Ok(facts),
            None => self.ask(index, deadline).await,
        }
    }

    /// Opens `sealed` with the key that was granted.
    pub async fn open(&self, grant: Grant, sealed: Sealed, deadline: Instant) -> Result<Secret, Error> {
        if grant.action() != Action::Unwrap {
            return Err(Error::Internal("a grant for another action".into()));
        }
        let key = self.key(grant.key())?;
        self.token_of(key)?.pool.open(&key.config.uri, key.config.requirement, sealed, deadline).await
    }

    /// The key that was granted for wrapping, as its token describes it now.
    pub async fn wrapping_key(&self, grant: Grant, deadline: Instant) -> Result<Arc<Facts>, Error> {
        if grant.action() != Action::Wrap {
            return Err(Error::Internal("a grant for another action".into()));
        }
        self.ask(grant.key(), deadline).await
    }

    /// Has the token of the symmetric key that was granted for wrapping seal `cek`.
    pub async fn seal(&self, grant: Grant, cek: Secret, deadline: Instant) -> Result<Sealed, Error> {
        if grant.action() != Action::Wrap {
            return Err(Error::Internal("a grant for another action".into()));
        }
        let key = self.key(grant.key())?;
        self.token_of(key)?.pool.seal(&key.config.uri, key.config.requirement, cek, deadline).await
    }

    /// Whether the token of a key answers; asked after every rejection, because tokens answer a bad
    /// ciphertext and broken hardware with the same code.
    pub async fn probe_token_of(&self, index: usize, deadline: Instant) -> Result<(), Error> {
        self.token_of(self.key(index)?)?.pool.probe(deadline).await.map(drop)
    }

    /// [`Pool::lost_connections`] of a key's token.
    pub fn lost_connections(&self, index: usize) -> Result<u64, Error> {
        Ok(self.token_of(self.key(index)?)?.pool.lost_connections())
    }

    /// Ends the workers of every token and tells of those that hang; whether none does. To be called
    /// before the process exits.
    pub fn close(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut ended = true;
        for token in &self.tokens {
            if !token.pool.close(until.saturating_duration_since(Instant::now())) {
                tracing::warn!(token = %token.uri(), "the token still hangs in a call; it is abandoned");
                ended = false;
            }
        }
        ended
    }

    /// The workers of the tokens that `next` does not have. They end by themselves when the last request
    /// with this keyring is answered.
    pub fn workers_not_in(&self, next: &Keyring) -> Vec<Workers> {
        let kept = |token: &&Arc<Token>| next.tokens.iter().any(|other| Arc::ptr_eq(other, token));
        self.tokens.iter().filter(|token| !kept(token)).map(|token| token.pool.workers()).collect()
    }

    /// Whether a token answers.
    pub async fn probe(&self, token: usize, deadline: Instant) -> Result<Health, Error> {
        let token = self.tokens.get(token).ok_or_else(|| Error::Internal("no such token".into()))?;
        token.pool.probe(deadline).await
    }

    /// What a token says of a key, whatever is asked of its custody.
    pub async fn inspect(&self, index: usize, deadline: Instant) -> Result<KeyInfo, Error> {
        let key = self.key(index)?;
        self.token_of(key)?.pool.inspect(&key.config.uri, deadline).await
    }

    /// Asks a token whether it answers and what it says of its keys, and remembers both.
    pub async fn refresh(&self, token: usize, deadline: impl Fn() -> Instant) {
        let Some(on) = self.tokens.get(token) else { return };
        let health = on.pool.probe(deadline()).await;
        let was = std::mem::replace(&mut *write(&on.trouble), health.as_ref().err().cloned());
        match (&health, was) {
            (Ok(health), None) => tracing::debug!(token = %on.uri(), is = %health.token, "token answers"),
            (Ok(health), Some(_)) => {
                tracing::info!(token = %on.uri(), is = %health.token, "token answers again")
            }
            (Err(error), was) if was.as_ref() != Some(error) => {
                tracing::error!(token = %on.uri(), %error, "token does not serve");
            }
            _ => {}
        }
        if health.is_err() {
            return;
        }
        for (index, key) in self.keys().filter(|(_, key)| key.config.token == token) {
            if let Err(error) = self.ask(index, deadline()).await {
                tracing::error!(alias = key.alias, uri = %key.config.uri, %error, "key cannot be used");
            }
        }
    }

    async fn ask(&self, index: usize, deadline: Instant) -> Result<Arc<Facts>, Error> {
        let key = self.key(index)?;
        let asked =
            self.token_of(key)?.pool.describe(&key.config.uri, key.config.requirement, deadline).await;
        let facts = match asked.and_then(|info| Facts::of(&key.config, info)) {
            Ok(facts) => Arc::new(facts),
            Err(error) => {
                if !error.is_transient() {
                    *write(&key.facts) = None;
                }
                return Err(error);
            }
        };
        let before = write(&key.facts).replace(facts.clone());
        if before.is_none_or(|before| before.kid != facts.kid) {
            tracing::info!(
                alias = key.alias,
                kid = facts.kid,
                r#type = facts.type_name(),
                custody = facts.custody.summary(),
                "key is ready"
            );
        }
        Ok(facts)
    }

    fn key(&self, index: usize) -> Result<&Key, Error> {
        self.keys.get(index).ok_or_else(|| Error::Internal("a key that is not configured".into()))
    }

    fn token_of(&self, key: &Key) -> Result<&Arc<Token>, Error> {
        self.tokens
            .get(key.config.token)
            .ok_or_else(|| Error::Internal("a token that is not configured".into()))
    }
}

impl Token {
    /// Its URI, for the log and for operators.
    pub fn uri(&self) -> &KeyUri {
        &self.config.uri
    }

    /// Why it does not serve, as of the last time it was asked.
    pub fn trouble(&self) -> Option<Error> {
        read(&self.trouble).clone()
    }

    /// Its queue.
    pub fn usage(&self) -> Usage {
        self.pool.usage()
    }
}

impl Key {
    /// Index of its token.
    pub fn token(&self) -> usize {
        self.config.token
    }

    /// What is known without asking.
    pub fn known(&self) -> Option<Arc<Facts>> {
        read(&self.facts).clone()
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
