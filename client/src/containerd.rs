//! containerd's configuration, read from its files as containerd reads it: imports in their order, later
//! ones over earlier ones.
//!
//! Measured with `containerd config dump` of 1.6.20, 1.7.24 and 2.1.9. A stream processor of an import
//! replaces the one of the same ID as a whole in all of them. A plugin's table does so only in 1.x; from
//! 2.0 on its keys are merged. containerd's own defaults for what no file names are filled in here.

pub(crate) mod imports;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use self::imports::resolve;
use crate::root::Root;

/// Longest file that is read, in bytes.
pub(crate) const MAX_FILE_LEN: u64 = 1024 * 1024;
/// What the stock decoder's processors begin with; containerd gives a payload to `.tar` and `.tar.gzip`.
pub(crate) const OCICRYPT_ID: &str = "io.containerd.ocicrypt.decoder.v1";
/// Where containerd's defaults look for keys and for the provider.
pub(crate) const KEYS: &str = "/etc/containerd/ocicrypt/keys";
pub(crate) const PROVIDERS: &str = "/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf";

/// The layers there are: what their stream processor's ID ends in, and their media type without
/// `+encrypted`.
pub(crate) const LAYERS: [(&str, &str); 3] = [
    ("tar", "application/vnd.oci.image.layer.v1.tar"),
    ("tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
    ("tar.zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
];

/// A program that containerd has decode layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Processor {
    pub(crate) accepts: Vec<String>,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    /// The file that it stands in; none for containerd's defaults.
    pub(crate) file: Option<PathBuf>,
}

/// A file of the configuration.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// 1 where it does not say.
    pub(crate) version: i64,
    pub(crate) table: Table,
}

/// What keeps containerd from reading all of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Unread {
        file: PathBuf,
        why: String,
        kind: io::ErrorKind,
    },
    NoToml {
        file: PathBuf,
        why: String,
    },
    /// An import by its full name that is not there.
    NoImport {
        file: PathBuf,
        import: PathBuf,
    },
}

/// All files together.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) files: Vec<File>,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) processors: BTreeMap<String, Processor>,
    /// Plugins whose table of an earlier file is gone: the plugin, the later file.
    pub(crate) replaced: Vec<(String, PathBuf)>,
    plugins: Table,
}

impl Config {
    /// `merges`: whether this containerd merges the tables of plugins, as it does from 2.0 on.
    pub(crate) fn load(root: &Root, main: &Path, merges: bool) -> Config {
        let mut config = Config { processors: defaults(), ..Config::default() };
        let mut pending = VecDeque::from([main.to_owned()]);
        while let Some(path) = pending.pop_front() {
            if config.files.iter().any(|file| file.path == path) {
                continue;
            }
            let text = match root.read(&path, MAX_FILE_LEN) {
                Ok(Some(text)) => text,
                Ok(None) if path == main => continue,
                Ok(None) => {
                    config.troubles.push(Trouble::NoImport { file: main.to_owned(), import: path });
                    continue;
                }
                Err(error) => {
                    let (why, kind) = (error.to_string(), error.kind());
                    config.troubles.push(Trouble::Unread { file: path, why, kind });
                    continue;
                }
            };
            match parse(&text) {
                Ok(table) => {
                    pending.extend(resolve(root, &path, &imports::of(&table)));
                    config.add(path, table, merges);
                }
                Err(why) => config.troubles.push(Trouble::NoToml { file: path, why }),
            }
        }
        config
    }

    fn add(&mut self, path: PathBuf, table: Table, merges: bool) {
        for (id, value) in tables(&table, "stream_processors") {
            self.processors.insert(id.clone(), processor(value, &path));
        }
        for (plugin, value) in tables(&table, "plugins") {
            match self.plugins.get_mut(plugin) {
                Some(there) if merges => merge(there, value),
                Some(there) => {
                    *there = value.clone();
                    self.replaced.push((plugin.clone(), path.clone()));
                }
                None => {
                    self.plugins.insert(plugin.clone(), value.clone());
                }
            }
        }
        let version = table.get("version").and_then(Value::as_integer).unwrap_or(1);
        self.files.push(File { path, version, table });
    }

    /// A value in a plugin's table, by its keys.
    pub(crate) fn plugin(&self, plugin: &str, keys: &[&str]) -> Option<&Value> {
        keys.iter().try_fold(self.plugins.get(plugin)?, |value, key| value.get(key))
    }

    /// The first file that has this plugin, or this in it.
    pub(crate) fn file_with(&self, plugin: &str, keys: &[&str]) -> Option<&Path> {
        let has = |file: &&File| {
            let plugin = file.table.get("plugins").and_then(|plugins| plugins.get(plugin));
            plugin.is_some_and(|plugin| keys.iter().try_fold(plugin, |value, key| value.get(key)).is_some())
        };
        self.files.iter().find(has).map(|file| file.path.as_path())
    }

    /// The processors that take layers of a media type, which has its `+encrypted`.
    pub(crate) fn accepting(&self, media_type: &str) -> Vec<(&str, &Processor)> {
        let accepts = |(id, one): (&'_ String, &'_ Processor)| {
            one.accepts.iter().any(|one| one == media_type) && !id.is_empty()
        };
        let all = self.processors.iter().filter(|&(id, one)| accepts((id, one)));
        all.map(|(id, one)| (id.as_str(), one)).collect()
    }
}

/// Its text, or what is wrong with it in one line.
pub(crate) fn parse(text: &str) -> Result<Table, String> {
    let table = text.parse::<Table>().map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    })?;
    if table.get("version").is_some_and(|version| !version.is_integer()) {
        return Err("its version is no number".to_owned());
    }
    Ok(table)
}

fn tables<'a>(table: &'a Table, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    table.get(name).and_then(Value::as_table).into_iter().flatten()
}

fn processor(value: &Value, file: &Path) -> Processor {
    let list = |name: &str| {
        let list = value.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    Processor {
        accepts: list("accepts"),
        path: value.get("path").and_then(Value::as_str).unwrap_or_default().to_owned(),
        args: list("args"),
        env: list("env"),
        file: Some(file.to_owned()),
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Table(into), Value::Table(from)) => {
            for (key, value) in from {
                match into.get_mut(key) {
                    Some(there) => merge(there, value),
                    None => {
                        into.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Those of `containerd config default`.
fn defaults() -> BTreeMap<String, Processor> {
    let stock = |(id, media_type): &(&str, &str)| {
        let processor = Processor {
            accepts: vec![format!("{media_type}+encrypted")],
            path: "ctd-decoder".to_owned(),
            args: vec!["--decryption-keys-path".to_owned(), KEYS.to_owned()],
            env: vec![format!("OCICRYPT_KEYPROVIDER_CONFIG={PROVIDERS}")],
            file: None,
        };
        (format!("{OCICRYPT_ID}.{id}"), processor)
    };
    LAYERS[..2].iter().map(stock).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(merges: bool) -> Config {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        let main = "version = 2\nimports = [\"d/*.toml\", \"/gone.toml\"]\n\
            [plugins.cri]\na = 1\n[plugins.cri.b]\nc = 2\n[stream_processors.x]\npath = \"main\"\nargs = [\"1\"]\n";
        fs::write(dir.path().join("main.toml"), main).unwrap();
        let import = "[plugins.cri.b]\nd = 3\n[stream_processors.x]\npath = \"import\"\naccepts = [\"t\"]\n";
        fs::write(dir.path().join("d/one.toml"), import).unwrap();
        fs::write(dir.path().join("d/two.txt"), "no toml").unwrap();
        Config::load(&Root::new(dir.path()).unwrap(), Path::new("/main.toml"), merges)
    }

    #[test]
    fn an_import_replaces_a_processor_as_a_whole() {
        let config = load(true);
        assert_eq!((config.processors["x"].path.as_str(), config.processors["x"].args.len()), ("import", 0));
        assert_eq!(config.accepting("t")[0].0, "x");
        assert_eq!(config.files.len(), 2);
        assert_eq!(
            config.troubles,
            [Trouble::NoImport { file: "/main.toml".into(), import: "/gone.toml".into() }]
        );
    }

    #[test]
    fn from_2_0_on_a_plugins_table_is_merged_and_before_it_is_replaced() {
        let c = |config: &Config| config.plugin("cri", &["b", "c"]).and_then(Value::as_integer);
        let (new, old) = (load(true), load(false));
        assert_eq!((c(&new), new.replaced.len()), (Some(2), 0));
        assert_eq!(c(&old), None);
        assert_eq!(old.plugin("cri", &["b", "d"]).and_then(Value::as_integer), Some(3));
        assert_eq!(old.replaced, [("cri".to_owned(), "/d/one.toml".into())]);
    }
}
