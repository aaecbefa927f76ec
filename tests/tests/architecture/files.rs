//! What no file of the project may hold.

use std::path::Path;

use super::{files, none, root, text_of};

/// Lines a file of Rust may have without saying why it has more.
const LONGEST: usize = 400;

/// The files that have more, and why.
const LONG_FILES: [(&str, &str); 0] = [];

#[test]
fn no_file_names_a_path_of_a_developers_machine() {
    let mut faults = Vec::new();
    for file in files() {
        let text = text_of(&file);
        for path in local_paths().iter().filter(|path| stands_in(path, &text)) {
            faults.push(format!(
                "{} names {path}: a clone elsewhere has no such path; copy what is needed into the project",
                file.display()
            ));
        }
    }
    none(&faults);
}

#[test]
fn every_long_file_says_why() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let (lines, listed) =
            (text_of(file).lines().count(), LONG_FILES.iter().any(|(long, _)| Path::new(long) == file));
        match (lines > LONGEST, listed) {
            (true, false) => faults.push(format!(
                "{} has {lines} lines: split it, or say why not in LONG_FILES",
                file.display()
            )),
            (false, true) => faults
                .push(format!("{} has only {lines} lines now: take it out of LONG_FILES", file.display())),
            _ => {}
        }
    }
    faults.extend(
        LONG_FILES
            .iter()
            .filter(|(long, _)| !root().join(long).exists())
            .map(|(long, _)| format!("{long} is gone: take it out of LONG_FILES")),
    );
    none(&faults);
}

#[test]
fn no_test_is_switched_off() {
    // In two parts, so that this file does not hold what it looks for.
    let marks = ["#[", "#![", ", ", "```", "```rust,"].map(|before| format!("{before}{}", "ignore"));
    let ends = [']', ' ', ')', ',', '\n', '='];
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        for (number, line) in text_of(file).lines().enumerate() {
            let line = format!("{line}\n");
            let is_mark = |mark: &String| {
                line.split_once(mark.as_str()).is_some_and(|(_, rest)| rest.starts_with(ends))
            };
            let is_attribute = line.contains("#[") || line.contains("#![") || line.contains("```");
            if is_attribute && marks.iter().any(is_mark) {
                faults.push(format!(
                    "{}:{}: a test that never runs keeps no promise; mend it or delete it",
                    file.display(),
                    number + 1
                ));
            }
        }
    }
    none(&faults);
}

/// Where developers keep things: homes, this clone, and what lies beside it.
fn local_paths() -> Vec<String> {
    // Joined, so that this file does not name them.
    let mut paths: Vec<String> = ["home", "root", "Users"].map(|parent| ["", parent, ""].join("/")).to_vec();
    paths.push(["..", "shared"].join("/"));
    let beside = |name: &str| root().parent().map(|parent| parent.join(name).display().to_string());
    paths.push(root().display().to_string());
    paths.extend(beside("shared"));
    // A clone in the root directory has a name that may stand for anything.
    paths.retain(|path| path.matches('/').count() > 1 || path.starts_with(".."));
    paths
}

/// Whether the path stands there by itself and not as the end of a longer one.
fn stands_in(path: &str, text: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        path.starts_with("..") || !before.is_some_and(|c| c.is_ascii_alphanumeric() || "._-/$}".contains(c))
    })
}
