//! How many of many small things are done, where each is too small to be told of.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::ProgressBar;

use super::{How, NOW_AND_THEN, Shown, bar, columns};

const BAR: &str = "{msg} {human_pos:>7} of {human_len:<7} [{wide_bar}] {percent:>3}%";
/// Columns that it takes besides the message.
const BAR_COLUMNS: usize = 36;
const NARROW: &str = "{wide_msg} {human_pos} of {human_len}";

/// Told of each. Gone from the screen when it is dropped.
pub(crate) struct Counted<'a> {
    shown: &'a Shown,
    bar: Option<ProgressBar>,
    /// Of what.
    name: String,
    total: usize,
    /// How many are done, and when that was told last.
    done: Mutex<(usize, Instant)>,
}

impl Shown {
    /// `name` is fit for a terminal.
    pub(crate) fn counted(&self, name: String, total: usize) -> Counted<'_> {
        let bar = match &self.how {
            How::Bars(bars) => {
                let template = if columns() < name.len() + BAR_COLUMNS { NARROW } else { BAR };
                Some(bar(bars, total as u64, name.clone(), template))
            }
            How::Lines | How::Nothing => None,
        };
        Counted { shown: self, bar, name, total, done: Mutex::new((0, Instant::now())) }
    }
}

impl Counted<'_> {
    /// One more.
    pub(crate) fn one(&self) {
        let mut state = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, told) = &mut *state;
        *done += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        } else if matches!(self.shown.how, How::Lines) && told.elapsed() >= NOW_AND_THEN {
            *told = Instant::now();
            // Nowhere is left to tell that stderr cannot be written.
            let _ = writeln!(std::io::stderr(), "holdfast: {}: {done} of {}", self.name, self.total);
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let (Some(bar), How::Bars(bars)) = (&self.bar, &self.shown.how) {
            bars.remove(bar);
        }
    }
}
