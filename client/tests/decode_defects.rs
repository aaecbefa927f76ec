//! Layers and payloads that are not as they should be: `holdfast decode` says what is wrong in one line, and
//! what has not been checked is not released.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use serde_json::Value;
use support::decoding::{Decoding, TYPE, any, finish, payload};
use support::images::files;

const LONG: usize = (3 << 20) + 7;
const MAC: &str = "the MAC does not match: blob, annotations and key were not made together; copy the image again from its source";

#[test]
fn one_bit_anywhere_in_the_file_releases_nothing() {
    for at in [0, LONG / 2, LONG - 1] {
        let scene = Decoding::of(LONG);
        let mut blob = scene.image.blobs[0].clone();
        blob[at] ^= 1;
        fs::write(scene.blob(), &blob).unwrap();
        let _held = scene.open();
        scene.run(Some(&scene.payload()), &[], &blob).refused(MAC);
    }
}

#[test]
fn one_bit_anywhere_in_a_pipe_fails_before_the_end_is_released() {
    for at in [0, LONG / 2, LONG - 1] {
        let scene = Decoding::of(LONG);
        let mut blob = scene.image.blobs[0].clone();
        blob[at] ^= 1;
        let decoded = scene.run(Some(&scene.payload()), &[], &blob);
        decoded.failed(MAC);
        assert!(decoded.plain.len() <= LONG - (1 << 20), "{} bytes", decoded.plain.len());
    }
}

#[test]
fn a_file_that_differs_from_the_stream_is_not_taken_for_it() {
    let scene = Decoding::of(LONG);
    let _held = scene.open();
    let mut other = scene.image.blobs[0].clone();
    other[0] ^= 1;
    scene.run(Some(&scene.payload()), &[], &other).failed(MAC);
}

#[test]
fn a_nonce_or_digest_that_the_mac_does_not_cover_is_found_out() {
    let digest = "the packet was damaged or made for another layer: copy the image again from its source";
    let nonce = "AAAAAAAAAAAAAAAAAAAAAA==";
    for held in [true, false] {
        for change in [
            ("cipheroptions", serde_json::json!({"nonce": nonce})),
            ("digest", Value::from(format!("sha256:{}", "0".repeat(64)))),
        ] {
            let mut scene = Decoding::of(100_000);
            let _held = held.then(|| scene.open());
            scene.image.change_optsdata(0, |optsdata| optsdata[change.0] = change.1.clone());
            scene.decode(&[]).refused(digest);
        }
    }
    let mut scene = Decoding::of(100);
    scene.image.change_optsdata(0, |optsdata| optsdata["digest"] = "".into());
    scene.decode(&[]).refused("so it cannot be checked; encrypt the image again");
}

#[test]
fn a_size_that_is_not_the_layers_is_told() {
    for held in [true, false] {
        let mut scene = Decoding::of(LONG);
        let _held = held.then(|| scene.open());
        scene.image.layer(0)["size"] = (LONG as u64 + 1).into();
        scene.decode(&[]).failed(&format!(
            "the manifest says the blob has {} bytes, it has only {LONG}; copy the image again from its source",
            LONG + 1
        ));
        scene.image.layer(0)["size"] = (LONG as u64 - 1).into();
        let less = scene.decode(&[]);
        let end = if held { "it has more; copy the image again from its source" } else { MAC };
        less.failed(end);
    }
}

#[test]
fn a_stream_that_ends_early_or_goes_on_is_told() {
    let scene = Decoding::of(LONG);
    let blob = &scene.image.blobs[0];
    for len in [0, 1, 4096, LONG / 2, LONG - 1] {
        let decoded = scene.run(Some(&scene.payload()), &[], &blob[..len]);
        decoded.failed(&format!("it has only {len}; copy the image again from its source"));
        assert!(decoded.plain.len() <= LONG - (1 << 20));
    }
    let more = [blob.as_slice(), b"x"].concat();
    let decoded = scene.run(Some(&scene.payload()), &[], &more);
    decoded.failed(&format!(
        "does not end after the {LONG} bytes that its descriptor gives; copy the image again from its source"
    ));
    assert!(decoded.plain.len() <= LONG - (1 << 20));
}

#[test]
fn a_stream_that_never_ends_is_told() {
    let scene = Decoding::of(LONG);
    // Zeros for ever, and the layer with nothing after it, not even an end.
    let mut command = scene.command(Some(&scene.payload()), &[]);
    let mut endless = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = endless.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || while stdin.write_all(&[0; 4096]).is_ok() {});
    let output = endless.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("holdfast: {MAC}\n"));

    let mut child = scene.command(Some(&scene.payload()), &["--timeout", "300ms"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut plain = Vec::new();
        stdout.read_to_end(&mut plain).unwrap();
        plain.len()
    });
    stdin.write_all(&scene.image.blobs[0]).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    drop(stdin);
    assert!(reader.join().unwrap() <= LONG - (1 << 20));
}

#[test]
fn nobody_reading_is_a_failure_like_another() {
    let scene = Decoding::of(LONG);
    let _held = scene.open();
    let mut child = scene.command(Some(&scene.payload()), &[]).spawn().unwrap();
    drop(child.stdout.take());
    child.stdout = None;
    let mut err = String::new();
    let mut stderr = child.stderr.take().unwrap();
    let feeder = support::decoding::feed(&mut child, &scene.image.blobs[0]);
    stderr.read_to_string(&mut err).unwrap();
    feeder.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(err, "holdfast: cannot write the layer to stdout: Broken pipe (os error 32)\n");
}

#[test]
fn a_full_device_is_a_failure_like_another() {
    let scene = Decoding::of(LONG);
    let mut command = scene.command(Some(&scene.payload()), &[]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdin(scene.open()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "holdfast: cannot write the layer to stdout: No space left on device (os error 28); free space there and run again\n"
    );
}

#[test]
fn a_payload_that_cannot_be_used_has_a_line_of_its_own() {
    let scene = Decoding::of(100);
    let says = |payload: &[u8], end: &str| scene.run(Some(payload), &[], &scene.image.blobs[0]).refused(end);
    let advice = "; containerd writes it when it starts its stream processor";
    says(&vec![b'{'; 100 << 20], &format!("the payload on file descriptor 3 has more than 4 MiB{advice}"));
    let good = scene.payload();
    says(&good[..good.len() / 2], &format!("is cut off, or no protobuf message{advice}"));
    says(&any("other", b"{}"), &format!("is not of the type io.containerd.ocicrypt.v1.Payload{advice}"));
    says(&any(TYPE, b"7"), &format!("does not have the expected form (line 1, column 1){advice}"));
    let with = |name: &str, value: Value| {
        let mut layer = scene.layer();
        layer["annotations"][name] = value;
        payload(&layer)
    };
    says(&with(support::images::KEYS, "%".into()), "keys.jwe is not base64; encrypt the image again");
    says(
        &with(support::images::PUBOPTS, Value::Null),
        "has no annotation org.opencontainers.image.enc.pubopts, so it cannot be checked; copy the image again from its source",
    );
    let other = "eyJjaXBoZXIiOiJBRVNfR0NNIiwiaG1hYyI6IiJ9";
    says(
        &with(support::images::PUBOPTS, other.into()),
        "the layer's cipher is not AES_256_CTR_HMAC_SHA256, the only one this version knows; open it with what encrypted it",
    );
    assert_eq!(scene.server.as_ref().unwrap().calls.try_iter().count(), 0, "the daemon was asked");
}

#[test]
fn a_payload_that_never_ends_is_told() {
    let scene = Decoding::of(100);
    let fifo = scene.dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let mut command = std::process::Command::new("sh");
    // Open for both, so that there is a writer for ever: the decoder itself.
    command
        .args(["-c", r#"p=$1; shift; exec "$@" 3<>"$p""#, "sh"])
        .arg(&fifo)
        .arg(env!("CARGO_BIN_EXE_holdfast"));
    command.args(["decode", "--timeout", "200ms"]).env("HOLDFAST_SOCKET", scene.socket());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().unwrap(), b"").refused(
        "the payload on file descriptor 3 did not end in time; containerd writes it when it starts its stream processor",
    );
}

#[test]
fn a_decoder_killed_at_any_byte_leaves_nothing() {
    let scene = Decoding::of(LONG);
    let _held = scene.open();
    scene.decode(&[]).gave(&scene.plain);
    let before = files(scene.dir.path());
    for bytes in [1, 70_000, 1 << 20, LONG - 1] {
        let mut child = scene.command(Some(&scene.payload()), &[]).spawn().unwrap();
        let feeder = support::decoding::feed(&mut child, &scene.image.blobs[0]);
        let mut read = vec![0; bytes];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut read).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        feeder.join().unwrap();
        assert!(read == scene.plain[..bytes]);
        assert!(files(scene.dir.path()) == before, "something stayed");
    }
}
