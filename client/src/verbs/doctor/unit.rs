//! A service's systemd unit and its drop-ins: what it starts, and with which environment. As much of
//! systemd.syntax(7) as these units use.

use std::collections::BTreeMap;
use std::path::Path;

use super::program::PATH;
use crate::root::Root;

/// Where units are, the first one that has a name decides.
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const MAX_FILE_LEN: u64 = 256 * 1024;

#[derive(Default)]
pub(super) struct Unit {
    /// Whether there is such a unit.
    pub(super) exists: bool,
    pub(super) environment: BTreeMap<String, String>,
    start: Vec<String>,
}

impl Unit {
    pub(super) fn read(root: &Root, name: &str) -> Unit {
        let mut unit = Unit::default();
        let read = |path: &Path| root.read(path, MAX_FILE_LEN).ok().flatten();
        if let Some(text) = DIRECTORIES.iter().find_map(|at| read(&Path::new(at).join(name))) {
            unit.exists = true;
            unit.add(root, &text);
        }
        let mut drop_ins = BTreeMap::new();
        for directory in DIRECTORIES.iter().map(|at| Path::new(at).join(format!("{name}.d"))) {
            for file in root.names(&directory).into_iter().filter(|file| file.ends_with(".conf")) {
                drop_ins.entry(file.clone()).or_insert_with(|| directory.join(file));
            }
        }
        for text in drop_ins.values().filter_map(|path| read(path)) {
            unit.add(root, &text);
        }
        unit
    }

    /// Where its process looks for programs.
    pub(super) fn path(&self) -> String {
        self.environment.get("PATH").map_or(PATH, String::as_str).to_owned()
    }

    /// The program that it starts.
    pub(super) fn program(&self) -> Option<String> {
        let first = self.start.first()?;
        Some(first.trim_start_matches(['-', '@', ':', '+', '!']).to_owned())
    }

    /// What an option of that program is: `--config X` or `--config=X`.
    pub(super) fn option(&self, names: &[&str]) -> Option<String> {
        let (at, word) = self.start.iter().enumerate().find(|(_, word)| {
            names.contains(&word.split_once('=').map_or(word.as_str(), |(name, _)| name))
        })?;
        word.split_once('=').map(|(_, value)| value.to_owned()).or_else(|| self.start.get(at + 1).cloned())
    }

    fn add(&mut self, root: &Root, text: &str) {
        let mut service = false;
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            if line.starts_with('[') {
                service = line == "[Service]";
            }
            let Some((key, value)) =
                line.split_once('=').filter(|_| service && !line.starts_with(['#', ';']))
            else {
                continue;
            };
            match key.trim() {
                "Environment" if value.trim().is_empty() => self.environment.clear(),
                "Environment" => words(value).iter().for_each(|word| self.set(word)),
                "EnvironmentFile" => {
                    let file = value.trim().trim_start_matches('-');
                    let text = root.read(Path::new(file), MAX_FILE_LEN).ok().flatten().unwrap_or_default();
                    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
                        self.set(&words(line).join(" "));
                    }
                }
                "ExecStart" => self.start = words(value),
                _ => {}
            }
        }
    }

    fn set(&mut self, word: &str) {
        if let Some((name, value)) = word.split_once('=') {
            self.environment.insert(name.trim().to_owned(), value.to_owned());
        }
    }
}

/// At spaces that no quotes stand around.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in text.trim().chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => (quote, any) = (Some(c), true),
            (None, _) if c.is_whitespace() => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            _ => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn drop_ins_come_after_the_unit_and_files_of_variables_count() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "usr/lib/systemd/system/x.service",
            "[Unit]\nEnvironment=NO=1\n[Service]\nEnvironment=\"A=a b\" B=1\nExecStart=-/usr/bin/x --config=/c \\\n  -v\n",
        );
        write(
            "etc/systemd/system/x.service.d/9.conf",
            "[Service]\nEnvironment=B=2\nEnvironmentFile=-/etc/x\n",
        );
        write("etc/x", "# no\nC='c d'\n");
        let unit = Unit::read(&Root::new(dir.path()).unwrap(), "x.service");
        let environment: Vec<_> = unit.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(environment, [("A", "a b"), ("B", "2"), ("C", "c d")]);
        assert_eq!(unit.program().as_deref(), Some("/usr/bin/x"));
        assert_eq!(unit.option(&["-c", "--config"]).as_deref(), Some("/c"));
        assert!(unit.exists && !Unit::read(&Root::new(dir.path()).unwrap(), "y.service").exists);
    }
}
