//! How far the work is: a bar a layer where stderr is a terminal, nothing elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use holdfast_image::{Event, LayerName, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::interrupt::Interrupt;

/// indicatif itself draws nothing where stderr is no terminal.
pub(crate) struct Bars {
    all: MultiProgress,
    one: Mutex<HashMap<usize, ProgressBar>>,
    interrupt: Interrupt,
}

impl Bars {
    pub(crate) fn new(interrupt: Interrupt) -> Bars {
        Bars { all: MultiProgress::new(), one: Mutex::default(), interrupt }
    }

    /// Takes all bars off the screen.
    pub(crate) fn clear(&self) {
        // A terminal that cannot be cleared is no reason to fail.
        let _ = self.all.clear();
    }

    fn of(&self, layer: &LayerName) -> Option<ProgressBar> {
        let bars = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        bars.get(&layer.number).cloned()
    }
}

impl Progress for Bars {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Started { layer, bytes } => {
                let bar = self.all.add(ProgressBar::new(bytes).with_message(title(layer)));
                if let Ok(style) =
                    ProgressStyle::with_template("{msg} [{bar:30}] {percent:>3}% {binary_bytes_per_sec}")
                {
                    bar.set_style(style.progress_chars("=> "));
                }
                let mut bars = self.one.lock().unwrap_or_else(PoisonError::into_inner);
                // One that was begun again.
                if let Some(old) = bars.insert(layer.number, bar) {
                    self.all.remove(&old);
                }
            }
            Event::Read { layer, bytes } => {
                if let Some(bar) = self.of(layer) {
                    bar.inc(bytes);
                }
            }
            Event::Done { layer } => {
                if let Some(bar) = self.of(layer) {
                    bar.finish();
                }
            }
            _ => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.interrupt.has_come()
    }
}

fn title(layer: &LayerName) -> String {
    let platform = layer.platform.as_ref().map_or(String::new(), |platform| format!("{platform}, "));
    format!("{platform}layer {} of {} ({})", layer.position, layer.of, layer.digest.short())
}
