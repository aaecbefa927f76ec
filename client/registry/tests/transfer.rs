//! Blobs on their way, and what a registry can do to them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use holdfast_image::{Digest, Location, RootDocument, Source as _, Target as _};
use holdfast_registry::{Credentials, Pulled, Pushed, Target};
use support::{Answer, Asked, Server, options};

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
const MIB: usize = 1 << 20;

/// No two MiB of it are the same, so that none can be taken for another.
fn blob(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at / MIB) as u8).collect()
}

fn tag(name: &str) -> Target {
    Target::Tag(name.to_owned())
}

fn elsewhere() -> Location {
    Location::Registry { host: "other.example".into(), repository: "app".into(), image: "v1".into() }
}

/// What a registry has been sent of one upload.
#[derive(Default, Clone)]
struct Received(Arc<Mutex<Vec<u8>>>);

impl Received {
    /// Answers as a registry without faults does.
    fn answer(&self, asked: &Asked) -> Answer {
        let mut has = self.0.lock().unwrap();
        let method = asked.line.split(' ').next().unwrap();
        match method {
            "POST" => Answer::new("202 Accepted", "Location: /v2/app/blobs/uploads/7?at=0\r\n", ""),
            "PATCH" => {
                let from = asked.header("content-range").unwrap().split_once('-').unwrap().0;
                assert_eq!(from, has.len().to_string(), "a part that does not follow the last one");
                has.extend_from_slice(&asked.body);
                drop(has);
                self.state("202 Accepted")
            }
            "GET" if asked.line.contains("/uploads/") => {
                drop(has);
                self.state("204 No Content")
            }
            "PUT" if asked.line.contains("/uploads/") => {
                let wanted = format!("digest={}", Digest::of(&has)).replace(':', "%3A");
                match asked.line.contains(&wanted) {
                    true => Answer::new("201 Created", "", ""),
                    false => Answer::new(
                        "400 Bad Request",
                        "",
                        r#"{"errors":[{"message":"provided digest did not match uploaded content"}]}"#,
                    ),
                }
            }
            "PUT" => Answer::new("201 Created", "", ""),
            "DELETE" => Answer::new("204 No Content", "", ""),
            _ => Answer::new("404 Not Found", "", ""),
        }
    }

    /// Keeps a part of a chunk, and says nothing of it.
    fn keep(&self, part: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(part);
    }

    /// Every state has a place of its own, as docker-registry has it.
    fn state(&self, status: &str) -> Answer {
        let has = self.0.lock().unwrap().len();
        let last = has.saturating_sub(1);
        Answer::new(status, &format!("Location: /v2/app/blobs/uploads/7?at={has}\r\nRange: 0-{last}\r\n"), "")
    }
}

fn count(server: &Server, method: &str) -> usize {
    server.asked().iter().filter(|asked| asked.line.starts_with(method)).count()
}

/// Sends a blob, says that it has this digest, and lets the tag lead to a manifest.
fn push(server: &Server, credentials: Credentials, blob: &[u8], digest: &Digest) -> Result<(), String> {
    let pushed = Pushed::new(server.repository_with(options(credentials)), &tag("v1")).unwrap();
    let new = pushed.begin(&elsewhere()).map_err(|error| error.to_string())?;
    let mut out = new.blob().map_err(|error| error.to_string())?;
    // In pieces that end nowhere where a chunk does.
    for piece in blob.chunks(700_001) {
        out.write_all(piece).map_err(|error| error.to_string())?;
    }
    out.keep(digest).map_err(|error| error.to_string())?;
    let root = RootDocument {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        bytes: MANIFEST.into(),
        descriptor: serde_json::Map::new(),
    };
    new.commit(&root).map_err(|error| error.to_string())
}

#[test]
fn a_blob_arrives_whole_and_the_tag_is_written_last() {
    for len in [0, 1, 4 * MIB, 9 * MIB + 17] {
        let received = Received::default();
        let answers = received.clone();
        let server = Server::start(move |asked| answers.answer(asked));
        let blob = blob(len);
        push(&server, Credentials::none(), &blob, &Digest::of(&blob)).unwrap();
        assert!(*received.0.lock().unwrap() == blob, "{len} bytes");
        assert_eq!(count(&server, "PATCH"), len.div_ceil(4 * MIB));
        assert!(server.asked().last().unwrap().line.starts_with("PUT /v2/app/manifests/v1 "));
        assert_eq!(count(&server, "DELETE"), 0);
    }
}

#[test]
fn a_chunk_that_failed_is_sent_on_from_what_the_registry_has() {
    for (kept, status) in [(0, "503 Service Unavailable"), (MIB, "500 Internal Server Error"), (MIB, "")] {
        let received = Received::default();
        let (answers, patches) = (received.clone(), AtomicUsize::new(0));
        let server = Server::start(move |asked| {
            if asked.line.starts_with("PATCH") && patches.fetch_add(1, Ordering::Relaxed) == 1 {
                answers.keep(&asked.body[..kept]);
                // No status: the connection is lost.
                return match status {
                    "" => Answer::new("", "Connection: close\r\n", ""),
                    status => Answer::new(status, "", ""),
                };
            }
            answers.answer(asked)
        });
        let blob = blob(9 * MIB);
        push(&server, Credentials::none(), &blob, &Digest::of(&blob)).unwrap();
        assert!(*received.0.lock().unwrap() == blob);
        let asked = server.asked();
        let again = asked.iter().filter(|asked| asked.line.starts_with("PATCH")).nth(2).unwrap();
        assert_eq!(again.body.len(), 4 * MIB - kept, "{status}");
        assert!(again.line.contains(&format!("?at={}", 4 * MIB + kept)), "{}", again.line);
    }
}

#[test]
fn a_token_that_expires_between_two_chunks_is_fetched_again() {
    let issued = Arc::new(AtomicUsize::new(0));
    let issuing = issued.clone();
    let tokens = Server::start(move |_| {
        let number = issuing.fetch_add(1, Ordering::Relaxed);
        Answer::json(&format!(r#"{{"token":"t{number}"}}"#))
    });
    let received = Received::default();
    let (answers, realm) = (received.clone(), tokens.address.clone());
    // Each token is good for one chunk.
    let patches: Mutex<Vec<String>> = Mutex::default();
    let server = Server::start(move |asked| {
        let shown = asked.header("authorization").unwrap_or_default().to_owned();
        let mut patches = patches.lock().unwrap();
        if shown.is_empty() || asked.line.starts_with("PATCH") && patches.contains(&shown) {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\"\r\n");
            return Answer::new("401 Unauthorized", &challenge, "");
        }
        if asked.line.starts_with("PATCH") {
            patches.push(shown);
        }
        answers.answer(asked)
    });
    let blob = blob(9 * MIB);
    push(&server, Credentials::none(), &blob, &Digest::of(&blob)).unwrap();
    assert!(*received.0.lock().unwrap() == blob);
    // One to read, and one a chunk.
    assert_eq!(issued.load(Ordering::Relaxed), 4);
}

#[test]
fn a_blob_that_is_another_than_it_should_be_is_taken_back_and_gets_no_tag() {
    let received = Received::default();
    let server = Server::start(move |asked| received.answer(asked));
    let error = push(&server, Credentials::none(), &blob(5 * MIB), &Digest::of(b"another")).unwrap_err();
    assert!(error.contains("provided digest did not match uploaded content"), "{error}");
    assert_eq!(count(&server, "DELETE /v2/app/blobs/uploads/7?at=5242880"), 1);
    assert_eq!(count(&server, "PUT /v2/app/manifests"), 0);
}

#[test]
fn an_upload_that_the_registry_lost_is_an_error_and_gets_no_tag() {
    let received = Received::default();
    let patches = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        if asked.line.starts_with("PATCH") && patches.fetch_add(1, Ordering::Relaxed) == 1 {
            received.0.lock().unwrap().clear();
            return Answer::new("502 Bad Gateway", "", "");
        }
        received.answer(asked)
    });
    let error = push(&server, Credentials::none(), &blob(9 * MIB), &Digest::of(b"")).unwrap_err();
    assert!(error.contains("has lost a part of an upload; run again"), "{error}");
    assert_eq!(count(&server, "PUT"), 0);
}

#[test]
fn a_registry_that_takes_a_chunk_and_keeps_nothing_of_it_is_told() {
    let received = Received::default();
    let server =
        Server::start(move |asked| match asked.line.starts_with("PATCH") && !asked.body.is_empty() {
            true if received.0.lock().unwrap().len() == 4 * MIB => received.state("201 Created"),
            _ => received.answer(asked),
        });
    let error = push(&server, Credentials::none(), &blob(9 * MIB), &Digest::of(b"")).unwrap_err();
    assert!(error.contains("keeps nothing of it"), "{error}");
}

#[test]
fn an_upload_does_not_go_to_another_machine_without_tls() {
    let server = Server::start(|asked| match asked.line.starts_with("POST") {
        true => Answer::new("202 Accepted", "Location: http://192.0.2.1/upload\r\n", ""),
        false => Answer::new("404 Not Found", "", ""),
    });
    let error = push(&server, Credentials::none(), b"x", &Digest::of(b"x")).unwrap_err();
    assert!(error.contains("not reached over TLS; ask who runs it"), "{error}");
}

#[test]
fn a_blob_that_was_forgotten_before_it_was_mounted_is_to_be_copied() {
    // It is there when the registry is asked; when it is to be mounted an upload is begun instead.
    let received = Received::default();
    let server = Server::start(move |asked| received.answer(asked));
    let pushed = Pushed::new(server.repository(), &tag("v1")).unwrap();
    let from =
        Location::Registry { host: server.address.clone(), repository: "other".into(), image: "v1".into() };
    let new = pushed.begin(&from).unwrap();
    let digest = Digest::of(b"x");
    assert!(!new.has(&digest).unwrap());
    assert_eq!(count(&server, &format!("POST /v2/app/blobs/uploads/?mount={digest}&from=other ")), 1);
    assert_eq!(count(&server, "DELETE /v2/app/blobs/uploads/7"), 1);
}

#[test]
fn a_tag_that_moved_before_its_image_was_begun_is_left() {
    let server = Server::start(|_| Answer::json(MANIFEST));
    let commit = |instead_of: Digest| {
        let pushed = Pushed::new(server.repository(), &tag("v1")).unwrap().instead_of(instead_of);
        let new = pushed.begin(&elsewhere()).unwrap();
        let (media_type, bytes) = ("application/vnd.oci.image.manifest.v1+json".into(), MANIFEST.into());
        new.commit(&RootDocument { media_type, bytes, descriptor: serde_json::Map::new() })
    };
    let error = commit(Digest::of(b"what it led to")).unwrap_err().to_string();
    assert!(error.contains("the tag v1 leads to another manifest by now"), "{error}");
    assert_eq!(count(&server, "PUT "), 0);
    commit(Digest::of(MANIFEST.as_bytes())).unwrap();
    assert_eq!(count(&server, "PUT /v2/app/manifests/v1"), 1);
}

/// A server of one blob, of which no answer has more than `most` bytes; `ranges`: it knows `Range`.
fn breaking_off(blob: &[u8], most: usize, ranges: bool) -> Server {
    let blob = blob.to_vec();
    Server::start(move |asked| {
        if !asked.line.contains("/blobs/") {
            return Answer::json(MANIFEST);
        }
        let from = asked.header("range").filter(|_| ranges);
        let from: usize = from.map_or(0, |range| range["bytes=".len()..range.len() - 1].parse().unwrap());
        let rest = &blob[from..];
        let (status, range) = match from {
            0 => ("200 OK", String::new()),
            _ => ("206 Partial Content", format!("Content-Range: bytes {from}-{}/*\r\n", blob.len() - 1)),
        };
        let headers = format!("{range}Content-Length: {}\r\nConnection: close\r\n", rest.len());
        Answer::new(status, &headers, &rest[..rest.len().min(most)])
    })
}

fn pull(server: &Server, blob: &[u8], size: u64) -> Result<Vec<u8>, String> {
    let pulled = Pulled::new(server.repository(), tag("v1"), &std::env::temp_dir());
    let image = pulled.open().map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut from = image.blob(&Digest::of(blob), size).map_err(|error| error.to_string())?;
    from.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[test]
fn a_download_that_breaks_off_is_read_on_from_there() {
    let blob = blob(3 * MIB + 5);
    let server = breaking_off(&blob, MIB, true);
    assert!(pull(&server, &blob, blob.len() as u64).unwrap() == blob);
    assert_eq!(count(&server, "GET /v2/app/blobs/"), 4);
}

#[test]
fn a_download_that_does_not_get_on_ends_with_an_error() {
    let blob = blob(2 * MIB);
    // Without ranges it comes to the same place each time.
    let server = breaking_off(&blob, MIB, false);
    let error = pull(&server, &blob, blob.len() as u64).unwrap_err();
    assert!(error.contains("it broke off") && error.contains("try again later"), "{error}");
}

#[test]
fn a_blob_of_another_length_than_the_manifest_says_is_not_read() {
    let server = breaking_off(b"four", 4, true);
    let error = pull(&server, b"four", 5).unwrap_err();
    assert!(error.contains("the manifest says the blob has 5 bytes"), "{error}");
}
