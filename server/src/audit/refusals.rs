//! Refusals of one caller: written one by one at first, then counted, so that a caller that is denied
//! over and over cannot fill the disk.

use std::time::{Duration, Instant};

/// Callers remembered before those without suppressed refusals are forgotten.
pub(super) const MAX_CALLERS: usize = 1024;
/// Refusals of one caller written at once, and how many more each second.
const REFUSAL_BURST: f64 = 20.0;
const REFUSALS_PER_SECOND: f64 = 1.0;

/// A token bucket for one caller's refusals.
pub(super) struct Refusals {
    left: f64,
    at: Instant,
    suppressed: u64,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals { left: REFUSAL_BURST, at: Instant::now(), suppressed: 0 }
    }
}

impl Refusals {
    /// `Some` with the number suppressed before when this one is to be written.
    pub(super) fn admit(&mut self) -> Option<u64> {
        let now = Instant::now();
        let gained = now.duration_since(self.at).as_secs_f64() * REFUSALS_PER_SECOND;
        self.left = (self.left + gained).min(REFUSAL_BURST);
        self.at = now;
        if self.left < 1.0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1.0;
        Some(self.take_suppressed())
    }

    pub(super) fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    pub(super) fn is_remembered(&self) -> bool {
        self.suppressed > 0 || self.at.elapsed() < Duration::from_secs(60)
    }
}
