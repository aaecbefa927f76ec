//! `holdfast setup containerd`, `crio` and `podman`, the binary: files among those of others, in the root of
//! a system that is not running.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Ran, run};
use tempfile::{TempDir, tempdir};

const SOCKET: &str = "/run/test/keyprovider.sock";
const MAIN: &str = "etc/containerd/config.toml";
const DROP_IN: &str = "etc/containerd/conf.d/holdfast.toml";
const PROVIDERS: &str = "etc/containerd/ocicrypt/ocicrypt_keyprovider.conf";

/// What Debian ships.
const DEBIAN: &str = "version = 2\n\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    \
    [plugins.\"io.containerd.grpc.v1.cri\".cni]\n      bin_dir = \"/usr/lib/cni\"\n";

struct Root(TempDir);

impl Root {
    fn with(files: &[(&str, &str)]) -> Root {
        let root = Root(tempdir().unwrap());
        for (path, text) in files {
            root.write(path, text);
        }
        root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn setup(&self, args: &[&str]) -> Ran {
        let root = ["--root", self.0.path().to_str().unwrap()];
        run(Path::new(SOCKET), [&["setup"], args, &root[..]].concat())
    }

    /// Which must succeed.
    fn does(&self, args: &[&str]) -> String {
        let ran = self.setup(args);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{args:?}");
        ran.out
    }

    /// Every file and its text.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let all = support::images::files(self.0.path()).into_iter();
        all.filter(|(path, _)| !path.is_dir()).collect()
    }

    fn toml(&self, path: &str) -> Value {
        let table: toml::Table = self.read(path).parse().unwrap();
        serde_json::to_value(table).unwrap()
    }
}

const VERBS: [&[&str]; 4] = [&["containerd"], &["containerd", "--stock"], &["crio"], &["podman"]];

#[test]
fn without_write_it_prints_and_touches_nothing() {
    for verb in VERBS {
        let root = Root::with(&[(MAIN, DEBIAN)]);
        let before = root.files();
        let printed = root.does(verb);
        assert!(printed.contains("# write this with --write"), "{printed}");
        assert!(root.files() == before, "{verb:?}");
    }
}

#[test]
fn twice_is_once_and_remove_takes_all_of_it_back() {
    for verb in VERBS {
        let root = Root::with(&[(MAIN, DEBIAN), ("etc/profile.d/other.sh", "x\n")]);
        fs::set_permissions(root.path(MAIN), fs::Permissions::from_mode(0o640)).unwrap();
        let before = root.files();
        let said = root.does(&[verb, &["--write"]].concat());
        assert!(said.contains(": written\n") && said.contains("\nthen: "), "{said}");
        let written = root.files();
        assert!(written != before);
        assert_eq!(fs::metadata(root.path(MAIN)).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(root.does(&[verb, &["--write"]].concat()), "nothing to do\n");
        assert!(root.files() == written, "{verb:?}");
        let said = root.does(&[verb, &["--remove"]].concat());
        assert!(said.contains(": taken away\n"), "{said}");
        assert!(root.files() == before, "{verb:?}");
        assert_eq!(root.does(&[verb, &["--remove"]].concat()), "nothing to do\n");
    }
}

#[test]
fn containerd_gets_a_processor_for_each_kind_of_layer_and_an_import() {
    let root = Root::with(&[(MAIN, DEBIAN)]);
    root.does(&["containerd", "--write"]);
    let drop_in = root.toml(DROP_IN);
    assert_eq!(drop_in["version"], 2);
    // In containerd 1.x a drop-in's plugin takes the place of the main file's.
    assert!(drop_in["plugins"].is_null());
    for (id, media_type) in [("tar", "tar"), ("tar.gzip", "tar+gzip"), ("tar.zstd", "tar+zstd")] {
        let processor = &drop_in["stream_processors"][format!("io.containerd.ocicrypt.decoder.v1.{id}")];
        let media_type = format!("application/vnd.oci.image.layer.v1.{media_type}");
        assert_eq!(
            *processor,
            json!({
                "accepts": [format!("{media_type}+encrypted")],
                "returns": media_type,
                "path": "/usr/bin/holdfast",
                "args": ["decode", "--socket", SOCKET],
                "env": [],
            })
        );
    }
    let main = root.read(MAIN);
    assert!(main.ends_with(DEBIAN), "{main}");
    assert_eq!(root.toml(MAIN)["imports"], json!(["/etc/containerd/conf.d/holdfast*.toml"]));
    assert!(!root.path(PROVIDERS).exists() && !root.path("etc/containerd/ocicrypt/keys").exists());

    let more = ["containerd", "--write", "--program", "/opt/holdfast", "--timeout", "2m"];
    root.does(&more);
    let processor = &root.toml(DROP_IN)["stream_processors"]["io.containerd.ocicrypt.decoder.v1.tar"];
    assert_eq!(processor["path"], "/opt/holdfast");
    assert_eq!(processor["args"], json!(["decode", "--socket", SOCKET, "--timeout", "120000ms"]));
}

#[test]
fn the_stock_decoder_gets_its_provider_its_directory_and_zstd_under_the_id_of_gzip() {
    let root = Root::with(&[(MAIN, "version = 3\n")]);
    root.does(&["containerd", "--stock", "--write", "--name", "hsm"]);
    let drop_in = root.toml(DROP_IN);
    assert_eq!(drop_in["version"], 3);
    assert_eq!(drop_in["plugins"], json!({"io.containerd.cri.v1.images": {"use_local_image_pull": true}}));
    let processors = drop_in["stream_processors"].as_object().unwrap();
    assert_eq!(processors.len(), 2);
    let gzip = &processors["io.containerd.ocicrypt.decoder.v1.tar.gzip"];
    let layer = "application/vnd.oci.image.layer.v1.tar";
    assert_eq!(
        gzip["accepts"],
        json!([format!("{layer}+gzip+encrypted"), format!("{layer}+zstd+encrypted")])
    );
    assert_eq!(gzip["args"], json!(["--decryption-keys-path", "/etc/containerd/ocicrypt/keys"]));
    assert_eq!(gzip["env"], json!([format!("OCICRYPT_KEYPROVIDER_CONFIG=/{PROVIDERS}")]));
    assert!(root.path("etc/containerd/ocicrypt/keys").is_dir());
    let providers: Value = serde_json::from_str(&root.read(PROVIDERS)).unwrap();
    assert_eq!(providers["key-providers"]["hsm"]["grpc"], format!("unix://{SOCKET}"));
    // And back to our own decoder.
    root.does(&["containerd", "--write"]);
    assert!(root.toml(DROP_IN)["plugins"].is_null());
}

#[test]
fn a_node_without_a_configuration_gets_one_that_goes_again() {
    let root = Root::with(&[]);
    root.does(&["containerd", "--write"]);
    assert_eq!(root.toml(MAIN), json!({"version": 2, "imports": ["/etc/containerd/conf.d/*.toml"]}));
    root.does(&["containerd", "--remove"]);
    assert!(root.files().is_empty());
}

#[test]
fn imports_that_are_there_are_used_or_kept() {
    let own = "version = 3\nimports = [\"/etc/containerd/more/*.toml\"]\n";
    let root = Root::with(&[(MAIN, own)]);
    root.does(&["containerd", "--write"]);
    assert_eq!(root.read(MAIN), own);
    assert!(root.path("etc/containerd/more/holdfast.toml").exists());

    // As `containerd config default` prints it.
    let empty = "imports = []\nversion = 2\n[debug]\nlevel = \"\"\n";
    let root = Root::with(&[(MAIN, empty)]);
    root.does(&["containerd", "--write"]);
    assert_eq!(root.toml(MAIN)["imports"], json!(["/etc/containerd/conf.d/holdfast*.toml"]));
    root.does(&["containerd", "--remove"]);
    assert_eq!(root.read(MAIN), empty);

    let lines = "imports = [\n  \"/a.toml\",\n]\n";
    let root = Root::with(&[(MAIN, lines)]);
    let ran = root.setup(&["containerd", "--write"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert_eq!(
        ran.err,
        "holdfast: /etc/containerd/config.toml: its imports do not stand on one line; add \"/etc/containerd/conf.d/holdfast*.toml\" to them, then run this again\n"
    );
    assert_eq!(root.read(MAIN), lines);
}

#[test]
fn what_it_did_not_write_is_neither_replaced_nor_taken_away() {
    let entry = r#"{"key-providers":{"holdfast":{"grpc":"localhost:50051"}}}"#;
    let theirs: [(&[&str], &str, &str); 4] = [
        (&["containerd"], DROP_IN, "# theirs\n"),
        (&["containerd", "--stock"], PROVIDERS, entry),
        (&["crio"], "etc/systemd/system/crio.service.d/60-holdfast.conf", "# theirs\n"),
        (&["podman"], "etc/profile.d/holdfast.sh", "# theirs\n"),
    ];
    for (verb, path, text) in theirs {
        let root = Root::with(&[(path, text)]);
        let before = root.files();
        let ran = root.setup(&[verb, &["--write"]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{path}");
        assert!(ran.err.starts_with(&format!("holdfast: /{path}: ")), "{}", ran.err);
        assert!(ran.err.ends_with("or --force\n") && ran.err.lines().count() == 1, "{}", ran.err);
        assert!(root.files() == before, "{path}: something was written before the refusal");
        root.does(&[verb, &["--remove"]].concat());
        assert!(root.files() == before, "{path}");
        root.does(&[verb, &["--write", "--force"]].concat());
        assert!(root.read(path) != text);
    }
}

#[test]
fn no_link_leads_out_of_the_root() {
    let outside = tempdir().unwrap();
    let root = Root::with(&[("etc/real/config.toml", DEBIAN)]);
    // In the system whose root this is, they lead to /etc/real; here they would lead elsewhere.
    symlink("/etc/real", root.path("etc/containerd")).unwrap();
    symlink(outside.path(), root.path("etc/profile.d")).unwrap();
    root.does(&["containerd", "--write"]);
    assert!(root.read("etc/real/conf.d/holdfast.toml").contains("decode"));
    root.does(&["podman", "--write"]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn crio_and_podman_get_the_variable_before_they_start() {
    let root = Root::with(&[]);
    root.does(&["crio", "--write"]);
    let unit = root.read("etc/systemd/system/crio.service.d/60-holdfast.conf");
    let set = "OCICRYPT_KEYPROVIDER_CONFIG=/etc/crio/ocicrypt_keyprovider.conf";
    assert!(unit.ends_with(&format!("[Service]\nEnvironment={set}\n")), "{unit}");
    let providers: Value = serde_json::from_str(&root.read("etc/crio/ocicrypt_keyprovider.conf")).unwrap();
    assert_eq!(providers["key-providers"]["holdfast"]["grpc"], format!("unix://{SOCKET}"));

    root.does(&["podman", "--write"]);
    let file = "/etc/containers/ocicrypt_keyprovider.conf";
    let profile = root.path("etc/profile.d/holdfast.sh");
    for (own, value) in [(None, file), (Some("/mine"), "/mine")] {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-uc", ". \"$1\" && env", "sh"]).arg(&profile).env_clear();
        shell.envs(own.map(|own| ("OCICRYPT_KEYPROVIDER_CONFIG", own)));
        let out = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        assert!(out.lines().any(|line| line == format!("OCICRYPT_KEYPROVIDER_CONFIG={value}")), "{out}");
    }
}

#[test]
fn users_can_read_it_whatever_roots_umask_is() {
    let root = Root::with(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "umask 077 && exec \"$0\" setup podman --write --root \"$1\""]);
    let output = shell.arg(env!("CARGO_BIN_EXE_holdfast")).arg(root.0.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (path, mode) in [
        ("etc/containers/ocicrypt_keyprovider.conf", 0o644),
        ("etc/profile.d/holdfast.sh", 0o644),
        ("etc/containers", 0o755),
        ("etc", 0o755),
    ] {
        assert_eq!(fs::metadata(root.path(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn a_document_with_json() {
    let root = Root::with(&[(MAIN, DEBIAN)]);
    let document: Value = serde_json::from_str(&root.does(&["containerd", "--json"])).unwrap();
    assert_eq!((&document["written"], &document["changed"]), (&json!(false), &json!(true)));
    assert_eq!(document["paths"][0]["path"], format!("/{DROP_IN}"));
    assert_eq!(
        (&document["paths"][0]["act"], &document["paths"][1]["act"]),
        (&json!("create"), &json!("change"))
    );
    root.does(&["containerd", "--write"]);
    let document: Value = serde_json::from_str(&root.does(&["containerd", "--json", "--write"])).unwrap();
    assert_eq!((&document["changed"], &document["then"]), (&json!(false), &Value::Null));
}

#[test]
fn what_cannot_stand_in_the_files_is_refused() {
    let root = Root::with(&[(MAIN, "version = \n")]);
    for (args, says) in [
        (&["containerd"][..], "/etc/containerd/config.toml: containerd does not start with it: line 1: "),
        (
            &["containerd", "--config", "/new.toml", "--program", "relative"],
            "--program: name an absolute path",
        ),
        (&["containerd", "--config", "/new.toml", "--program", "/a \"b"], "--program: name an absolute path"),
        (&["podman", "--socket", "/a b"], "the socket's path cannot stand"),
    ] {
        let ran = root.setup(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{args:?}");
        assert!(ran.err.starts_with(&format!("holdfast: {says}")), "{}", ran.err);
    }
    assert_eq!(run(Path::new(SOCKET), ["setup", "crio", "--root", "/no/such"]).code, Some(1));
}
