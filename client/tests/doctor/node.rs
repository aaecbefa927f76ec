//! The root of a node that is not running, and what the doctor says of it.
//!
//! Its programs hold what the doctor tells them by and nothing else; that real ones hold it is tested with
//! Debian's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::support::{Ran, ran, run};

pub(crate) const MAIN: &str = "etc/containerd/config.toml";
pub(crate) const KEYS: &str = "etc/containerd/ocicrypt/keys";
pub(crate) const PROVIDERS: &str = "etc/containerd/ocicrypt/ocicrypt_keyprovider.conf";
pub(crate) const DROP_IN: &str = "etc/containerd/conf.d/holdfast.toml";

const DOCUMENTATION: &str = include_str!("../../../docs/doctor.md");
const ASKS: &str = "/keyprovider.KeyProviderService/UnWrapKey";

pub(crate) struct Node(TempDir);

impl Node {
    /// containerd 2.1 as its package leaves it, and no decoder.
    pub(crate) fn bare() -> Node {
        let node = Node(tempdir().unwrap());
        node.program(
            "usr/bin/containerd",
            &format!("github.com/containerd/containerd/v2 use_local_image_pull {ASKS}"),
        );
        node.write(MAIN, "version = 3\n");
        node
    }

    /// Set up for `holdfast decode`.
    pub(crate) fn ours() -> Node {
        let node = Node::bare();
        node.program("usr/bin/holdfast", "");
        node.setup(&["containerd", "--write"]);
        node
    }

    /// Set up for imgcrypt's decoder.
    pub(crate) fn stock() -> Node {
        let node = Node::bare();
        node.program("usr/bin/ctd-decoder", ASKS);
        node.setup(&["containerd", "--stock", "--write"]);
        node
    }

    /// The containerd of Debian 12 and 13.
    pub(crate) fn with_containerd_1(self) -> Node {
        self.program("usr/bin/containerd", ASKS);
        self
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn append(&self, path: &str, text: &str) {
        let before = fs::read_to_string(self.path(path)).unwrap();
        self.write(path, &format!("{before}{text}"));
    }

    /// In a file that is there.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) {
        let before = fs::read_to_string(self.path(path)).unwrap();
        assert!(before.contains(from), "{before}");
        self.write(path, &before.replace(from, to));
    }

    pub(crate) fn program(&self, path: &str, text: &str) {
        self.write(path, text);
        fs::set_permissions(self.path(path), Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn setup(&self, args: &[&str]) {
        let ran = self.run(&[&["setup"], args].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{args:?}");
    }

    fn run(&self, args: &[&str]) -> Ran {
        let root = ["--root", self.0.path().to_str().unwrap()];
        run(Path::new("/run/holdfast/keyprovider.sock"), [args, &root[..]].concat())
    }

    pub(crate) fn doctor(&self, args: &[&str]) -> Told {
        Told::of(&self.run(&[&["doctor", "--json"], args].concat()))
    }

    /// As people see it.
    pub(crate) fn printed(&self) -> Ran {
        self.run(&["doctor"])
    }

    /// Nothing is wrong.
    pub(crate) fn is_healthy(&self) {
        let told = self.doctor(&[]);
        assert_eq!((told.code, told.troubles()), (0, vec![]), "{told:?}");
    }

    /// One thing is wrong and no other: its check, where, and a part of what is said of it.
    pub(crate) fn has_one(&self, state: &str, check: &str, place: &str, says: &str) {
        let told = self.doctor(&[]);
        told.is_one(state, check, says);
        let wrong = &told.wrong()[0];
        assert_eq!(wrong["where"].as_str().unwrap_or_default(), place, "{wrong}");
    }
}

/// The doctor's document and exit code.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) document: Value,
}

impl Told {
    pub(crate) fn of(ran: &Ran) -> Told {
        assert_eq!(ran.err, "", "{}", ran.out);
        let told = Told { code: ran.code.unwrap(), document: serde_json::from_str(&ran.out).unwrap() };
        for one in told.checks() {
            let name = format!("`{}`", one["check"].as_str().unwrap());
            assert!(DOCUMENTATION.contains(&name), "docs/doctor.md does not know the check {name}");
        }
        told
    }

    pub(crate) fn by(command: &mut std::process::Command) -> Told {
        Told::of(&ran(command.output().unwrap()))
    }

    pub(crate) fn checks(&self) -> &Vec<Value> {
        self.document["checks"].as_array().unwrap()
    }

    /// What is not well.
    pub(crate) fn wrong(&self) -> Vec<&Value> {
        self.checks().iter().filter(|one| one["state"] != "ok").collect()
    }

    pub(crate) fn troubles(&self) -> Vec<(&str, &str)> {
        self.wrong()
            .iter()
            .map(|one| (one["state"].as_str().unwrap(), one["check"].as_str().unwrap()))
            .collect()
    }

    pub(crate) fn is_one(&self, state: &str, check: &str, says: &str) {
        assert_eq!(self.troubles(), [(state, check)], "{:#}", self.document);
        let wrong = self.wrong()[0];
        assert!(wrong["what"].as_str().unwrap().contains(says), "{wrong}");
        assert!(wrong["do"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{wrong}");
        let code = match state {
            "unknown" => 1,
            "warning" => 3,
            _ => 4,
        };
        assert_eq!(self.code, code);
        assert_eq!(self.document["worst"], state);
    }
}
