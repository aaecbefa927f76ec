//! Programs beside containerd that are built on ocicrypt: whether they know key providers, and where they
//! look for them.

use std::path::Path;

use super::program::{self, PATH};
use super::provider::{self, Reader};
use super::unit::Unit;
use super::{Node, Report};
use crate::verbs::setup::VARIABLE;

const CONTAINERS_CONF: &str = "/etc/containers/containers.conf";
const MAX_FILE_LEN: u64 = 1024 * 1024;

pub(super) fn check(node: &Node, report: &mut Report) {
    crio(node, report);
    let mut any = None;
    for name in ["podman", "buildah", "skopeo"] {
        let Some(program) = program::find(&node.root, name, PATH) else { continue };
        match program.features() {
            Err(error) => report.unknown(name, error.to_string(), program.path, "run this as root"),
            Ok(features) if !features.providers => report.warning(
                name,
                "knows no key providers (\"Provided protocol not recognized\")",
                program.path,
                "take one built on ocicrypt 1.1 or later: Debian 13's; or use holdfast image",
            ),
            Ok(features) => {
                report.ok(name, "knows key providers", program.path);
                any = any.or(Some((name, features)));
            }
        }
    }
    let Some((name, features)) = any else { return };
    too_late(node, report);
    // What this command was started with is what a program started beside it would have.
    if let Some(file) = std::env::var_os(VARIABLE).filter(|_| node.root.is_this_machine()) {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        provider::check(
            node,
            Path::new(&file),
            &Reader { name, tls: features.tls, environment: &environment },
            report,
        );
    }
}

fn crio(node: &Node, report: &mut Report) {
    let unit = Unit::read(&node.root, "crio.service");
    let path = unit.program().unwrap_or_else(|| "crio".to_owned());
    let Some(program) = program::find(&node.root, &path, PATH) else { return };
    let features = match program.features() {
        Ok(features) => features,
        Err(error) => return report.unknown("crio", error.to_string(), program.path, "run this as root"),
    };
    match unit.environment.get(VARIABLE) {
        _ if !features.providers => {
            report.warning(
                "crio",
                "knows no key providers",
                program.path,
                "take one built on ocicrypt 1.1 or later",
            );
        }
        Some(file) => {
            report.ok("crio", "knows key providers", program.path);
            let reader = Reader { name: "crio", tls: features.tls, environment: &unit.environment };
            provider::check(node, Path::new(file), &reader, report);
        }
        None => report.warning(
            "crio",
            format!("its unit does not set {VARIABLE}: it has no provider"),
            program.path,
            "holdfast setup crio --write",
        ),
    }
}

/// ocicrypt reads the variable as the program starts, before that reads containers.conf.
fn too_late(node: &Node, report: &mut Report) {
    let directory = format!("{CONTAINERS_CONF}.d");
    let files =
        node.root.names(Path::new(&directory)).into_iter().map(|name| Path::new(&directory).join(name));
    for file in std::iter::once(CONTAINERS_CONF.into()).chain(files) {
        let text = node.root.read(&file, MAX_FILE_LEN).ok().flatten().unwrap_or_default();
        if text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains(VARIABLE)) {
            report.warning(
                "containers-conf",
                format!("{VARIABLE} in containers.conf is set too late for podman to see"),
                file,
                "holdfast setup podman --write",
            );
        }
    }
}
