//! `imports` in containerd's configuration: where they lead, and how a drop-in file of ours gets among
//! them without touching what is there.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::parse;
use crate::owned::section;
use crate::root::Root;

/// Our drop-in's name.
const NAME: &str = "holdfast.toml";
/// Matches it, and no file of others'. As a pattern, it may match nothing: a name that is missing keeps
/// containerd 1.x from starting.
const PATTERN: &str = "holdfast*.toml";
/// From 2.2 on, containerd without a configuration file imports this.
const ALL: &str = "*.toml";

/// Where a drop-in file goes, and what the main file must become for it to be read.
pub(crate) struct DropIn {
    pub(crate) path: PathBuf,
    /// The version that it must have: a drop-in may not have a higher one than the main file.
    pub(crate) version: i64,
    /// The main file with the import; none where it is imported already.
    pub(crate) main: Option<String>,
}

impl DropIn {
    /// For a main file with this text.
    pub(crate) fn of(main: &Path, text: Option<&str>) -> Result<DropIn, String> {
        let text = section::without(text.unwrap_or_default())?;
        let table =
            parse(&text).map_err(|why| format!("containerd does not start with it: {why}; mend it"))?;
        let version = table.get("version").and_then(Value::as_integer).unwrap_or(2);
        let imports = of(&table);
        let imported = imports.iter().map(|import| absolute(main, import)).find_map(|import| {
            let pattern = import.file_name()?.to_str()?;
            let matched = if pattern.contains('*') { matches(pattern, NAME) } else { pattern == NAME };
            let directory = import.parent().filter(|directory| !directory.to_string_lossy().contains('*'))?;
            matched.then(|| directory.join(NAME))
        });
        if let Some(path) = imported {
            return Ok(DropIn { path, version, main: None });
        }
        let directory = main.parent().unwrap_or(Path::new("/")).join("conf.d");
        let import = |pattern: &str| directory.join(pattern).to_string_lossy().into_owned();
        let changed = match (text.trim().is_empty(), table.contains_key("imports")) {
            (true, _) => section::at_top(&text, &format!("version = 2\n{}", line(&[import(ALL)]))),
            (false, false) => section::at_top(&text, &line(&[import(PATTERN)])),
            (false, true) => {
                let at = line_of(&text, &imports).ok_or_else(|| {
                    format!(
                        "its imports do not stand on one line; add {:?} to them, then run this again",
                        import(PATTERN)
                    )
                })?;
                section::instead_of(&text, at, &line(&[imports, vec![import(PATTERN)]].concat()))
            }
        };
        Ok(DropIn { path: directory.join(NAME), version, main: Some(changed) })
    }
}

/// The imports that a file names.
pub(crate) fn of(table: &Table) -> Vec<String> {
    let list = table.get("imports").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

/// The files that a file's imports lead to. Patterns count in the last part of a path alone.
pub(super) fn resolve(root: &Root, file: &Path, imports: &[String]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for import in imports.iter().map(|import| absolute(file, import)) {
        let (Some(directory), Some(pattern)) =
            (import.parent(), import.file_name().and_then(|name| name.to_str()))
        else {
            continue;
        };
        if pattern.contains('*') {
            let names = root.names(directory).into_iter().filter(|name| matches(pattern, name));
            files.extend(names.map(|name| directory.join(name)));
        } else {
            files.push(import);
        }
    }
    files
}

fn absolute(file: &Path, import: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).join(import)
}

/// `*` stands for any characters, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            name.char_indices().any(|(at, _)| matches(rest, &name[at..])) || matches(rest, "")
        }
        Some(first) => name.chars().next().is_some_and(|c| {
            (first == '?' || first == c) && matches(&pattern[first.len_utf8()..], &name[c.len_utf8()..])
        }),
    }
}

fn line(imports: &[String]) -> String {
    let quoted: Vec<String> = imports.iter().map(|import| Value::from(import.as_str()).to_string()).collect();
    format!("imports = [{}]\n", quoted.join(", "))
}

/// The line before the first table that gives just these imports.
fn line_of(text: &str, imports: &[String]) -> Option<usize> {
    let head = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    head.enumerate()
        .filter(|(_, line)| line.trim_start().starts_with("imports"))
        .find(|(_, line)| {
            parse(line).is_ok_and(|table| table.contains_key("imports") && of(&table) == imports)
        })
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_in(text: &str) -> DropIn {
        DropIn::of(Path::new("/etc/containerd/config.toml"), Some(text)).unwrap()
    }

    #[test]
    fn patterns_match_as_globs_do() {
        for (pattern, name, is) in [
            ("*.toml", "holdfast.toml", true),
            ("holdfast*.toml", "holdfast.toml", true),
            ("h?ldfast.toml", "holdfast.toml", true),
            ("*", "", true),
            ("*.conf", "holdfast.toml", false),
            ("**a", "ba", true),
            ("a*b", "acbd", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn a_directory_that_is_imported_is_used_and_the_main_file_left_alone() {
        let found = drop_in("version = 3\nimports = [\"/x/*.conf\", \"/etc/other.d/*.toml\"]\n");
        assert_eq!((found.path, found.version, found.main), ("/etc/other.d/holdfast.toml".into(), 3, None));
        let found = drop_in("version = 2\nimports = [\"conf.d/*.toml\"]\n");
        assert_eq!((found.path, found.main), ("/etc/containerd/conf.d/holdfast.toml".into(), None));
    }

    #[test]
    fn an_import_is_added_where_there_is_none_and_where_there_are_some() {
        for (text, main) in [
            (
                "",
                "# begin holdfast\nversion = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n# end holdfast\n",
            ),
            (
                "version = 2\n",
                "# begin holdfast\nimports = [\"/etc/containerd/conf.d/holdfast*.toml\"]\n# end holdfast\nversion = 2\n",
            ),
            (
                "imports = ['/a.toml'] # x\nversion = 2\n",
                "# begin holdfast\n#was imports = ['/a.toml'] # x\nimports = [\"/a.toml\", \"/etc/containerd/conf.d/holdfast*.toml\"]\n# end holdfast\nversion = 2\n",
            ),
        ] {
            let changed = drop_in(text).main.unwrap();
            assert_eq!(changed, main);
            // A second time is the first time.
            assert_eq!(drop_in(&changed).main.unwrap(), main);
            assert_eq!(section::without(&changed).unwrap(), text);
        }
    }

    #[test]
    fn imports_on_several_lines_are_left_to_their_owner() {
        let error = DropIn::of(Path::new("/c.toml"), Some("imports = [\n  '/a.toml',\n]\n")).err().unwrap();
        assert!(error.contains("add \"/conf.d/holdfast*.toml\" to them"), "{error}");
    }
}
