//! containerd's stream processors, in a drop-in file that its configuration imports.
//!
//! The drop-in names no plugin that containerd 1.x has: there a drop-in's table replaces the main file's
//! as a whole, and the node would lose its CRI settings.

use std::path::{Path, PathBuf};

use holdfast_image::printable;

use super::provider::{Provider, Theirs, socket, this_program};
use super::{VARIABLE, finish, plain};
use crate::cli::{Common, DEFAULT_TIMEOUT, SetupContainerd};
use crate::containerd::imports::DropIn;
use crate::containerd::{KEYS, LAYERS, MAX_FILE_LEN, OCICRYPT_ID, PROVIDERS};
use crate::failure::Failure;
use crate::owned::{Edit, Plan, section, whole};
use crate::root::Root;

const MARK: &str = "# Written by `holdfast setup containerd`; changes are lost. --remove takes it away.";
/// Where packages put us, for a root that is not this machine's.
const INSTALLED: &str = "/usr/bin/holdfast";

pub(crate) fn run(common: &Common, wanted: &SetupContainerd) -> Result<(), Failure> {
    let node = &wanted.node;
    let root = Root::new(&node.root)?;
    let main = std::path::absolute(&wanted.config)
        .map_err(|error| told(&wanted.config, &format!("{error}; name another with --config")))?;
    let text = root
        .read(&main, MAX_FILE_LEN)
        .map_err(|error| told(&main, &format!("cannot be read: {error}; name another with --config")))?;
    let drop_in = DropIn::of(&main, text.as_deref()).map_err(|what| told(&main, &what))?;

    let processors = if wanted.stock { stock(wanted)? } else { ours(common, wanted, &root)? };
    let content = format!("version = {}\n\n{processors}", drop_in.version);
    let mut plan = Plan::new(root);
    plan.file(drop_in.path, whole(MARK, content, node.remove, node.force));
    plan.file(main, if node.remove { without() } else { with(drop_in.main) });
    if wanted.stock || node.remove {
        let provider = Provider::called(&node.name, &common.socket)?;
        plan.file(PROVIDERS, provider.edit(node.remove, Theirs::on_a_node(node)));
    }
    if wanted.stock && !node.remove {
        plan.directory(KEYS);
    }
    finish(common, node, &plan, "systemctl restart containerd")
}

/// `holdfast decode`, which finds a layer's keys without containerd's help: each kind of layer under an
/// ID of its own, and no setting of containerd's.
fn ours(common: &Common, wanted: &SetupContainerd, root: &Root) -> Result<String, Failure> {
    let program = match &wanted.program {
        Some(program) => program.clone(),
        None if root.is_this_machine() => this_program()?,
        None => PathBuf::from(INSTALLED),
    };
    let (program, socket) = (plain(&program, "--program")?, socket(&common.socket)?);
    let mut args = format!("\"decode\", \"--socket\", \"{socket}\"");
    if common.timeout != DEFAULT_TIMEOUT {
        args.push_str(&format!(", \"--timeout\", \"{}ms\"", common.timeout.as_millis()));
    }
    let each = LAYERS.map(|(id, media_type)| processor(id, &[media_type], media_type, &program, &args, ""));
    Ok(each.join("\n"))
}

/// ctd-decoder, which needs containerd to hand it a payload. containerd does so for two IDs alone, so
/// zstd goes under gzip's (it looks at what comes out, not at what was promised), and in its own way of
/// pulling alone, which it no longer takes by default from 2.1 on.
fn stock(wanted: &SetupContainerd) -> Result<String, Failure> {
    let program = match &wanted.program {
        Some(program) => plain(program, "--program")?,
        None => "ctd-decoder".to_owned(),
    };
    let args = format!("\"--decryption-keys-path\", \"{KEYS}\"");
    let env = format!("\"{VARIABLE}={PROVIDERS}\"");
    let [tar, gzip, zstd] = LAYERS.map(|(_, media_type)| media_type);
    let one = |id, accepts: &[&str], returns| processor(id, accepts, returns, &program, &args, &env);
    Ok(format!(
        "# Not known before containerd 2.1, which without it pulls in a way that gives the decoder nothing.\n\
         [plugins.\"io.containerd.cri.v1.images\"]\n  use_local_image_pull = true\n\n{}\n{}",
        one(LAYERS[0].0, &[tar], tar),
        one(LAYERS[1].0, &[gzip, zstd], gzip),
    ))
}

fn processor(id: &str, accepts: &[&str], returns: &str, program: &str, args: &str, env: &str) -> String {
    let accepts: Vec<String> = accepts.iter().map(|one| format!("\"{one}+encrypted\"")).collect();
    let accepts = accepts.join(", ");
    format!(
        "[stream_processors.\"{OCICRYPT_ID}.{id}\"]\n  accepts = [{accepts}]\n  returns = \"{returns}\"\n  \
         path = \"{program}\"\n  args = [{args}]\n  env = [{env}]\n"
    )
}

/// The main file with the import; as it is where nothing has to be added.
fn with(main: Option<String>) -> Edit {
    Box::new(move |before| Ok(main.clone().or_else(|| before.map(str::to_owned))))
}

/// Without it; a file that was made for it goes.
fn without() -> Edit {
    Box::new(|before| {
        let Some(before) = before else { return Ok(None) };
        let theirs = section::without(before)?;
        Ok((!theirs.trim().is_empty() || before.trim().is_empty()).then_some(theirs))
    })
}

fn told(file: &Path, what: &str) -> Failure {
    Failure::line(format!("{}: {what}", printable(&file.to_string_lossy())))
}
