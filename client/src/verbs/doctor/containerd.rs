//! containerd's configuration as a whole: whether it is read, and all of it.

use std::path::Path;

use super::{Node, Report, legacy};
use crate::containerd::Trouble;

const CONFIG: &str = "containerd-config";
/// The version of containerd 2.0 and 2.1.
const NEWEST: i64 = 3;

pub(super) fn check(node: &Node, report: &mut Report) {
    let config = &node.config;
    if node.program.is_none() && config.files.is_empty() && config.troubles.is_empty() {
        report.ok("containerd", "is not installed", "");
        return;
    }
    let release = match (node.program.is_some(), node.features.two, node.features.transfers) {
        (false, _, _) => "its program was not found",
        (true, false, _) => "1.x",
        (true, true, false) => "2.0",
        (true, true, true) => "2.1 or later",
    };
    let program = node.program.as_ref().map_or(Path::new(""), |program| &program.path);
    report.ok("containerd", release, program);
    for trouble in &config.troubles {
        tell(node, trouble, report);
    }
    versions(node, report);
    for (plugin, file) in &config.replaced {
        report.warning(
            "plugin-replaced",
            format!("its [plugins.\"{plugin}\"] takes the place of the whole table in the files before it, as in every containerd 1.x"),
            file,
            "move these settings into the main file",
        );
    }
    legacy::check(node, report);
}

fn tell(node: &Node, trouble: &Trouble, report: &mut Report) {
    match trouble {
        Trouble::Unread { file, why, kind } => {
            report.unread(CONFIG, format!("cannot be read: {why}"), *kind, file);
        }
        Trouble::NoToml { file, why } => {
            report.fault(CONFIG, format!("containerd does not start with it: {why}"), file, "mend it");
        }
        Trouble::NoImport { file, import } => {
            let what = format!("it imports {}, which is not there", import.display());
            let remedy =
                "take it out of imports, or write it as a pattern (with a *), which may match nothing";
            if node.features.two {
                report.warning(CONFIG, format!("{what}; imports after it are not read"), file, remedy);
            } else {
                report.fault(CONFIG, format!("{what}: containerd 1.x does not start"), file, remedy);
            }
        }
    }
}

fn versions(node: &Node, report: &mut Report) {
    let Some(main) = node.config.files.first() else {
        if node.config.troubles.is_empty() {
            report.ok(CONFIG, "there is none, and containerd has its defaults", &node.main);
        }
        return;
    };
    let newest = if node.features.two || node.program.is_none() { i64::MAX } else { 2 };
    let unknown = node.config.files.iter().find(|file| file.version > newest);
    if let Some(file) = unknown {
        report.fault(
            CONFIG,
            format!("it has version {}, with which containerd 1.x does not start", file.version),
            &file.path,
            "write it as version 2",
        );
        return;
    }
    for file in node.config.files.iter().filter(|file| file.version > main.version) {
        report.warning(
            CONFIG,
            format!(
                "it has version {}, the main file {}: newer containerds refuse that",
                file.version, main.version
            ),
            &file.path,
            "give it the main file's version",
        );
    }
    for file in node.config.files.iter().filter(|file| file.version > NEWEST) {
        report.warning(
            CONFIG,
            format!("it has version {}, and what is known here ends at {NEWEST}", file.version),
            &file.path,
            "write it as version 3 for containerd 2, as version 2 for 1.x",
        );
    }
    if main.table.get("version").is_none() {
        report.warning(
            CONFIG,
            "it has no version and is read as version 1, whose plugins have other names",
            &main.path,
            "write it as version 2, or: containerd config migrate",
        );
    } else {
        let files = node.config.files.len();
        let files = if files == 1 { "one file".to_owned() } else { format!("{files} files") };
        report.ok(CONFIG, format!("version {}, {files}", main.version), &main.path);
    }
}
