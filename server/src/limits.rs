//! Counting what one caller has at once.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A bound on how much each key may have at once.
pub(crate) struct Places<K> {
    most: usize,
    taken: Mutex<HashMap<K, usize>>,
    none_taken: Notify,
}

/// One taken place; dropping it gives it back.
pub(crate) struct Place<K: Eq + Hash> {
    of: Arc<Places<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Places<K> {
    pub(crate) fn new(most: usize) -> Self {
        Places { most, taken: Mutex::default(), none_taken: Notify::new() }
    }

    /// A place for `key`, if it has not all of them.
    pub(crate) fn take(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut taken = self.taken();
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { of: self.clone(), key })
    }
}

impl<K> Places<K> {
    /// Waits until every place has been given back.
    pub(crate) async fn all_back(&self) {
        loop {
            // Before the look: what comes back after it is not missed.
            let changed = self.none_taken.notified();
            if self.taken().is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            // Forgotten with its last place, so that callers that come and go do not add up.
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
        if taken.is_empty() {
            self.of.none_taken.notify_waiters();
        }
    }
}

impl<K: Eq + Hash> fmt::Debug for Place<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_key_has_its_own_places_and_gives_them_back() {
        let places = Arc::new(Places::new(2));
        let (a, b) = (places.take("a"), places.take("a"));
        assert!(a.is_some() && b.is_some() && places.take("a").is_none());
        let _other = places.take("b").unwrap();
        drop(a);
        assert!(places.take("a").is_some());
        drop(b);
        assert_eq!(places.taken().len(), 1, "callers without a place are forgotten");
    }

    #[tokio::test]
    async fn whoever_waits_for_all_places_gets_the_last_one_back() {
        let places = Arc::new(Places::new(2));
        places.all_back().await;
        let (a, b) = (places.take("a"), places.take("b"));
        let mut wait = std::pin::pin!(places.all_back());
        drop(a);
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut wait).await.is_err(), "one is taken");
        drop(b);
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    }
}
