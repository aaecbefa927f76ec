//! How far the work is, on stderr: a line for each large layer that is done, and for one that is at work a bar, or where
//! stderr is no terminal a line now and then.

mod counted;

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_image::{Event, LayerName, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;

use crate::interrupt::Interrupt;
use crate::output::size;

/// A layer that takes longer has a line as often as this.
const NOW_AND_THEN: Duration = Duration::from_secs(10);
/// A layer of fewer bytes is done without a word, so that a failure of a small image is one line.
const NOTEWORTHY: u64 = 16 << 20;
/// Less is no time to tell a rate of.
const MOMENT: Duration = Duration::from_millis(100);
/// Bars are drawn anew as often, moved or not, so that the rate of one that stands still goes down.
const TICK: Duration = Duration::from_millis(250);
const BAR: &str = "{msg} {binary_bytes:>11} of {binary_total_bytes:<10} {binary_bytes_per_sec:>13} [{wide_bar}] {percent:>3}%";
/// Columns that it takes besides the message.
const BAR_COLUMNS: usize = 60;
/// Where the terminal has less.
const NARROW: &str = "{wide_msg} {binary_bytes_per_sec:>13} {percent:>3}%";

/// What is shown.
pub(crate) struct Shown {
    how: How,
    layers: Mutex<HashMap<usize, Layer>>,
    sum: Mutex<Sum>,
    interrupt: Interrupt,
}

enum How {
    Bars(MultiProgress),
    Lines,
    Nothing,
}

/// A layer at work.
struct Layer {
    bar: Option<ProgressBar>,
    /// Bytes to read in all its passes.
    to_read: u64,
    read: u64,
    begun: Instant,
    told: Instant,
}

/// All layers that are done.
struct Sum {
    layers: usize,
    bytes: u64,
    begun: Instant,
}

impl Shown {
    pub(crate) fn new(quiet: bool, interrupt: Interrupt) -> Shown {
        let how = match std::io::stderr().is_terminal() {
            _ if quiet => How::Nothing,
            // One that cannot go back up a line.
            true if std::env::var_os("TERM").is_none_or(|term| term == "dumb") => How::Lines,
            true => How::Bars(MultiProgress::new()),
            false => How::Lines,
        };
        let sum = Mutex::new(Sum { layers: 0, bytes: 0, begun: Instant::now() });
        Shown { how, layers: Mutex::default(), sum, interrupt }
    }

    /// Takes all bars off the screen, for good.
    pub(crate) fn clear(&self) {
        if let How::Bars(bars) = &self.how {
            // A terminal that cannot be cleared is no reason to fail.
            let _ = bars.clear();
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// The same, and a line of all layers together if there were several. For an image that was written.
    pub(crate) fn end(&self) {
        self.clear();
        let sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        if sum.layers > 1 && sum.bytes >= NOTEWORTHY && !matches!(self.how, How::Nothing) {
            let (time, bytes) = (sum.begun.elapsed(), size(sum.bytes));
            let line = format!(
                "holdfast: {} layers, {bytes} in {:.1} s{}",
                sum.layers,
                time.as_secs_f64(),
                rate(sum.bytes, time)
            );
            // Nowhere is left to tell that stderr cannot be written.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    fn begin(&self, name: &LayerName, to_read: u64) -> Layer {
        let bar = match &self.how {
            How::Bars(bars) => {
                let title = title(name);
                let template = if columns() < title.len() + BAR_COLUMNS { NARROW } else { BAR };
                Some(bar(bars, name.size, title, template))
            }
            _ => None,
        };
        let now = Instant::now();
        Layer { bar, to_read, read: 0, begun: now, told: now }
    }

    fn line(&self, name: &LayerName, what: &str) {
        let line = format!("{} ({}): {what}", title(name), name.digest.short());
        // Nowhere is left to tell that stderr cannot be written.
        let _ = match &self.how {
            How::Bars(bars) => bars.println(line),
            How::Lines => writeln!(std::io::stderr(), "holdfast: {line}"),
            How::Nothing => Ok(()),
        };
    }
}

impl Progress for Shown {
    fn event(&self, event: Event<'_>) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { layer, bytes } => {
                let old = layers.insert(layer.number, self.begin(layer, bytes));
                // One that was begun again.
                if let (Some(bar), How::Bars(bars)) = (old.and_then(|old| old.bar), &self.how) {
                    bars.remove(&bar);
                }
            }
            Event::Read { layer: name, bytes } => {
                if let Some(layer) = layers.get_mut(&name.number) {
                    layer.read += bytes;
                    let done = layer.done(name.size);
                    if let Some(bar) = &layer.bar {
                        bar.set_position(done);
                    } else if layer.told.elapsed() >= NOW_AND_THEN {
                        layer.told = Instant::now();
                        let rate = rate(done, layer.begun.elapsed());
                        self.line(name, &format!("{} of {}{rate}", size(done), size(name.size)));
                    }
                }
            }
            Event::Done { layer: name } => {
                if let Some(layer) = layers.remove(&name.number) {
                    if let (Some(bar), How::Bars(bars)) = (&layer.bar, &self.how) {
                        bars.remove(bar);
                    }
                    let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.layers += 1;
                    sum.bytes = sum.bytes.saturating_add(name.size);
                    if name.size >= NOTEWORTHY {
                        let rate = rate(name.size, layer.begun.elapsed());
                        self.line(name, &format!("{} done{rate}", size(name.size)));
                    }
                }
            }
            _ => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.interrupt.has_come()
    }
}

/// A bar below the others.
fn bar(bars: &MultiProgress, length: u64, message: String, template: &str) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(length).with_message(message));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// How wide the terminal is; as wide as most where it does not say.
fn columns() -> usize {
    let size = tcgetwinsize(std::io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}

impl Layer {
    /// How much of the layer, however often it is read.
    fn done(&self, size: u64) -> u64 {
        let part = u128::from(self.read) * u128::from(size) / u128::from(self.to_read.max(1));
        u64::try_from(part).unwrap_or(size).min(size)
    }
}

fn rate(bytes: u64, time: Duration) -> String {
    if time < MOMENT {
        return String::new();
    }
    let each_second = u128::from(bytes) * 1000 / time.as_millis();
    format!(", {}/s", size(u64::try_from(each_second).unwrap_or(u64::MAX)))
}

fn title(layer: &LayerName) -> String {
    let platform = layer.platform.as_ref().map_or(String::new(), |platform| format!("{platform}, "));
    format!("{platform}layer {} of {}", layer.position, layer.of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_read_twice_is_done_once() {
        let now = Instant::now();
        let done = |read, to_read, size| Layer { bar: None, to_read, read, begun: now, told: now }.done(size);
        assert_eq!((done(0, 200, 100), done(100, 200, 100), done(200, 200, 100)), (0, 50, 100));
        assert_eq!((done(0, 0, 0), done(7, 5, 5)), (0, 5));
        assert_eq!(done(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn a_moment_has_no_rate() {
        assert_eq!(rate(1 << 30, Duration::from_millis(99)), "");
        assert_eq!(rate(1 << 30, Duration::from_secs(2)), ", 512.0 MiB/s");
    }
}
