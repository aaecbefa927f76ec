//! `holdfast doctor`: looks for what keeps a node from opening encrypted images, and says what to do.
//!
//! It reads files, of this machine or under `--root`, and asks the daemon; it starts no program and changes
//! nothing. What an installed program can do is told by what its file holds. Each check has a name, which
//! docs/doctor.md lists.

mod address;
mod containerd;
mod daemon;
mod image;
mod keys;
mod layers;
mod legacy;
mod others;
mod program;
mod provider;
mod report;
mod unit;

use std::path::PathBuf;

use holdfast_image::printable;

use self::program::{Features, Program};
use self::report::{Report, State};
use self::unit::Unit;
use crate::cli::{Common, Doctor};
use crate::containerd::Config;
use crate::failure::Failure;
use crate::output;
use crate::root::Root;

/// What is looked at, read once.
struct Node {
    root: Root,
    /// containerd's program, where there is one.
    program: Option<Program>,
    features: Features,
    unit: Unit,
    main: PathBuf,
    config: Config,
    /// The daemon's socket, as this command was told it.
    socket: PathBuf,
}

pub(crate) fn run(common: &Common, wanted: &Doctor) -> Result<(), Failure> {
    let node = Node::read(common, wanted)?;
    let mut report = Report::default();
    containerd::check(&node, &mut report);
    let decoders = layers::check(&node, &mut report);
    others::check(&node, &mut report);
    if let Some(image) = &wanted.image {
        image::check(image, &node, &decoders, &mut report);
    }
    if node.root.is_this_machine() {
        daemon::check(common, &mut report);
    }
    if common.json {
        output::print_json(&report.document())?;
    } else {
        output::print(&report.text())?;
    }
    match report.worst() {
        State::Ok => Ok(()),
        State::Unknown => Err(Failure::Found(1)),
        State::Warning => Err(Failure::Found(3)),
        State::Fault => Err(Failure::Found(4)),
    }
}

impl Node {
    fn read(common: &Common, wanted: &Doctor) -> Result<Node, Failure> {
        let root = Root::new(&wanted.root)?;
        let unit = Unit::read(&root, "containerd.service");
        let program = unit.program().map_or_else(
            || program::find(&root, "containerd", &unit.path()),
            |path| program::find(&root, &path, &unit.path()),
        );
        let features = match &program {
            Some(program) => program.features()?,
            None => Features::default(),
        };
        let main =
            wanted.containerd_config.clone().or_else(|| unit.option(&["-c", "--config"]).map(PathBuf::from));
        let main = main.unwrap_or_else(|| "/etc/containerd/config.toml".into());
        // Without a program to tell, the newer way hides nothing that the older would show.
        let config = Config::load(&root, &main, features.two || program.is_none());
        if wanted.containerd_config.is_some() && config.files.is_empty() && config.troubles.is_empty() {
            return Err(Failure::line(format!(
                "there is no {} in {}; --containerd-config names containerd's configuration as the system sees it",
                printable(&main.to_string_lossy()),
                printable(&wanted.root.to_string_lossy())
            )));
        }
        Ok(Node { root, program, features, unit, main, config, socket: common.socket.clone() })
    }
}
