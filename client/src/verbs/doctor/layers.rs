//! Each kind of encrypted layer: which program decodes it, and whether that one can.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::program::{self, Features};
use super::provider::{self, Reader};
use super::{Node, Report, keys, legacy};
use crate::containerd::{LAYERS, OCICRYPT_ID, Processor};
use crate::verbs::setup::VARIABLE;

const SETUP: &str = "holdfast setup containerd --write, then restart containerd";
/// Where containerd looks for programs first, unless told otherwise.
const OPT: &str = "/opt/containerd";

/// What layers are decoded with, for an image that is looked at.
#[derive(Default)]
pub(super) struct Decoders {
    /// The processors that take each media type (with `+encrypted`).
    pub(super) of: BTreeMap<String, Kind>,
    /// The providers that the stock decoder knows.
    pub(super) providers: BTreeSet<String>,
    /// Where it knows them from.
    pub(super) file: Option<PathBuf>,
    /// Whether it has keys of its own.
    pub(super) keys: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `holdfast decode`
    Ours,
    /// ctd-decoder, or what is called as it is.
    Stock,
}

pub(super) fn check(node: &Node, report: &mut Report) -> Decoders {
    let mut decoders = Decoders::default();
    if node.program.is_none() && node.config.files.is_empty() {
        return decoders;
    }
    let mut looked_at: Vec<&Processor> = Vec::new();
    for (kind, media_type) in LAYERS {
        let media_type = format!("{media_type}+encrypted");
        let found = node.config.accepting(&media_type);
        let check = check_name(kind);
        match found.as_slice() {
            [] if kind == "tar.gzip" => {
                report.fault(check, format!("no stream processor takes {media_type}"), &node.main, SETUP);
            }
            [] => {
                report.warning(check, format!("no stream processor takes {media_type}"), &node.main, SETUP);
            }
            [(id, processor)] => {
                report.ok(check, format!("{} as {id}", processor.path), place(node, processor));
            }
            several => ambiguous(node, kind, several, report),
        }
        for (id, processor) in found {
            let kind = kind_of(processor);
            decoders.of.insert(media_type.clone(), kind);
            if kind == Kind::Stock {
                payload(node, id, processor, report);
            }
            // The same program with the same arguments is looked at once.
            if !looked_at.iter().any(|other| alike(other, processor)) {
                looked_at.push(processor);
                decoder(node, kind, processor, &mut decoders, report);
            }
        }
    }
    if looked_at.iter().any(|processor| kind_of(processor) == Kind::Stock) {
        transfer(node, report);
    }
    decoders
}

/// containerd goes through its processors in an order that is another each time it starts.
fn ambiguous(node: &Node, kind: &str, found: &[(&str, &Processor)], report: &mut Report) {
    let ids: Vec<&str> = found.iter().map(|(id, _)| *id).collect();
    let what = format!(
        "{} take them all: which one does is chance, anew at each start of containerd",
        ids.join(" and ")
    );
    let own = format!("{OCICRYPT_ID}.{kind}");
    // The one that is there for a mistake, most likely.
    let (id, first) = found.iter().find(|(id, _)| *id != own).unwrap_or(&found[0]);
    let remedy = if found.iter().any(|(_, one)| one.file.is_none()) {
        format!("rename {id} to {own}, which replaces containerd's own, then restart containerd")
    } else {
        "leave one of them, then restart containerd".to_owned()
    };
    if found.iter().all(|(_, one)| alike(one, first)) {
        report.warning(check_name(kind), what, place(node, first), &remedy);
    } else {
        report.fault(check_name(kind), what, place(node, first), &remedy);
    }
}

/// Whether it is the same to a layer which of them it meets.
fn alike(one: &Processor, other: &Processor) -> bool {
    (&one.path, &one.args, &one.env) == (&other.path, &other.args, &other.env)
}

fn check_name(kind: &str) -> &'static str {
    match kind {
        "tar" => "layers-tar",
        "tar.gzip" => "layers-gzip",
        _ => "layers-zstd",
    }
}

fn kind_of(processor: &Processor) -> Kind {
    let name = Path::new(&processor.path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.starts_with("holdfast") { Kind::Ours } else { Kind::Stock }
}

fn place(node: &Node, processor: &Processor) -> PathBuf {
    processor.file.clone().unwrap_or_else(|| node.main.clone())
}

/// containerd knows by two IDs whom to hand the layer's keys.
fn payload(node: &Node, id: &str, processor: &Processor, report: &mut Report) {
    if ![format!("{OCICRYPT_ID}.tar"), format!("{OCICRYPT_ID}.tar.gzip")].contains(&id.to_owned()) {
        report.fault(
            "payload",
            format!("{id} is no ID for which containerd gives ctd-decoder what it needs (\"read configFd: bad file descriptor\")"),
            place(node, processor),
            "holdfast setup containerd --write (it needs nothing given), or --stock (zstd under gzip's ID)",
        );
    }
}

/// The transfer service gives the stock decoder nothing.
fn transfer(node: &Node, report: &mut Report) {
    let check = "transfer-pull";
    if legacy::pulls_locally(node) {
        let three = node.config.files.first().is_some_and(|main| main.version >= 3);
        if node.program.is_none() && three {
            report.unknown(
                check,
                "containerd's program was not found, and its release decides",
                "",
                "see its path",
            );
        }
        return;
    }
    report.fault(
        check,
        "this containerd pulls through its transfer service, which gives ctd-decoder no keys (\"read configFd: bad file descriptor\")",
        &node.main,
        "holdfast setup containerd --write (it needs nothing given), or --stock (use_local_image_pull = true)",
    );
}

fn decoder(node: &Node, kind: Kind, processor: &Processor, decoders: &mut Decoders, report: &mut Report) {
    let opt = node.config.plugin("io.containerd.internal.v1.opt", &["path"]).and_then(toml::Value::as_str);
    let path = format!("{}/bin:{}", opt.unwrap_or(OPT), node.unit.path());
    let (check, at) = ("decoder", place(node, processor));
    let features = match program::find(&node.root, &processor.path, &path) {
        None => {
            let remedy = match kind {
                Kind::Ours => "install holdfast there, or: holdfast setup containerd --write",
                Kind::Stock => "install imgcrypt, or: holdfast setup containerd --write",
            };
            report.fault(
                check,
                format!("{} is not in containerd's PATH ({path})", processor.path),
                at,
                remedy,
            );
            Features::default()
        }
        Some(program) if !program.executable => {
            report.fault(check, "is no program that can be started", &program.path, "chmod 755 it");
            Features::default()
        }
        Some(program) => match program.features() {
            Err(error) => {
                report.unknown(check, error.to_string(), at, "run this as root");
                Features::default()
            }
            Ok(features) => {
                if kind == Kind::Stock && !features.providers {
                    report.fault(
                        check,
                        "knows no key providers",
                        &program.path,
                        "install imgcrypt 1.1.11 or later, or: holdfast setup containerd --write",
                    );
                } else {
                    report.ok(check, "is there", &program.path);
                }
                features
            }
        },
    };
    match kind {
        Kind::Ours if processor.args.first().is_none_or(|arg| arg != "decode") => {
            report.fault(check, "holdfast decodes as `holdfast decode`", place(node, processor), SETUP);
        }
        Kind::Ours => socket(node, processor, report),
        Kind::Stock => stock(node, processor, features, decoders, report),
    }
}

/// The decoder's socket is the one that the daemon is looked for at.
fn socket(node: &Node, processor: &Processor, report: &mut Report) {
    let given =
        processor.args.iter().position(|arg| arg == "--socket").and_then(|at| processor.args.get(at + 1));
    if let Some(given) = given.filter(|given| Path::new(given) != node.socket) {
        report.warning(
            "decoder",
            format!("it asks at {given}, and this command looks at {}", node.socket.display()),
            place(node, processor),
            "holdfast setup containerd --write with the daemon's --socket, or run this with --socket",
        );
    }
}

fn stock(
    node: &Node,
    processor: &Processor,
    features: Features,
    decoders: &mut Decoders,
    report: &mut Report,
) {
    let mut args = processor.args.iter();
    if args.any(|arg| arg == "--decryption-keys-path") {
        let directory = args.next().map_or(Path::new(""), Path::new);
        decoders.keys |= keys::check(node, directory, report);
    }
    let variable = format!("{VARIABLE}=");
    let own = processor.env.iter().find_map(|env| env.strip_prefix(&variable).map(str::to_owned));
    match own.or_else(|| node.unit.environment.get(VARIABLE).cloned()) {
        Some(file) => {
            let reader =
                Reader { name: &processor.path, tls: features.tls, environment: &node.unit.environment };
            decoders.providers.extend(provider::check(node, Path::new(&file), &reader, report));
            decoders.file = Some(file.into());
        }
        None => report.fault(
            "provider-file",
            format!("{} is started without {VARIABLE}, and so has no provider", processor.path),
            place(node, processor),
            "holdfast setup containerd --write, or --stock",
        ),
    }
}
