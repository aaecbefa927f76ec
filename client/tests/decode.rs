//! `holdfast decode`, the binary, as containerd starts it, against a stand-in for the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use support::decoding::{Decoding, TYPE, any, feed, finish, finish_fed};
use support::images::files;
use support::{Opens, StandIn};
use tonic::Status;

/// Longer than what is kept back, and no multiple of a block.
const LONG: usize = (3 << 20) + 7;

#[test]
fn a_layer_that_the_parent_has_open_is_given_whole() {
    for len in [0, 1, 4096, 4097, LONG] {
        let scene = Decoding::of(len);
        let _held = scene.open();
        scene.decode(&[]).gave(&scene.plain);
    }
}

#[test]
fn a_layer_through_a_pipe_alone_is_given_whole() {
    for len in [0, 1, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, LONG] {
        let scene = Decoding::of(len);
        scene.decode(&[]).gave(&scene.plain);
    }
}

#[test]
fn a_layer_that_is_a_file_on_stdin_is_given_whole() {
    let scene = Decoding::of(LONG);
    let mut command = scene.command(Some(&scene.payload()), &[]);
    let output = command.stdin(scene.open()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(output.stdout == scene.plain);
}

#[test]
fn a_shell_between_containerd_and_the_decoder_hides_no_blob() {
    let scene = Decoding::of(LONG);
    let _held = scene.open();
    let inner = scene.command(Some(&scene.payload()), &["--verbose"]);
    let mut outer = std::process::Command::new("sh");
    // Not the last command, so that the shell stays.
    outer.args(["-c", r#""$@"; code=$?; exit $code"#, "sh"]).arg(inner.get_program()).args(inner.get_args());
    outer.env("HOLDFAST_SOCKET", scene.socket());
    outer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let decoded = finish(outer.spawn().unwrap(), &scene.image.blobs[0]);
    assert!(decoded.err.contains("all of the layer was checked before"), "{}", decoded.err);
    assert!(decoded.plain == scene.plain);
}

#[test]
fn verbose_says_how_and_only_when_all_went_well() {
    let scene = Decoding::of(100);
    let told = scene.decode(&["--verbose"]);
    assert_eq!(
        told.err,
        "holdfast: note: opened with images (request 7)\nholdfast: note: the layer is no file that can be found: it was written as it came, and its end kept back until all of it had been checked\n"
    );
    let mut blob = scene.image.blobs[0].clone();
    blob[50] ^= 1;
    scene.run(Some(&scene.payload()), &["--verbose"], &blob).refused("copy the image again from its source");
}

#[test]
fn ctd_decoders_own_arguments_are_taken() {
    let scene = Decoding::of(100);
    scene.decode(&["--decryption-keys-path", "/etc/containerd/ocicrypt/keys"]).gave(&scene.plain);
}

#[test]
fn every_packet_of_the_layer_goes_to_the_daemon_and_no_private_key_does() {
    let scene = Decoding::of(100);
    let mut layer = scene.layer();
    layer["annotations"]["org.opencontainers.image.enc.keys.pkcs7"] = "AQ==,Ag==".into();
    layer["annotations"]["org.opencontainers.image.enc.keys.provider.kp"] = "Aw==".into();
    let secret = STANDARD.encode("-----BEGIN PRIVATE KEY-----");
    let json = json!({"DecryptConfig": {"Parameters": {"privkeys": [secret], "privkeys-passwords": [""]}}, "Descriptor": layer});
    let payload = any(TYPE, json.to_string().as_bytes());
    let decoded = scene.run(Some(&payload), &[], &scene.image.blobs[0]);
    assert_eq!(decoded.code, Some(0), "{}", decoded.err);
    assert_eq!(
        decoded.err,
        "holdfast: warning: 1 private keys or passwords came along with the layer and were dropped; holdfastd has the keys, so give containerd none\n"
    );
    let request = scene.server.as_ref().unwrap().calls.try_recv().unwrap();
    let mut packets: Vec<_> =
        request.packets.iter().map(|one| (one.scheme.as_str(), one.data.len())).collect();
    packets.sort_unstable();
    assert_eq!(&packets[1..], [("pkcs7", 1), ("pkcs7", 1), ("provider.kp", 1)]);
    assert_eq!(request.manifest, "");
    assert!(request.packets.iter().all(|one| !String::from_utf8_lossy(&one.data).contains("PRIVATE")));
}

#[test]
fn a_refusal_is_the_daemons_line_and_is_not_asked_for_again() {
    let refusal = Status::permission_denied("no rule lets uid 7 unwrap this; ask for one (request 42)");
    let scene = Decoding::with(LONG, Opens::Refuses(refusal));
    scene.decode(&[]).refused("no rule lets uid 7 unwrap this; ask for one (request 42)");
    assert_eq!(scene.server.as_ref().unwrap().calls.try_iter().count(), 1);
}

#[test]
fn a_daemon_that_starts_later_is_waited_for() {
    let mut scene = Decoding::of(LONG);
    scene.server = None;
    // What is left of a daemon that was killed.
    assert!(scene.socket().exists());
    let child = scene.command(Some(&scene.payload()), &[]).spawn().unwrap();
    let socket = scene.socket();
    let path = scene.dir.path().to_owned();
    let starter = std::thread::spawn(move || {
        std::fs::remove_file(socket).unwrap();
        StandIn::opens(Opens::Clear).start(&path)
    });
    finish(child, &scene.image.blobs[0]).gave(&scene.plain);
    drop(starter.join().unwrap());
}

#[test]
fn a_daemon_that_is_busy_is_asked_again_until_the_time_is_up() {
    let busy = Status::unavailable("its token does not answer; try again (request 42)");
    let scene = Decoding::with(100, Opens::Refuses(busy));
    scene.decode(&["--timeout", "300ms"]).refused("its token does not answer; try again (request 42)");
    assert!(scene.server.as_ref().unwrap().calls.try_iter().count() > 1);
}

#[test]
fn a_daemon_that_is_away_or_slow_is_told_when_the_time_is_up() {
    let mut scene = Decoding::of(100);
    scene.server = None;
    let at = scene.socket().display().to_string();
    scene.decode(&["--timeout", "100ms"]).refused(&format!(
        "no holdfastd at {at}: nobody listens on the socket; start holdfastd and see its log"
    ));
    let scene = Decoding::with(100, Opens::Hangs);
    scene.decode(&["--timeout", "200ms"]).refused("see its log, or give it longer with --timeout");
}

#[test]
fn a_decoder_killed_while_it_waits_leaves_nothing() {
    let scene = Decoding::with(LONG, Opens::Hangs);
    let before = files(scene.dir.path());
    let mut child = scene.command(Some(&scene.payload()), &[]).spawn().unwrap();
    let feeder = feed(&mut child, &scene.image.blobs[0]);
    let server = scene.server.as_ref().unwrap();
    server.calls.recv_timeout(std::time::Duration::from_secs(20)).expect("the daemon is asked");
    child.kill().unwrap();
    let decoded = finish_fed(child, feeder);
    assert_eq!((decoded.code, decoded.plain.len()), (None, 0));
    assert_eq!(
        decoded.err,
        "holdfast: decode was killed before it was done; see the kernel's log, it may have been out of memory\n"
    );
    std::fs::remove_file(scene.dir.path().join("payload")).unwrap();
    assert!(files(scene.dir.path()) == before);
}

#[test]
fn arguments_that_are_not_understood_are_one_line_and_exit_code_2() {
    let scene = Decoding::of(100);
    let decoded = scene.decode(&["--keys"]);
    assert_eq!((decoded.code, decoded.plain.len()), (Some(2), 0));
    assert_eq!(decoded.err, "holdfast: unexpected argument '--keys' found; see holdfast decode --help\n");
}
