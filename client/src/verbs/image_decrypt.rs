use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use holdfast_image::{Opener, Packet, Written, decrypt, inspect, printable};
use holdfast_wire::OptsData;

use super::written::document;
use crate::cli::{Common, ImageDecrypt};
use crate::daemon::{self, Daemon};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::place::{Place, Registries};
use crate::progress::Shown;

pub(crate) fn run(common: &Common, wanted: &ImageDecrypt) -> Result<(), Failure> {
    let runtime = daemon::runtime()?;
    let interrupt = Interrupt::install(runtime.handle())?;
    let mut registries = Registries::new(wanted.registry.read(runtime.clone(), interrupt.clone())?);
    let tmpdir = wanted.tmpdir.clone().unwrap_or_else(std::env::temp_dir);
    let source = registries.source(&wanted.source, &tmpdir)?;
    let target = registries.target(&wanted.target)?;
    // Faults of the image are told first, and one without encryption needs no daemon.
    let encrypted = inspect(&*source)?.manifests.iter().flat_map(|m| &m.layers).any(|layer| layer.encrypted);
    let opener = DaemonOpener {
        daemon: encrypted.then(|| Daemon::connect_on(common, runtime)).transpose()?,
        interrupt: interrupt.clone(),
        aliases: Mutex::default(),
    };
    let shown = Shown::new(wanted.progress.quiet, interrupt);
    let result = decrypt(&*source, &*target, wanted.platform.as_ref(), &opener, wanted.jobs, &shown);
    shown.clear();
    let made = result?;
    shown.end();

    let aliases = opener.aliases.into_inner().unwrap_or_else(PoisonError::into_inner);
    let aliases: Vec<String> = aliases.into_iter().collect();
    if made.changed_layers() == 0 {
        // Not a failure: the image is there, and is what was asked for.
        let _ = writeln!(
            std::io::stderr(),
            "holdfast: note: no layer of {} is encrypted; it was copied as it is",
            wanted.source
        );
    }
    if common.json {
        output::print_json(&document(&wanted.target, &made, &aliases, "decrypted"))?;
    } else {
        output::print(&line(&wanted.target, &made, &aliases))?;
    }
    Ok(())
}

/// Has packets opened by the daemon, whatever their scheme.
struct DaemonOpener {
    /// None for an image in which nothing is encrypted.
    daemon: Option<Daemon>,
    interrupt: Interrupt,
    /// The keys that opened something.
    aliases: Mutex<BTreeSet<String>>,
}

impl Opener for DaemonOpener {
    fn open(&self, packets: &[Packet]) -> Result<OptsData, Box<dyn std::error::Error + Send + Sync>> {
        let daemon = self
            .daemon
            .as_ref()
            .ok_or_else(|| Failure::line("the image changed while it was read; run again"))?;
        let key = daemon
            .layer_key(packets, None, self.interrupt.clone().wait())
            .map_err(|unanswered| unanswered.failure)?;
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        aliases.insert(key.alias);
        Ok(key.optsdata)
    }
}

fn line(target: &Place, made: &Written, aliases: &[String]) -> String {
    let layers = made.layers().count();
    let opened = made.changed_layers();
    let mut line = format!("{target} is {}: {opened} of {layers} layers decrypted", made.digest);
    if !aliases.is_empty() {
        line.push_str(&format!(" with {}", printable(&aliases.join(", "))));
    }
    if opened < layers {
        line.push_str(&format!(", {} copied", layers - opened));
    }
    line.push('\n');
    line
}
