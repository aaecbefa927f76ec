use std::io::Write as _;

use holdfast_image::{Selection, Written, encrypt, inspect, printable};
use holdfast_wire::Labels;

use super::written::document;
use crate::cli::{Common, ImageEncrypt};
use crate::daemon::{self, Daemon};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::place::{Place, Registries};
use crate::progress::Shown;
use crate::recipients::{Recipients, Wraps};

pub(crate) fn run(common: &Common, wanted: &ImageEncrypt) -> Result<(), Failure> {
    let labels = labels(&wanted.labels)?;
    // Faults of the keys and of the image are told before anybody is asked.
    let recipients = Recipients::read(&wanted.to, labels)?;
    let runtime = daemon::runtime()?;
    let interrupt = Interrupt::install(runtime.handle())?;
    let mut registries = Registries::new(wanted.registry.read(runtime.clone(), interrupt.clone())?);
    let source = registries.source(&wanted.source, &std::env::temp_dir())?;
    let target = registries.target(&wanted.target)?;
    inspect(&*source)?;
    let daemon = recipients.need_daemon().then(|| Daemon::connect_on(common, runtime.clone())).transpose()?;
    let wraps = Wraps { recipients: &recipients, daemon: daemon.as_ref(), interrupt: interrupt.clone() };
    let selection = Selection { platforms: wanted.platforms.clone(), layers: wanted.layers.clone() };
    let shown = Shown::new(wanted.progress.quiet, interrupt);
    let result = encrypt(&*source, &*target, &selection, &wraps, wanted.jobs, &shown);
    shown.clear();
    let made = result?;
    shown.end();

    let clear = made.layers().filter(|layer| !layer.media_type.ends_with("+encrypted")).count();
    if clear > 0 && selection.layers.is_empty() && selection.platforms.is_empty() {
        // Nobody chose that, so it must not pass unseen.
        let _ = writeln!(
            std::io::stderr(),
            "holdfast: note: {clear} of the layers are no tar archives (attestations or other attachments); they were copied as they are, and anyone can read them"
        );
    }
    if common.json {
        output::print_json(&document(&wanted.target, &made, recipients.told(), "encrypted"))?;
    } else {
        output::print(&line(&wanted.target, &made, recipients.told()))?;
    }
    Ok(())
}

/// What was given with `--label`.
pub(super) fn labels(typed: &[(String, String)]) -> Result<Labels, Failure> {
    let mut labels = Labels::default();
    for (name, value) in typed {
        labels.insert(name, value).map_err(|error| Failure::line(format!("{error}; see --label")))?;
    }
    Ok(labels)
}

fn line(target: &Place, made: &Written, recipients: &[String]) -> String {
    let layers = made.layers().count();
    let encrypted = made.changed_layers();
    let mut line = format!(
        "{target} is {}: {encrypted} of {layers} layers encrypted to {}",
        made.digest,
        printable(&recipients.join(", "))
    );
    if encrypted < layers {
        line.push_str(&format!(", {} copied", layers - encrypted));
    }
    line.push('\n');
    line
}
