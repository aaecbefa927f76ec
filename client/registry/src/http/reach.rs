//! How a registry is reached: with TLS or without, and where its redirects may lead.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use reqwest::{Certificate, StatusCode, Url};

use super::answer::why;
use crate::{Credentials, Error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request up to the headers of its answer, and then for each silence in its body.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 5;

/// Waits that long; true if the caller wants to stop.
pub type Wait = Arc<dyn Fn(Duration) -> bool + Send + Sync>;

/// How registries are reached.
#[derive(Clone)]
pub struct Options {
    /// Whether other machines are spoken to without TLS. This one is, where it does not speak TLS.
    pub plain_http: bool,
    /// Certificates (PEM) of authorities that are trusted besides the machine's.
    pub ca: Option<Vec<u8>>,
    /// Where this user's credentials are.
    pub credentials: Credentials,
    /// The pause between two tries.
    pub wait: Wait,
}

/// With whom plain HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    /// With nobody: what a registry elsewhere names on this machine is none of its business.
    Nobody,
    /// With this machine.
    ThisMachine,
    /// With all.
    All,
}

impl Plain {
    /// With what a registry names, which is on this machine or not.
    pub(super) fn of(options: &Options, local: bool) -> Plain {
        match (options.plain_http, local) {
            (true, _) => Plain::All,
            (false, true) => Plain::ThisMachine,
            (false, false) => Plain::Nobody,
        }
    }

    pub(super) fn may_speak(self, url: &Url) -> bool {
        match (url.scheme(), self) {
            ("https", _) | ("http", Plain::All) => true,
            ("http", Plain::ThisMachine) => url.host_str().is_some_and(is_this_machine),
            _ => false,
        }
    }
}

/// A client for registries, which send those who read a blob to where it lies.
pub(super) fn client(options: &Options, local: bool) -> Result<Client, Error> {
    let plain = Plain::of(options, local);
    let redirects = Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("it redirects in a circle")
        } else if !plain.may_speak(attempt.url()) {
            attempt.error("it redirects to a place without TLS")
        } else {
            // reqwest leaves the credentials behind at another host, port or scheme.
            attempt.follow()
        }
    });
    build(options, local, redirects)
}

/// A client for token servers. None sends others elsewhere, and what they are shown must not go there: a
/// refresh token stands in the body, which a redirect may take along.
pub(super) fn token_client(options: &Options, local: bool) -> Result<Client, Error> {
    build(options, local, Policy::none())
}

fn build(options: &Options, local: bool, redirects: Policy) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(redirects)
        .referer(false);
    if local {
        builder = builder.no_proxy();
    }
    if let Some(pem) = &options.ca {
        let certificates = Certificate::from_pem_bundle(pem).ok().filter(|all| !all.is_empty());
        builder = builder.tls_certs_merge(certificates.ok_or_else(|| {
            Error::Reference("the file given with --ca holds no certificate in PEM; name another".to_owned())
        })?);
    }
    builder.build().map_err(|error| Error::Unavailable(format!("cannot set up TLS: {}", why(&error))))
}

/// Whether there is a registry, and no TLS. A server with TLS whose certificate is not trusted answers a plain
/// request with 400, which none answers here.
pub(super) fn speaks_plain(client: &Client, tls: &Url, plain: &Url) -> bool {
    let no_tls = matches!(client.get(tls.clone()).send(), Err(error) if error.is_connect());
    no_tls
        && match client.get(plain.clone()).send() {
            Ok(response) => response.status() != StatusCode::BAD_REQUEST,
            Err(error) => error.is_redirect(),
        }
}

/// Whether `HOST[:PORT]` is a loopback address or localhost.
pub(super) fn is_this_machine(server: &str) -> bool {
    let host = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => server,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_spoken_with_this_machine_only_if_the_registry_is_there_too() {
        for (plain, url, may) in [
            (Plain::Nobody, "https://auth.example/token", true),
            (Plain::Nobody, "http://auth.example/token", false),
            (Plain::Nobody, "http://localhost:9000/token", false),
            (Plain::Nobody, "http://127.0.0.1/token", false),
            (Plain::ThisMachine, "http://127.0.0.9:80/token", true),
            (Plain::ThisMachine, "http://[::1]:80/token", true),
            (Plain::ThisMachine, "http://auth.example/token", false),
            (Plain::ThisMachine, "http://localhost.example/token", false),
            (Plain::All, "http://auth.example/token", true),
            (Plain::All, "file:///etc/passwd", false),
        ] {
            assert_eq!(plain.may_speak(&url.parse().unwrap()), may, "{plain:?} {url}");
        }
    }
}
