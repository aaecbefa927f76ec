//! The daemon as a provider in a configuration of ocicrypt: how it is entered and taken out.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::config::{Change, Config};
use crate::cli::Node;
use crate::failure::Failure;
use crate::owned::Edit;

/// An entry under a name.
#[derive(Clone)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) entry: Value,
    /// All forms in which we write it.
    ours: [Value; 2],
}

/// What becomes of an entry under our name that we did not write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Theirs {
    Refused,
    /// Left where it is, when ours is taken out.
    Left,
    Replaced,
}

impl Theirs {
    pub(super) fn on_a_node(node: &Node) -> Theirs {
        if node.force { Theirs::Replaced } else { Theirs::Left }
    }
}

impl Provider {
    /// The daemon's socket, called by its path.
    pub(super) fn called(name: &str, socket: &Path) -> Result<Provider, Failure> {
        let socket = self::socket(socket)?;
        let called = json!({ "grpc": format!("unix://{socket}") });
        let started = json!({ "cmd": { "path": this_program()?, "args": ["bridge", "--socket", socket] } });
        Ok(Provider { name: name.to_owned(), entry: called.clone(), ours: [called, started] })
    }

    /// `holdfast bridge`, started for each call.
    pub(super) fn started(name: &str, socket: &Path) -> Result<Provider, Failure> {
        let provider = Provider::called(name, socket)?;
        Ok(Provider { entry: provider.ours[1].clone(), ..provider })
    }

    /// Puts the entry beside those of others, or takes it out. A file in which nothing is left goes.
    pub(super) fn edit(self, remove: bool, theirs: Theirs) -> Edit {
        Box::new(move |before| {
            let mut config = Config::parse(before.unwrap_or_default())?;
            let is_ours = config.get(&self.name).is_none_or(|there| self.ours.contains(there));
            match (is_ours, theirs, remove) {
                (false, Theirs::Left, true) => return Ok(before.map(str::to_owned)),
                (false, Theirs::Left | Theirs::Refused, _) => {
                    return Err(format!(
                        "it has a provider {} that this command would write otherwise; choose another --name, or --force",
                        self.name
                    ));
                }
                _ => {}
            }
            let change =
                if remove { config.remove(&self.name) } else { config.set(&self.name, self.entry.clone()) };
            Ok(match change {
                Change::None => before.map(str::to_owned),
                Change::Made => (!config.is_empty()).then(|| config.text()),
            })
        })
    }
}

/// The socket's absolute path, in characters that stand for themselves in a gRPC target.
pub(super) fn socket(path: &Path) -> Result<String, Failure> {
    let plain = |path: &str| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@~".contains(&b));
    let absolute = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    absolute.filter(|path| plain(path)).ok_or_else(|| {
        Failure::line(
            "the socket's path cannot stand in ocicrypt's configuration; name one of ASCII letters, digits and /._-+@~ with --socket",
        )
    })
}

/// This very program, wherever it is installed: its callers do not all have the same PATH.
pub(super) fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::line(format!("cannot tell where this program lies: {error}; mount /proc")))
}
