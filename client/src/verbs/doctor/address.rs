//! Addresses of providers as Go's gRPC takes them. Measured with grpc-go 1.64 and 1.80: what looks alike
//! does not work alike.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a provider's `grpc` leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A unix socket by its absolute path.
    Socket(PathBuf),
    /// A name in the abstract namespace.
    Abstract,
    /// A host, without its port.
    Tcp(String),
    /// It does not work, and why.
    Bad(&'static str),
}

pub(super) fn parse(text: &str) -> Address {
    if text.starts_with("passthrough:///unix:") {
        return Address::Bad("holdfastd refuses what Go calls the host of this address");
    }
    let text = text.strip_prefix("passthrough:///").or_else(|| text.strip_prefix("dns:///")).unwrap_or(text);
    if text.starts_with("unix-abstract:") || text.starts_with("unix:@") {
        return Address::Abstract;
    }
    if let Some(path) = text.strip_prefix("unix://") {
        return absolute(path, "unix:// needs a path that begins with /: unix:///run/…");
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return absolute(path, "its path depends on where the program is started");
    }
    if text.starts_with(['/', '@']) {
        return Address::Bad("a socket's path needs unix: before it");
    }
    if ["http:", "https:", "tcp:", "ipv4:", "ipv6:", "vsock:"].iter().any(|scheme| text.starts_with(scheme)) {
        return Address::Bad("Go's gRPC takes HOST:PORT and unix:///PATH, and no such scheme");
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            Address::Tcp(host.trim_start_matches('[').trim_end_matches(']').to_owned())
        }
        _ => Address::Bad("it has no port"),
    }
}

fn absolute(path: &str, why: &'static str) -> Address {
    if path.starts_with('/') { Address::Socket(path.into()) } else { Address::Bad(why) }
}

/// Whether Go's gRPC keeps calls to this host from a proxy, whatever the environment says.
pub(super) fn is_loopback(host: &str) -> bool {
    host.is_empty() || host == "localhost" || host == "::1" || host.starts_with("127.")
}

/// The proxy that a call to this host goes through. The lower-case variable counts where the other is missing.
pub(super) fn proxy<'a>(host: &str, environment: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let of = |name: &str| environment.get(name).or_else(|| environment.get(&name.to_lowercase()));
    let proxy = of("HTTPS_PROXY").filter(|proxy| !proxy.is_empty() && !is_loopback(host))?;
    let spared = of("NO_PROXY").into_iter().flat_map(|list| list.split(',')).map(str::trim).any(|entry| {
        let name = entry.trim_start_matches('.');
        entry == "*" || (!name.is_empty() && (host == name || host.ends_with(&format!(".{name}"))))
    });
    (!spared).then_some(proxy.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_work_and_those_that_do_not() {
        for (text, host) in [
            ("kp.local:50051", "kp.local"),
            ("127.0.0.1:1", "127.0.0.1"),
            (":50051", ""),
            ("dns:///localhost:1", "localhost"),
            ("passthrough:///h:1", "h"),
            ("[::1]:7", "::1"),
        ] {
            assert_eq!(parse(text), Address::Tcp(host.to_owned()), "{text}");
        }
        for text in ["unix:/run/x", "unix:///run/x"] {
            assert_eq!(parse(text), Address::Socket("/run/x".into()), "{text}");
        }
        for text in ["unix-abstract:x", "unix:@x"] {
            assert_eq!(parse(text), Address::Abstract, "{text}");
        }
        for text in [
            "unix://run/x",
            "unix:run/x",
            "/run/x",
            "@x",
            "http://h:1",
            "tcp://h:1",
            "ipv4:1.2.3.4:1",
            "vsock:1:2",
            "host",
            "host:port",
            "",
            "passthrough:///unix:///run/x",
        ] {
            assert!(matches!(parse(text), Address::Bad(_)), "{text}");
        }
    }

    #[test]
    fn a_proxy_is_in_the_way_of_names_that_are_not_spared() {
        let environment = |no: &str| {
            BTreeMap::from([
                ("https_proxy".to_owned(), "http://p:3128".to_owned()),
                ("NO_PROXY".to_owned(), no.to_owned()),
            ])
        };
        for (host, no, is) in [
            ("kp.example", "", true),
            ("kp.example", "localhost,.svc", true),
            ("kp.example", ".example", false),
            ("kp.example", "a, kp.example", false),
            ("kp.example", "*", false),
            ("127.0.0.1", "", false),
            ("localhost", "", false),
        ] {
            assert_eq!(proxy(host, &environment(no)).is_some(), is, "{host} {no}");
        }
        assert_eq!(proxy("kp.example", &BTreeMap::new()), None);
    }
}
