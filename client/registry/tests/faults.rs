//! What a registry can do wrong, each from a server that does it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_image::Digest;
use holdfast_registry::{Credentials, Error, Options, Target};
use support::{Answer, Server, options};

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

fn tag(name: &str) -> Target {
    Target::Tag(name.to_owned())
}

/// Credentials for a server, in a file that goes with the directory.
fn authfile(dir: &tempfile::TempDir, address: &str) -> PathBuf {
    let file = dir.path().join("auth.json");
    // me:hunter2
    fs::write(&file, format!(r#"{{"auths":{{"{address}":{{"auth":"bWU6aHVudGVyMg=="}}}}}}"#)).unwrap();
    file
}

fn is_login(asked: &support::Asked) -> bool {
    asked.header("authorization") == Some("Basic bWU6aHVudGVyMg==")
}

#[test]
fn a_refusal_is_told_with_what_to_do() {
    for (status, kind, advice) in [
        ("401 Unauthorized", "Denied", "skopeo login"),
        ("403 Forbidden", "Denied", "log in as one who may"),
        ("404 Not Found", "NotFound", "see its name and tag"),
        ("418 Teapot", "Odd", "answers 418"),
    ] {
        let server = Server::start(move |_| {
            Answer::new(status, "", r#"{"errors":[{"code":"X","message":"its\u001b[2J words"}]}"#)
        });
        let error = server.repository().manifest(&tag("v1")).unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(advice) && text.contains(r"its\u{1b}[2J words"), "{text}");
    }
}

#[test]
fn a_busy_registry_is_asked_again_after_the_pause_that_it_wants() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let server = Server::start(move |asked| {
        if asked.line.contains("manifests") && counted.fetch_add(1, Ordering::Relaxed) < 2 {
            return Answer::new("429 Too Many Requests", "Retry-After: 7\r\n", "");
        }
        Answer::json(MANIFEST)
    });
    let pauses: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let noted = pauses.clone();
    let wait = move |pause| {
        noted.lock().unwrap().push(pause);
        false
    };
    let options = Options { wait: Arc::new(wait), ..options(Credentials::none()) };
    assert_eq!(server.repository_with(options).manifest(&tag("v1")).unwrap().bytes, MANIFEST.as_bytes());
    assert_eq!(*pauses.lock().unwrap(), [Duration::from_secs(7); 2]);
}

#[test]
fn a_registry_that_stays_busy_is_told_after_a_few_tries() {
    let server = Server::start(|_| Answer::new("503 Service Unavailable", "Retry-After: 100000\r\n", ""));
    let longest: Arc<Mutex<Duration>> = Arc::default();
    let noted = longest.clone();
    let wait = move |pause: Duration| {
        let mut longest = noted.lock().unwrap();
        *longest = pause.max(*longest);
        false
    };
    let options = Options { wait: Arc::new(wait), ..options(Credentials::none()) };
    let error = server.repository_with(options).manifest(&tag("v1")).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("it answers 503; tried 5 times"), "{error}");
    assert_eq!(*longest.lock().unwrap(), Duration::from_secs(60));
}

#[test]
fn an_interrupt_ends_the_wait() {
    let server = Server::start(|_| Answer::new("429 Too Many Requests", "", ""));
    let options = Options { wait: Arc::new(|_| true), ..options(Credentials::none()) };
    let error = server.repository_with(options).manifest(&tag("v1")).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
}

#[test]
fn credentials_are_shown_to_whom_they_are_for() {
    let server = Server::start(|asked| match is_login(asked) {
        true => Answer::json(MANIFEST),
        false => Answer::new("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", ""),
    });
    let dir = tempfile::tempdir().unwrap();
    let credentials = Credentials::in_file(&authfile(&dir, &server.address));
    let repository = server.repository_with(options(credentials));
    repository.manifest(&tag("v1")).unwrap();
    repository.manifest(&tag("v2")).unwrap();
    // Asked once, and remembered.
    let refused =
        server.asked().iter().filter(|asked| asked.line.contains("manifests") && !is_login(asked)).count();
    assert_eq!(refused, 1);
}

#[test]
fn refused_credentials_are_told_from_none() {
    let server =
        Server::start(|_| Answer::new("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", ""));
    let dir = tempfile::tempdir().unwrap();
    let credentials = Credentials::in_file(&authfile(&dir, &server.address));
    let error = server.repository_with(options(credentials)).manifest(&tag("v1")).unwrap_err();
    assert!(error.to_string().contains("refuses this user's credentials for"), "{error}");
    let error = server.repository().manifest(&tag("v1")).unwrap_err();
    assert!(error.to_string().contains("asks who we are for"), "{error}");
}

#[test]
fn a_token_is_fetched_for_the_scope_and_sent_to_the_registry_alone() {
    let tokens = Server::start(|asked| match is_login(asked) {
        true => Answer::json(r#"{"token":"t0ken"}"#),
        false => Answer::new("401 Unauthorized", "", ""),
    });
    let realm = tokens.address.clone();
    let server = Server::start(move |asked| match asked.header("authorization") {
        Some("Bearer t0ken") => Answer::json(MANIFEST),
        _ => Answer::new(
            "401 Unauthorized",
            &format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\",service=\"reg\"\r\n"),
            "",
        ),
    });
    let dir = tempfile::tempdir().unwrap();
    let credentials = Credentials::in_file(&authfile(&dir, &server.address));
    server.repository_with(options(credentials)).manifest(&tag("v1")).unwrap();
    assert!(tokens.asked()[0].line.starts_with("GET /token?scope=repository%3Aapp%3Apull&service=reg"));
    assert!(server.asked().iter().all(|asked| !is_login(asked)), "the password went to the registry");

    let error = server.repository().manifest(&tag("v1")).unwrap_err();
    assert!(matches!(error, Error::Denied(_)) && error.to_string().contains("no credentials"), "{error:?}");
}

#[test]
fn no_credential_goes_to_a_token_server_without_tls() {
    let server = Server::start(|_| {
        Answer::new("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"http://192.0.2.1/token\"\r\n", "")
    });
    let dir = tempfile::tempdir().unwrap();
    let credentials = Credentials::in_file(&authfile(&dir, &server.address));
    let error = server.repository_with(options(credentials)).manifest(&tag("v1")).unwrap_err();
    assert!(error.to_string().contains("not reached over TLS; no credential goes there"), "{error}");
}

#[test]
fn credentials_stay_behind_when_a_registry_redirects_to_another_host() {
    let other = Server::start(|_| Answer::json(MANIFEST));
    let place = format!("Location: http://{}/elsewhere\r\n", other.address);
    let server = Server::start(move |asked| match is_login(asked) {
        true => Answer::new("307 Temporary Redirect", &place, ""),
        false => Answer::new("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", ""),
    });
    let dir = tempfile::tempdir().unwrap();
    let credentials = Credentials::in_file(&authfile(&dir, &server.address));
    server.repository_with(options(credentials)).manifest(&tag("v1")).unwrap();
    let asked = other.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn where_a_registry_redirects_to_nobody_asks_for_its_credentials() {
    let tokens = Server::start(|_| Answer::json(r#"{"token":"t0ken"}"#));
    let ask = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n", tokens.address);
    let other = Server::start(move |_| Answer::new("401 Unauthorized", &ask, ""));
    let place = format!("Location: http://{}/elsewhere\r\n", other.address);
    let server = Server::start(move |_| Answer::new("307 Temporary Redirect", &place, ""));
    let dir = tempfile::tempdir().unwrap();
    let credentials = Credentials::in_file(&authfile(&dir, &server.address));
    let error = server.repository_with(options(credentials)).manifest(&tag("v1")).unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error:?}");
    assert!(!other.asked().is_empty());
    assert_eq!(tokens.asked().len(), 0, "credentials were shown to a stranger's token server");
}

#[test]
fn a_refresh_token_goes_no_further_than_its_token_server() {
    let other = Server::start(|_| Answer::json(r#"{"token":"t0ken"}"#));
    let place = format!("Location: http://{}/elsewhere\r\n", other.address);
    let tokens = Server::start(move |_| Answer::new("307 Temporary Redirect", &place, ""));
    let ask = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n", tokens.address);
    let server = Server::start(move |_| Answer::new("401 Unauthorized", &ask, ""));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth.json");
    fs::write(&file, format!(r#"{{"auths":{{"{}":{{"identitytoken":"hunter2"}}}}}}"#, server.address))
        .unwrap();
    let repository = server.repository_with(options(Credentials::in_file(&file)));
    let error = repository.manifest(&tag("v1")).unwrap_err();
    assert!(error.to_string().contains("the token server of"), "{error}");
    assert!(String::from_utf8_lossy(&tokens.asked()[0].body).contains("refresh_token=hunter2"));
    assert_eq!(other.asked().len(), 0);
}

#[test]
fn a_redirect_without_tls_to_another_machine_is_not_followed() {
    let server = Server::start(|_| Answer::new("302 Found", "Location: http://192.0.2.1/x\r\n", ""));
    let error = server.repository().manifest(&tag("v1")).unwrap_err();
    assert!(error.to_string().contains("redirects to a place without TLS"), "{error}");
}

#[test]
fn a_manifest_of_100_mb_is_not_read() {
    let server = Server::start(|_| Answer::new("200 OK", "Content-Length: 100000000\r\n", "{"));
    let error = server.repository().manifest(&tag("v1")).unwrap_err();
    assert!(error.to_string().contains("a manifest of more than 4194304 bytes"), "{error}");
}

#[test]
fn an_answer_that_breaks_off_is_told() {
    let server =
        Server::start(|_| Answer::new("200 OK", "Content-Length: 100\r\nConnection: close\r\n", "{"));
    let error = server.repository().manifest(&tag("v1")).unwrap_err();
    assert!(error.to_string().contains("the registry's answer broke off"), "{error}");
}

#[test]
fn another_manifest_than_the_digest_names_is_refused() {
    let server = Server::start(|_| Answer::json(MANIFEST));
    let wanted = Digest::of(b"something else");
    let error = server.repository().manifest(&Target::Digest(wanted)).unwrap_err();
    assert!(error.to_string().contains("another manifest than sha256:"), "{error}");
}

#[test]
fn a_list_is_read_to_its_last_page() {
    let server = Server::start(|asked| match asked.line.contains("last=b") {
        true => Answer::json(r#"{"name":"app","tags":["c"]}"#),
        false => Answer::new(
            "200 OK",
            "Link: </v2/app/tags/list?last=b&n=2>; rel=\"next\"\r\n",
            r#"{"name":"app","tags":["a","b"]}"#,
        ),
    });
    assert_eq!(server.repository().tags().unwrap(), ["a", "b", "c"]);
}

#[test]
fn a_list_that_goes_in_a_circle_or_out_of_the_registry_is_an_error() {
    for (link, complaint) in [
        ("/v2/app/tags/list?n=1000", "names itself as the next"),
        ("http://192.0.2.1/v2/app/tags/list", "leads to a place outside of itself"),
        ("/elsewhere", "leads to a place outside of itself"),
    ] {
        let header = format!("Link: <{link}>; rel=\"next\"\r\n");
        let server = Server::start(move |_| Answer::new("200 OK", &header, r#"{"tags":["a"]}"#));
        let error = server.repository().tags().unwrap_err();
        assert!(error.to_string().contains(complaint), "{link}: {error}");
    }
}

#[test]
fn a_name_that_no_tag_can_have_makes_the_list_an_error() {
    for name in ["../../x", "a/b", "a?n=1", "", "a b"] {
        let body = serde_json::json!({ "tags": [name] }).to_string();
        let server = Server::start(move |_| Answer::json(&body));
        let error = server.repository().tags().unwrap_err();
        assert!(error.to_string().contains("a name that none can have"), "{name}: {error}");
    }
}

#[test]
fn a_tag_that_was_moved_is_left_as_it_is() {
    let server = Server::start(|_| Answer::json(MANIFEST));
    let error = server
        .repository()
        .tag("v1", Some(&Digest::of(b"as it was")), "application/json", b"{}")
        .unwrap_err();
    assert!(matches!(error, Error::Moved(_)), "{error:?}");
    assert!(server.asked().iter().all(|asked| !asked.line.starts_with("PUT")), "something was written");
}

#[test]
fn the_condition_is_told_to_a_registry_that_knows_it() {
    let server = Server::start(|asked| match asked.line.starts_with("PUT") {
        true => Answer::new("412 Precondition Failed", "", ""),
        false => Answer::json(MANIFEST),
    });
    let was = Digest::of(MANIFEST.as_bytes());
    let error = server.repository().tag("v1", Some(&was), "application/json", b"{}").unwrap_err();
    assert!(matches!(error, Error::Moved(_)), "{error:?}");
    let put = server.asked().into_iter().find(|asked| asked.line.starts_with("PUT")).unwrap();
    assert_eq!(put.header("if-match"), Some(format!("\"{was}\"").as_str()));
}

#[test]
fn a_tag_whose_answer_was_lost_is_not_told_as_moved() {
    let stored: Arc<Mutex<Vec<u8>>> = Arc::new(Mutex::new(MANIFEST.into()));
    let manifests = stored.clone();
    let server = Server::start(move |asked| {
        let mut now = manifests.lock().unwrap();
        if !asked.line.starts_with("PUT") {
            return Answer::new("200 OK", "", now.clone());
        }
        match asked.header("if-match") == Some(format!("\"{}\"", Digest::of(&now)).as_str()) {
            true => {
                now.clone_from(&asked.body);
                Answer::new("502 Bad Gateway", "", "")
            }
            false => Answer::new("412 Precondition Failed", "", ""),
        }
    });
    let was = Digest::of(MANIFEST.as_bytes());
    server.repository().tag("v1", Some(&was), "application/json", b"{}").unwrap();
    assert_eq!(*stored.lock().unwrap(), b"{}");
}

#[test]
fn a_registry_that_stores_something_else_is_told() {
    let other = Digest::of(b"other");
    let server = Server::start(move |_| {
        Answer::new("201 Created", &format!("Docker-Content-Digest: {other}\r\n"), "")
    });
    let error = server.repository().put("application/json", b"{}").unwrap_err();
    assert!(error.to_string().contains("stored another manifest"), "{error}");
}

#[test]
fn a_blob_that_was_forgotten_before_it_was_mounted_is_not_taken_for_there() {
    let server = Server::start(|asked| match asked.line.starts_with("POST") {
        true => Answer::new("201 Created", "", ""),
        false => Answer::new("404 Not Found", "", ""),
    });
    let repository = server.repository();
    let from = repository.name().sibling("other").unwrap();
    assert!(!repository.mount(&Digest::of(b"x"), &from).unwrap());
}
