//! Who a server is, and who we are to it: nothing is asked of a server that is not the right one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use holdfast_kmip::{Files, Token};
use hsm_sim::{Authority, Credentials, Leaf};

use super::support::{PATIENCE, Scene, address, files};
use super::unavailable;

const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

#[test]
fn a_server_with_a_bad_certificate_is_refused() {
    let mut scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    let foreign = Authority::new(dir.path(), "foreign").unwrap();
    let issue = |name: &str, leaf: Leaf| scene.server.authority().issue(name, &leaf).unwrap();
    let bad = [
        (issue("expired", Leaf::server(NAMES).expired()), "expired"),
        (issue("not-yet", Leaf::server(NAMES).not_yet_valid()), "not valid yet"),
        (issue("wrong-name", Leaf::server("DNS:kms-2.internal,IP:127.0.0.2")), "not valid for name"),
        (issue("a-client", Leaf::client()), "does not allow extended key usage"),
        (foreign.issue("foreign", &Leaf::server(NAMES)).unwrap(), "UnknownIssuer"),
    ];
    for (credentials, says) in bad {
        scene.server.present(&credentials).unwrap();
        let why = unavailable(scene.token.connect());
        assert!(why.contains("the TLS handshake") && why.contains(says), "{why}");
        assert!(why.starts_with(&scene.server.address()), "{why}");
    }
}

#[test]
fn a_client_that_the_server_does_not_know_is_told_so() {
    let scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    let foreign = Authority::new(dir.path(), "foreign").unwrap();
    let expired = scene.server.authority().issue("expired", &Leaf::client().expired()).unwrap();
    for client in [foreign.issue("foreign", &Leaf::client()).unwrap(), expired] {
        let why = unavailable(scene.other(vec![address(&scene.server)], &client).connect());
        assert!(why.contains("alert"), "{why}");
    }
    // Known, but of no use as a client: PyKMIP looks at its key usage itself.
    let server = scene.server.authority().issue("another-server", &Leaf::server(NAMES)).unwrap();
    unavailable(scene.other(vec![address(&scene.server)], &server).connect());
}

#[test]
fn certificates_are_read_again_when_they_change() {
    let scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    let foreign = Authority::new(dir.path(), "foreign").unwrap().issue("foreign", &Leaf::client()).unwrap();
    let own = Files {
        ca: dir.path().join("ca.pem"),
        cert: dir.path().join("client.pem"),
        key: dir.path().join("client.key"),
    };
    let token = Token::new(vec![address(&scene.server)], own.clone(), PATIENCE);
    let why = unavailable(token.connect());
    assert!(why.contains("ca.pem: No such file"), "{why}");

    fs::copy(scene.server.authority().certificate(), &own.ca).unwrap();
    put(&foreign, &own, 1);
    assert!(unavailable(token.connect()).contains("alert"));
    put(scene.server.client(), &own, 2);
    token.connect().unwrap();
    // What cannot be used changes nothing.
    fs::write(&own.cert, "-----BEGIN CERTIFICATE-----\n").unwrap();
    token.connect().unwrap();
}

#[test]
fn files_that_cannot_be_used_are_told_by_their_names() {
    let scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("nothing.pem");
    fs::write(&nothing, "hello").unwrap();
    let good = files(&scene.server, scene.server.client());
    for (files, says) in [
        (Files { ca: nothing.clone(), ..good.clone() }, "nothing.pem: it holds no certificate"),
        (Files { cert: nothing.clone(), ..good.clone() }, "nothing.pem: it holds no certificate"),
        (Files { key: nothing.clone(), ..good.clone() }, "nothing.pem: it holds no private key"),
        (Files { key: dir.path().to_owned(), ..good.clone() }, "is not a file"),
        (Files { key: other_key(dir.path()), ..good.clone() }, "hsm-sim.pem: "),
    ] {
        let token = Token::new(vec![address(&scene.server)], files, PATIENCE);
        let why = unavailable(token.connect());
        assert!(why.contains(says), "{why}");
    }
}

/// A private key that is not the certificate's.
fn other_key(dir: &Path) -> std::path::PathBuf {
    Authority::new(dir, "another").unwrap().issue("another", &Leaf::client()).unwrap().key
}

/// With a time of its own: two writes within one tick of the clock would look like one.
fn put(credentials: &Credentials, to: &Files, age: u64) {
    for (from, to) in [(&credentials.certificate, &to.cert), (&credentials.key, &to.key)] {
        fs::copy(from, to).unwrap();
        let time = std::time::SystemTime::now() - Duration::from_secs(1000 - age);
        fs::File::options().write(true).open(to).unwrap().set_modified(time).unwrap();
    }
}
