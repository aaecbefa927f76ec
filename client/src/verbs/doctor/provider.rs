//! ocicrypt's configuration file: the providers in it, and whether the program that reads it gets to them.
//!
//! ocicrypt is silent about most of what is wrong here. Its programs then say "missing private key needed
//! for decryption", and nothing behind the colon.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::address::{self, Address};
use super::{Node, Report, program};

const FILE: &str = "provider-file";
const ENTRY: &str = "provider";
const MAX_FILE_LEN: u64 = 1024 * 1024;

/// Over what is there under our name.
const ANEW: &str = " --force";

/// Who reads the file.
pub(super) struct Reader<'a> {
    pub(super) name: &'a str,
    /// Whether it speaks TLS to providers.
    pub(super) tls: bool,
    /// What it is started with.
    pub(super) environment: &'a BTreeMap<String, String>,
}

/// The names of the providers in a file.
pub(super) fn check(node: &Node, file: &Path, reader: &Reader<'_>, report: &mut Report) -> BTreeSet<String> {
    let none = BTreeSet::new();
    let text = match node.root.read(file, MAX_FILE_LEN) {
        Ok(Some(text)) => text,
        Ok(None) => {
            report.fault(
                FILE,
                format!("is not there: {} has no provider, and does not say so", reader.name),
                file,
                &write(file, ""),
            );
            return none;
        }
        Err(error) => {
            report.unread(FILE, format!("cannot be read: {error}"), error.kind(), file);
            return none;
        }
    };
    let document: Result<Value, _> = serde_json::from_str(&text);
    let Some(providers) = document.as_ref().ok().and_then(|document| document["key-providers"].as_object())
    else {
        let what = if document.is_ok() { "has no key-providers" } else { "is no JSON" };
        report.fault(FILE, format!("{what}: {} has no provider", reader.name), file, &write(file, ANEW));
        return none;
    };
    if providers.is_empty() {
        report.fault(FILE, "names no provider", file, &write(file, ""));
    }
    for (name, entry) in providers {
        one(node, Place { file, name }, entry, reader, report);
    }
    providers.keys().cloned().collect()
}

#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Path,
    name: &'a str,
}

fn one(node: &Node, at: Place<'_>, entry: &Value, reader: &Reader<'_>, report: &mut Report) {
    let Place { file, name } = at;
    let (cmd, grpc) = (entry["cmd"].as_object(), entry["grpc"].as_str().filter(|text| !text.is_empty()));
    match (cmd, grpc) {
        (None, None) if !entry["path"].is_null() => report.fault(
            ENTRY,
            format!("{name}: `path` stands directly under it, as in the first example of ocicrypt's own documentation, which is wrong"),
            file,
            "write {\"cmd\": {\"path\": …}}",
        ),
        (None, None) => report.fault(ENTRY, format!("{name}: has neither grpc nor cmd"), file, &write(file, ANEW)),
        (Some(_), Some(_)) => {
            report.warning(ENTRY, format!("{name}: has cmd and grpc; cmd is used"), file, "leave one of them");
        }
        _ => {}
    }
    if let Some(cmd) = cmd {
        command(node, at, cmd.get("path").and_then(Value::as_str), reader, report);
    } else if let Some(grpc) = grpc {
        called(node, at, grpc, entry, reader, report);
    }
}

fn command(node: &Node, at: Place<'_>, path: Option<&str>, reader: &Reader<'_>, report: &mut Report) {
    let (Place { file, name }, path) = (at, path.unwrap_or_default());
    let searched = reader.environment.get("PATH").map_or(program::PATH, String::as_str);
    match program::find(&node.root, path, searched) {
        Some(program) if program.executable => {
            report.ok(ENTRY, format!("{name}: starts {}", program.path.display()), file);
        }
        Some(_) => {
            report.fault(ENTRY, format!("{name}: {path} cannot be started"), file, "chmod 755 it");
        }
        None => report.fault(
            ENTRY,
            format!("{name}: there is no program {path:?}"),
            file,
            &format!("install it, or: {}", write(file, &write(file, ANEW))),
        ),
    }
}

fn called(node: &Node, at: Place<'_>, grpc: &str, entry: &Value, reader: &Reader<'_>, report: &mut Report) {
    let Place { file, name } = at;
    let tls = entry["grpc-tls"].is_object();
    if tls && !reader.tls {
        report.fault(
            "grpc-tls",
            format!("{name}: {} reads past grpc-tls and speaks plaintext (ocicrypt before 1.3)", reader.name),
            file,
            "call a unix socket instead: unix:///run/holdfast/keyprovider.sock",
        );
    }
    match address::parse(grpc) {
        Address::Bad(why) => {
            report.fault(
                ENTRY,
                format!("{name}: {grpc:?} does not work: {why}"),
                file,
                "unix:///PATH or HOST:PORT",
            );
        }
        Address::Abstract => report.ok(ENTRY, format!("{name}: {grpc}"), file),
        Address::Socket(path) => socket(node, at, path, report),
        Address::Tcp(host) => {
            if let Some(proxy) = address::proxy(&host, reader.environment) {
                report.fault(
                    "proxy",
                    format!("{name}: calls to {host} go through the proxy {}", without_password(proxy)),
                    file,
                    &format!("add {host} to NO_PROXY in containerd's unit, or call a unix socket"),
                );
            } else if !tls && !address::is_loopback(&host) {
                report.warning(
                    ENTRY,
                    format!("{name}: layer keys come from {host} in plaintext"),
                    file,
                    "call a unix socket; TLS needs ocicrypt 1.3",
                );
            } else {
                report.ok(ENTRY, format!("{name}: {grpc}"), file);
            }
        }
    }
}

fn socket(node: &Node, at: Place<'_>, path: PathBuf, report: &mut Report) {
    let Place { file, name } = at;
    if !node.root.is_this_machine() {
        // Sockets are made at run time.
        report.ok(ENTRY, format!("{name}: unix:{}", path.display()), file);
        return;
    }
    match node.root.metadata(&path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            report.fault(ENTRY, format!("{name}: {} is no socket", path.display()), file, &write(file, ANEW));
        }
        Ok(_) => report.ok(ENTRY, format!("{name}: unix:{}", path.display()), file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => report.fault(
            ENTRY,
            format!("{name}: there is no socket {}", path.display()),
            file,
            &format!("systemctl start holdfastd, or name its socket: {} --socket PATH", write(file, ANEW)),
        ),
        Err(error) => {
            report.unread(ENTRY, format!("{name}: {}: {error}", path.display()), error.kind(), file)
        }
    }
}

/// What writes a provider's file.
fn write(file: &Path, force: &str) -> String {
    format!("holdfast setup ocicrypt --file {}{force}", file.display())
}

/// A proxy's URL may hold one.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
}
