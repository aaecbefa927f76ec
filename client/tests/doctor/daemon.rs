//! What the daemon answers. With the real one, in the end-to-end tests.

use holdfast_wire::grpc::v1::{GetStatusResponse, Key, Token};
use tempfile::tempdir;

use super::node::Told;
use super::support::{Opens, StandIn, holdfast};

fn status() -> GetStatusResponse {
    GetStatusResponse {
        version: "0.1.0".to_owned(),
        caller: "uid 0 (root), gid 0".to_owned(),
        known: true,
        tokens: vec![Token { name: "prod".to_owned(), serving: true, ..Token::default() }],
        ..GetStatusResponse::default()
    }
}

fn key(may: &str) -> Key {
    Key { alias: "images".to_owned(), permissions: vec![may.to_owned()], ..Key::default() }
}

/// What is wrong with a daemon that answers this: this machine's own state is not told here.
fn wrong(status: GetStatusResponse, keys: Vec<Key>) -> Vec<(String, String, String)> {
    let dir = tempdir().unwrap();
    let server = StandIn { status, keys, ..StandIn::opens(Opens::Hangs) }.start(dir.path());
    of_daemon(&Told::by(holdfast(&server.socket).args(["doctor", "--json"])))
}

fn of_daemon(told: &Told) -> Vec<(String, String, String)> {
    let ours = ["daemon", "rules", "audit", "token", "key"];
    let wrong = told.wrong().into_iter().filter(|one| ours.contains(&one["check"].as_str().unwrap()));
    let text = |one: &serde_json::Value, name: &str| one[name].as_str().unwrap().to_owned();
    // Whoever is not root cannot know what containerd will be told.
    let wrong = wrong.filter(|one| one["state"] != "unknown");
    wrong.map(|one| (text(one, "state"), text(one, "check"), text(one, "what"))).collect()
}

fn is_one(wrong: &[(String, String, String)], check: &str, says: &str) {
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert_eq!((wrong[0].0.as_str(), wrong[0].1.as_str()), ("fault", check));
    assert!(wrong[0].2.contains(says), "{wrong:?}");
}

#[test]
fn a_daemon_that_lets_the_caller_unwrap_is_well() {
    assert_eq!(wrong(status(), vec![key("unwrap")]), []);
}

#[test]
fn no_daemon() {
    let dir = tempdir().unwrap();
    let told = Told::by(holdfast(&dir.path().join("no.sock")).args(["doctor", "--json"]));
    assert_eq!(told.code, 4);
    is_one(&of_daemon(&told), "daemon", "there is no such socket");
}

#[test]
fn tokens_keys_and_an_audit_log_in_trouble() {
    let token =
        Token { name: "prod".to_owned(), trouble: "the PIN was refused".to_owned(), ..Token::default() };
    let down = GetStatusResponse { tokens: vec![token], ..status() };
    is_one(&wrong(down, vec![key("unwrap")]), "token", "prod is not serving: the PIN was refused");
    let full = GetStatusResponse { audit_trouble: "no space left".to_owned(), ..status() };
    is_one(&wrong(full, vec![key("unwrap")]), "audit", "no space left");
    let lost = Key { trouble: "the token is not there".to_owned(), ..key("unwrap") };
    is_one(&wrong(status(), vec![lost]), "key", "images: the token is not there");
}

#[test]
fn a_socket_that_everybody_may_connect_to() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempdir().unwrap();
    let server = StandIn { status: status(), keys: vec![key("unwrap")], ..StandIn::opens(Opens::Hangs) };
    let server = server.start(dir.path());
    for (mode, warned) in [(0o666, true), (0o660, false)] {
        std::fs::set_permissions(&server.socket, std::fs::Permissions::from_mode(mode)).unwrap();
        let told = Told::by(holdfast(&server.socket).args(["doctor", "--json"]));
        assert_eq!(told.troubles().contains(&("warning", "socket")), warned, "{told:?}");
    }
}

/// As root, as the tests of a node run.
#[test]
fn rules_that_refuse_containerd() {
    if !rustix::process::getuid().is_root() {
        let told = wrong(GetStatusResponse { known: false, ..status() }, vec![]);
        assert_eq!(told, [], "who is not root cannot tell");
        return;
    }
    is_one(
        &wrong(GetStatusResponse { known: false, ..status() }, vec![]),
        "rules",
        "no [[allow]] rule names uid 0",
    );
    is_one(&wrong(status(), vec![key("wrap")]), "rules", "root may unwrap with no key");

    let dir = tempdir().unwrap();
    let status =
        GetStatusResponse { known: false, caller: "uid 65534 (nobody), gid 65534".to_owned(), ..status() };
    let server = StandIn { status, ..StandIn::opens(Opens::Hangs) }.start(dir.path());
    let told = Told::by(holdfast(&server.socket).args(["doctor", "--json"]));
    let rules = told.wrong().into_iter().find(|one| one["check"] == "rules").unwrap();
    assert!(rules["do"].as_str().unwrap().contains("without PrivateUsers="), "{rules}");
}
