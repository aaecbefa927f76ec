//! The daemon as a provider in ocicrypt's configuration file.
//!
//! The file belongs to the machine's operator: other providers stay as they are, and an entry of our
//! name that is not exactly as it is written here is somebody's decision and needs --force.

use std::io::{self, Write as _};
use std::path::Path;

use holdfast_image::printable;
use serde_json::{Value, json};

use super::VARIABLE;
use super::config::Config;
use super::provider::{Provider, Theirs};
use crate::cli::{Common, SetupOcicrypt};
use crate::failure::Failure;
use crate::output;
use crate::owned::{Act, Plan, carry_out};
use crate::root::Root;

pub(crate) fn run(common: &Common, wanted: &SetupOcicrypt) -> Result<(), Failure> {
    let made = if wanted.bridge { Provider::started } else { Provider::called };
    let provider = made(&wanted.name, &common.socket)?;
    let Some(file) = &wanted.file else {
        let mut config = Config::default();
        config.set(&wanted.name, provider.entry);
        output::print(&config.text())?;
        note(&format!("write it with --file PATH; programs read the file that {VARIABLE} names"));
        return Ok(());
    };
    let file = std::path::absolute(file)
        .map_err(|error| Failure::line(format!("{}: {error}; name another with --file", file.display())))?;
    let theirs = if wanted.force { Theirs::Replaced } else { Theirs::Refused };
    let mut plan = Plan::new(Root::new(Path::new("/"))?);
    plan.file(&file, provider.clone().edit(wanted.remove, theirs));
    let steps = plan.steps()?;
    carry_out(&steps)?;
    let changed = steps.iter().any(|step| step.act != Act::Nothing);
    tell(common, wanted, &file, &provider.entry, changed)
}

fn tell(
    common: &Common,
    wanted: &SetupOcicrypt,
    file: &Path,
    entry: &Value,
    changed: bool,
) -> Result<(), Failure> {
    let (at, name) = (printable(&file.to_string_lossy()), &wanted.name);
    if common.json {
        let entry = if wanted.remove { &Value::Null } else { entry };
        output::print_json(&json!({
            "file": file.to_string_lossy(),
            "provider": name,
            "entry": entry,
            "changed": changed,
        }))?;
        return Ok(());
    }
    let line = match (wanted.remove, changed) {
        (true, true) => format!("{at}: provider {name} was taken out\n"),
        (true, false) => format!("{at}: there is no provider {name}; nothing was changed\n"),
        (false, false) => format!("{at}: provider {name} is there already; nothing was changed\n"),
        (false, true) => format!("{at}: provider {name} was written\n"),
    };
    output::print(&line)?;
    if !wanted.remove {
        output::print(&format!(
            "programs read it with {VARIABLE}={at} in their environment:\n  skopeo copy --encryption-key provider:{name}:ALIAS …\n"
        ))?;
    }
    Ok(())
}

fn note(text: &str) {
    // Not a failure, and nowhere is left to tell that stderr cannot be written.
    let _ = writeln!(io::stderr(), "holdfast: note: {text}");
}
