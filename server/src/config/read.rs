//! From TOML to [`Config`]: one function a section.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_wire::keyprovider::is_alias;
use holdfast_wire::{KeyUri, Labels};
use toml::de::DeTable;

use super::reader::{At, Fault, Faults, Section};
use super::{
    Action, Config, Key, Limits, Listen, Log, Rule, TcpListen, TlsFiles, Token, Way, Who, Wrap, duration,
};

mod key;
mod token;

use key::key;
use token::{Declared, token};

pub(super) fn config(text: &str) -> Result<Config, Vec<Fault>> {
    let faults = Faults::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        faults.add(error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()));
    }
    let span = table.span();
    let mut root = Section::new("the file", table.into_inner(), span.start..span.start, &faults);

    let listen = listen(&mut root);
    let limits = limits(&mut root);
    let state_dir = one_path(&mut root, "state", "[state]", "dir", "/var/lib/holdfast");
    let audit_file = one_path(&mut root, "audit", "[audit]", "file", "/var/log/holdfast/audit.jsonl");
    let log = log(&mut root);
    let tokens: Vec<At<Declared>> = root.tables("token", "[[token]]").into_iter().map(token).collect();
    let mut aliases = BTreeSet::new();
    let keys: Vec<At<Key>> = root
        .tables("key", "[[key]]")
        .into_iter()
        .filter_map(|section| key(section, &tokens, &mut aliases))
        .collect();
    let wrap = wrap(&mut root, &aliases);
    let rules =
        root.tables("allow", "[[allow]]").into_iter().filter_map(|section| rule(section, &aliases)).collect();
    one_uri_once(&tokens, &keys, &root);
    root.finish();

    let mut tokens: Vec<Token> = tokens.into_iter().filter_map(|at| at.value.token).collect();
    let keys: Vec<Key> = keys.into_iter().map(|at| at.value).collect();
    for key in keys.iter().filter(|key| key.oaep_sha256_in_daemon) {
        // Missing only where a fault was told of it.
        if let Some(Token { way: Way::Pkcs11 { unpad, .. }, .. }) = tokens.get_mut(key.token) {
            unpad.push(key.uri.clone());
        }
    }
    match faults.into_sorted() {
        faults if faults.is_empty() => {
            Ok(Config { listen, limits, state_dir, audit_file, log, wrap, tokens, keys, rules })
        }
        faults => Err(faults),
    }
}

fn listen(root: &mut Section<'_, '_>) -> Listen {
    let mut listen = Listen {
        unix: PathBuf::from("/run/holdfast/keyprovider.sock"),
        mode: 0o660,
        group: None,
        timeout: Duration::from_secs(10),
        tcp: None,
    };
    let Some(mut section) = root.table("listen", "[listen]", "a table: [listen]") else {
        return listen;
    };
    if let Some(path) = absolute_path(&mut section, "unix") {
        if path.as_os_str().len() > 107 {
            section.fault(
                section.span(),
                "unix in [listen] is longer than the 107 bytes a socket's path may have",
            );
        }
        listen.unix = path;
    }
    if let Some(mode) = section.string("mode") {
        match u32::from_str_radix(&mode.value, 8) {
            Ok(bits) if bits <= 0o777 => listen.mode = bits,
            _ => section.fault(mode.span, "mode in [listen] must be octal digits in quotes, like \"0660\""),
        }
    }
    if let Some(group) = section.string_or_number("group") {
        listen.group = group_id(&group.value);
        if listen.group.is_none() {
            section.fault(group.span, format!("there is no group {:?} on this machine", group.value));
        }
    }
    listen.timeout = timeout(&mut section, listen.timeout);
    listen.tcp = section.table("tcp", "[listen.tcp]", "a table: [listen.tcp]").and_then(tcp);
    section.finish();
    listen
}

fn tcp(mut section: Section<'_, '_>) -> Option<TcpListen> {
    let span = section.span();
    let has_address = section.has("address");
    let address = section.string("address").and_then(|text| {
        let read = text.value.parse::<SocketAddr>().ok();
        if read.is_none() {
            section.fault(text.span, "address must be an IP address and a port, like \"0.0.0.0:7443\"");
        }
        read
    });
    let given = ["cert", "key", "client_ca"].map(|key| section.has(key));
    let files = [
        absolute_path(&mut section, "cert"),
        absolute_path(&mut section, "key"),
        absolute_path(&mut section, "client_ca"),
    ];
    let plaintext = section.boolean("plaintext", false);
    if !has_address {
        section.fault(span.clone(), "[listen.tcp] needs address, an IP address and a port");
    }
    match (plaintext, given) {
        (true, [false, false, false]) => {
            if address.is_some_and(|address| !address.ip().is_loopback()) {
                section.fault(span, "plaintext is for loopback addresses only; give cert, key and client_ca");
            }
        }
        (true, _) => section.fault(span, "[listen.tcp] is either plaintext or has cert, key and client_ca"),
        (false, [true, true, true]) => {}
        (false, _) => section.fault(span, "[listen.tcp] needs cert, key and client_ca"),
    }
    section.finish();
    let address = address?;
    match files {
        _ if plaintext => Some(TcpListen { address, tls: None }),
        [Some(cert), Some(key), Some(client_ca)] => {
            Some(TcpListen { address, tls: Some(TlsFiles { cert, key, client_ca }) })
        }
        _ => None,
    }
}

fn limits(root: &mut Section<'_, '_>) -> Limits {
    let mut limits = Limits {
        connections: 4096,
        connections_per_caller: 2048,
        requests_per_caller: 2048,
        streams_per_connection: 256,
    };
    let Some(mut section) = root.table("limits", "[limits]", "a table: [limits]") else { return limits };
    let mut count = |key, default: usize| {
        let default = u32::try_from(default).unwrap_or(u32::MAX);
        section.number(key, 1..100_000, default) as usize
    };
    limits.connections = count("connections", limits.connections);
    limits.connections_per_caller = count("connections_per_caller", limits.connections_per_caller);
    limits.requests_per_caller = count("requests_per_caller", limits.requests_per_caller);
    limits.streams_per_connection =
        section.number("streams_per_connection", 1..10_000, limits.streams_per_connection);
    section.finish();
    limits
}

fn log(root: &mut Section<'_, '_>) -> Log {
    let mut log = Log { json: false, level: "info".into() };
    let Some(mut section) = root.table("log", "[log]", "a table: [log]") else {
        return log;
    };
    if let Some(format) = section.string("format") {
        match format.value.as_str() {
            "text" => log.json = false,
            "json" => log.json = true,
            _ => section.fault(format.span, "format in [log] must be \"text\" or \"json\""),
        }
    }
    if let Some(level) = section.string("level") {
        if ["error", "warn", "info", "debug", "trace"].contains(&level.value.as_str()) {
            log.level = level.value;
        } else {
            section.fault(level.span, "level in [log] must be error, warn, info, debug or trace");
        }
    }
    section.finish();
    log
}

fn wrap(root: &mut Section<'_, '_>, aliases: &BTreeSet<String>) -> Wrap {
    let mut wrap = Wrap { provider: "holdfast".into(), default: None };
    let Some(mut section) = root.table("wrap", "[wrap]", "a table: [wrap]") else {
        return wrap;
    };
    if let Some(provider) = section.string("provider") {
        if is_alias(&provider.value) {
            wrap.provider = provider.value;
        } else {
            section.fault(provider.span, "provider in [wrap] has 1 to 64 letters, digits, '.', '_' or '-'");
        }
    }
    if let Some(default) = section.string("default") {
        if !aliases.contains(&default.value) {
            section.fault(
                default.span,
                format!("default in [wrap] names {:?}, which no [[key]] has as its alias", default.value),
            );
        }
        wrap.default = Some(default.value);
    }
    section.finish();
    wrap
}

fn rule(mut section: Section<'_, '_>, aliases: &BTreeSet<String>) -> Option<Rule> {
    let user = section.string_or_number("user").map(|user| {
        let id = user_id(&user.value);
        if id.is_none() {
            section.fault(user.span, format!("there is no user {:?} on this machine", user.value));
        }
        id.map(Who::User)
    });
    let group = section.string_or_number("group").map(|group| {
        let id = group_id(&group.value);
        if id.is_none() {
            section.fault(group.span, format!("there is no group {:?} on this machine", group.value));
        }
        id.map(Who::Group)
    });
    let tls = section.string("tls").map(|name| Some(Who::Tls(name.value)));
    let loopback = section.boolean("loopback", false).then_some(Some(Who::Loopback));
    let mut named = [user, group, tls, loopback].into_iter().flatten();
    let who = match (named.next(), named.next()) {
        (Some(who), None) => who,
        _ => {
            section
                .fault(section.span(), "[[allow]] names exactly one of user, group, tls and loopback = true");
            None
        }
    };
    let to = words(&mut section, "to", "[\"unwrap\"]", |word| {
        [Action::Wrap, Action::Unwrap]
            .into_iter()
            .find(|action| action.name() == word)
            .ok_or("it is wrap or unwrap")
    });
    let keys = words(&mut section, "keys", "the aliases it is about", |alias| {
        aliases.contains(alias).then(|| alias.to_owned()).ok_or("no [[key]] has it as its alias")
    });
    let mut labels = Labels::default();
    for (name, value) in section.pairs("labels") {
        if let Err(error) = labels.insert(&name.value, &value) {
            section.fault(name.span, error.to_string());
        }
    }
    section.finish();
    Some(Rule { who: who?, to, keys, labels })
}

/// A list of words that must not be empty.
fn words<T>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    wanted: &str,
    read: impl Fn(&str) -> Result<T, &'static str>,
) -> Vec<T> {
    let list = section.strings(key);
    if list.as_ref().is_none_or(|list| list.value.is_empty()) {
        section.fault(section.span(), format!("[[allow]] needs {key} = {wanted}"));
    }
    let mut words = Vec::new();
    for word in list.map_or_else(Vec::new, |list| list.value) {
        match read(&word.value) {
            Ok(read) => words.push(read),
            Err(why) => section.fault(word.span, format!("{key} has {:?}: {why}", word.value)),
        }
    }
    words
}

/// A token twice would be two logins, and a key twice under an alias retired and not.
fn one_uri_once(tokens: &[At<Declared>], keys: &[At<Key>], root: &Section<'_, '_>) {
    for (index, token) in tokens.iter().enumerate() {
        if token.value.uri.is_some() && tokens[..index].iter().any(|other| other.value.uri == token.value.uri)
        {
            root.fault(token.span.clone(), "another [[token]] has this uri");
        }
    }
    for (index, key) in keys.iter().enumerate() {
        let same = |other: &At<Key>| other.value.uri == key.value.uri && other.value.alias == key.value.alias;
        if keys[..index].iter().any(same) {
            root.fault(key.span.clone(), format!("another [[key]] gives {} this key", key.value.alias));
        }
        // A packet's kid leads to one key, and a key that is there under two aliases has one kid.
        let (kid, uri) = (&key.value.kid, &key.value.uri);
        for other in keys[..index].iter().map(|other| &other.value) {
            if kid.is_some() && other.kid == *kid && other.uri != *uri {
                root.fault(key.span.clone(), "another [[key]] has this kid for another key");
            } else if other.uri == *uri && other.kid != *kid {
                root.fault(key.span.clone(), "another [[key]] has this uri with another kid, or without");
            }
            if other.uri == *uri && other.only_pkcs1_v1_5() != key.value.only_pkcs1_v1_5() {
                root.fault(
                    key.span.clone(),
                    "another [[key]] has this uri, and one of the two lists RSA1_5: a key for PKCS#1 v1.5 is for nothing else",
                );
            }
        }
    }
}

fn required_uri(section: &mut Section<'_, '_>, name: &str) -> Option<At<KeyUri>> {
    let Some(text) = section.string("uri") else {
        section.fault(section.span(), format!("{name} needs uri"));
        return None;
    };
    match text.value.parse() {
        Ok(value) => Some(At { value, span: text.span }),
        Err(error) => {
            section.fault(text.span, error.to_string());
            None
        }
    }
}

fn required_alias(section: &mut Section<'_, '_>) -> Option<String> {
    match section.string("alias") {
        Some(alias) if is_alias(&alias.value) => Some(alias.value),
        Some(alias) => {
            section.fault(alias.span, "alias has 1 to 64 letters, digits, '.', '_' or '-'");
            None
        }
        None => {
            section.fault(section.span(), "[[key]] needs alias");
            None
        }
    }
}

fn one_path(
    root: &mut Section<'_, '_>,
    key: &'static str,
    name: &'static str,
    setting: &'static str,
    default: &str,
) -> PathBuf {
    let path = root.table(key, name, "a table").and_then(|mut section| {
        let path = absolute_path(&mut section, setting);
        section.finish();
        path
    });
    path.unwrap_or_else(|| PathBuf::from(default))
}

fn absolute_path(section: &mut Section<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let text = section.string(key)?;
    absolute(section, key, text)
}

fn absolute(section: &mut Section<'_, '_>, key: &'static str, text: At<String>) -> Option<PathBuf> {
    let path = PathBuf::from(&text.value);
    if path.is_absolute() {
        return Some(path);
    }
    section.fault(text.span, format!("{key} must be an absolute path"));
    None
}

fn timeout(section: &mut Section<'_, '_>, default: Duration) -> Duration {
    let Some(text) = section.string("timeout") else {
        return default;
    };
    duration::parse(&text.value).unwrap_or_else(|| {
        let span: Range<usize> = text.span;
        section
            .fault(span, "timeout must be like \"10s\" or \"500ms\", more than zero and at most ten minutes");
        default
    })
}

fn user_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| uzers::get_user_by_name(name).map(|user| user.uid()))
}

fn group_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| uzers::get_group_by_name(name).map(|group| group.gid()))
}
