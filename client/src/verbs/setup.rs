//! `holdfast setup`: makes other programs call the daemon.
//!
//! All of them own files or parts of files among those of others ([`crate::owned`]): looked at first,
//! printed, written with `--write`, taken away with `--remove`.

mod config;
pub(super) mod containerd;
pub(super) mod crio;
pub(super) mod ocicrypt;
pub(super) mod podman;
mod provider;

use std::path::Path;

use holdfast_image::printable;
use serde_json::{Value, json};

use crate::cli::{Common, Node};
use crate::failure::Failure;
use crate::output;
use crate::owned::{Act, Plan, Step, carry_out};

/// The variable that programs on ocicrypt find their providers by.
pub(crate) const VARIABLE: &str = "OCICRYPT_KEYPROVIDER_CONFIG";

/// Prints a plan or carries it out, and tells what there is to do by hand then.
fn finish(common: &Common, node: &Node, plan: &Plan, then: &str) -> Result<(), Failure> {
    let steps = plan.steps()?;
    let carried = node.write || node.remove;
    if carried {
        carry_out(&steps)?;
    }
    let changed = steps.iter().any(|step| step.act != Act::Nothing);
    if common.json {
        output::print_json(&json!({
            "written": carried,
            "changed": changed,
            "paths": steps.iter().map(document).collect::<Vec<_>>(),
            "then": if changed { then.into() } else { Value::Null },
        }))?;
        return Ok(());
    }
    let mut text = String::new();
    for step in &steps {
        text.push_str(&if carried { told(step) } else { shown(step) });
    }
    text.push_str(&match (changed, carried) {
        (false, _) => "nothing to do\n".to_owned(),
        (true, true) => format!("then: {then}\n"),
        (true, false) => format!("# write this with --write; then: {then}\n"),
    });
    output::print(&text)?;
    Ok(())
}

fn told(step: &Step) -> String {
    let path = name(&step.path);
    match step.act {
        Act::Create => format!("{path}: written\n"),
        Act::Change => format!("{path}: changed\n"),
        Act::Remove => format!("{path}: taken away\n"),
        Act::MakeDirectory => format!("{path}: made, a directory\n"),
        Act::Nothing => String::new(),
    }
}

/// The file as it would be, under its name.
fn shown(step: &Step) -> String {
    let path = name(&step.path);
    match (step.act, &step.text) {
        (Act::MakeDirectory, _) => format!("# {path}: a directory\n\n"),
        (Act::Nothing, _) => format!("# {path}: is as it should be\n\n"),
        (Act::Change, Some(text)) => format!("# {path}, changed:\n{text}\n"),
        (_, Some(text)) => format!("# {path}:\n{text}\n"),
        (_, None) => String::new(),
    }
}

fn document(step: &Step) -> Value {
    let act = match step.act {
        Act::Create => "create",
        Act::Change => "change",
        Act::Remove => "remove",
        Act::MakeDirectory => "directory",
        Act::Nothing => "nothing",
    };
    json!({ "path": step.path.to_string_lossy(), "act": act, "text": step.text })
}

fn name(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// What may stand between quotes in TOML, systemd's units and shells and means itself there.
fn plain(path: &Path, option: &str) -> Result<String, Failure> {
    let text = path.to_str().filter(|text| {
        text.starts_with('/') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@".contains(&b))
    });
    text.map(str::to_owned).ok_or_else(|| {
        Failure::line(format!("{option}: name an absolute path of ASCII letters, digits and /._-+@"))
    })
}
