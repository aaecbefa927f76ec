//! Whatever goes wrong behind the daemon, its callers end with its line: in skopeo and in ctd-decoder,
//! whose text becomes the pod's event.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_e2e::house::{House, PATIENCE, me};
use holdfast_e2e::peers::{decoder, fails};
use holdfast_e2e::stall::Stall;
use holdfast_e2e::{image, must};
use hsm_sim::{KeyKind, Process};

use super::scene::{Scene, wrapped};

const DENIED: &str = "no rule allows this caller to do this with this key, or there is no such key; see [[allow]] in holdfastd's configuration";
const REJECTED: &str =
    "no key that this caller may use opens this packet; it was wrapped to another key or is damaged";

fn scene(house: House) -> Scene {
    wrapped(house.key("images", KeyKind::Rsa2048), &["provider:holdfast:images"])
}

#[test]
fn a_caller_without_a_rule() {
    let scene = scene(House::new());
    let config = scene.house.with_rules(&format!(
        "[[allow]]\nuser = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"images\"]\n",
        me() + 1
    ));
    let _daemon = scene.house.start_command(config);
    scene.unwrapping_is_refused(DENIED);
    scene.wrapping_is_refused(&["provider:holdfast:images"], DENIED);
}

#[test]
fn an_unknown_alias() {
    let scene = scene(House::new());
    let _daemon = scene.start();
    scene.wrapping_is_refused(&["provider:holdfast:nothing"], DENIED);
    // One of two is not good enough either.
    scene.wrapping_is_refused(&["provider:holdfast:images+nothing"], DENIED);
}

#[test]
fn a_misshapen_parameter() {
    let scene = scene(House::new());
    let _daemon = scene.start();
    scene.wrapping_is_refused(
        &["provider:holdfast:images;env=a", "provider:holdfast:images;env=b"],
        "malformed request: label env has two different values",
    );
}

#[test]
fn a_token_that_is_down() {
    let mut scene = scene(House::new());
    scene.house = scene.house.module("/nonexistent/module.so".into());
    let _daemon = scene.start();
    let line = "images: its token does not answer; holdfastd's log says why; try again";
    scene.unwrapping_is_refused(line);
    scene.wrapping_is_refused(&["provider:holdfast:images"], line);
}

#[test]
fn a_token_that_refuses_its_pin() {
    let mut scene = scene(House::new());
    let pin = holdfast_e2e::house::file(scene.house.dir.path(), "wrong.pin", "00000000\n");
    scene.house = scene.house.pin_file(pin);
    let _daemon = scene.start();
    let line = "images: its token refused the PIN, which is not tried again; give holdfastd the right one";
    scene.unwrapping_is_refused(line);
    scene.wrapping_is_refused(&["provider:holdfast:images"], line);
}

#[test]
fn a_key_that_is_gone() {
    let scene = scene(House::new());
    scene.house.hsm.destroy(&scene.house.token, "images").unwrap();
    let _daemon = scene.start();
    let line = "images: its key is not on its token; run holdfastd check --tokens";
    scene.unwrapping_is_refused(line);
    scene.wrapping_is_refused(&["provider:holdfast:images"], line);
}

#[test]
fn another_key_than_it_was_wrapped_to() {
    let scene = scene(House::new());
    scene.house.hsm.destroy(&scene.house.token, "images").unwrap();
    scene.house.hsm.generate(&scene.house.token, "images", &[9], KeyKind::Rsa2048).unwrap();
    let _daemon = scene.start();
    scene.unwrapping_is_refused(REJECTED);
}

#[test]
fn a_damaged_annotation() {
    let scene = scene(House::new());
    let _daemon = scene.start();
    let intact = image::packets(&scene.encrypted, "provider.holdfast").remove(0);
    let damaged = |member: &str| {
        let mut packet: serde_json::Value = serde_json::from_slice(&intact).unwrap();
        let text = packet[member].as_str().unwrap();
        let first = if text.starts_with('A') { "B" } else { "A" };
        packet[member] = format!("{first}{}", &text[1..]).into();
        packet.to_string().into_bytes()
    };
    let cut = intact.len() - 1;
    for (packet, line) in [
        (damaged("encrypted_key"), REJECTED.to_owned()),
        (damaged("ciphertext"), REJECTED.to_owned()),
        (damaged("tag"), REJECTED.to_owned()),
        (b"{}".to_vec(), "malformed request: the protected header has no enc".to_owned()),
        (
            intact[..cut].to_vec(),
            format!("malformed request: the packet ends too early (line 1, column {cut})"),
        ),
    ] {
        image::change_manifest(&scene.encrypted, |manifest| {
            for layer in manifest["layers"].as_array_mut().unwrap() {
                let name = "org.opencontainers.image.enc.keys.provider.holdfast";
                layer["annotations"][name] = STANDARD.encode(&packet).into();
            }
        });
        scene.unwrapping_is_refused(&line);
    }
}

#[test]
fn a_token_that_hangs() {
    let short = "timeout = \"1s\"";
    for of_the_token in [true, false] {
        let mut scene = scene(House::new());
        scene.house = if of_the_token {
            scene.house.token_options(short)
        } else {
            scene.house.token_options("timeout = \"60s\"").listen_options(short)
        };
        let _daemon = scene.start();
        must(scene.house.holdfast().args(["key", "list"]));
        let _stall = Stall::of(&scene.house.hsm);
        scene.unwrapping_is_refused("images: its token did not answer in time; try again");
    }
}

#[test]
fn a_token_that_has_all_it_can_take() {
    let house = House::new().token_options("workers = 1\nqueue = 1\ntimeout = \"60s\"");
    let scene = scene(house.listen_options("timeout = \"60s\""));
    let _daemon = scene.start();
    must(scene.house.holdfast().args(["key", "list"]));
    let stall = Stall::of(&scene.house.hsm);
    let mut waiting: Vec<Process> = Vec::new();
    for taken in 1..=2 {
        let opened: PathBuf = scene.house.dir.path().join(format!("opened-{taken}"));
        let command = scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]);
        let process = Process::spawn(command, "skopeo").unwrap();
        waiting.push(process.ready_when(PATIENCE, |_| scene.house.places_taken() == taken).unwrap());
    }
    scene.unwrapping_is_refused("images: its token has all it can take; try again");
    drop(stall);
    for mut process in waiting {
        assert!(process.wait(PATIENCE).unwrap().success(), "{}", process.stderr_text());
    }
    for taken in 1..=2 {
        assert!(scene.is_opened(&scene.house.dir.path().join(format!("opened-{taken}"))));
    }
}

#[test]
fn an_audit_log_that_cannot_be_written() {
    let mut scene = scene(House::new());
    scene.house = scene.house.audit_file("/dev/full".into());
    let _daemon = scene.start();
    let line =
        "the audit log cannot be written, so no key is used; make room for it or mend it, then try again";
    scene.unwrapping_is_refused(line);
    scene.wrapping_is_refused(&["provider:holdfast:images"], line);
}

#[test]
fn no_daemon() {
    let scene = scene(House::new());
    let never = scene.house.dir.path().join("never");
    let socket = scene.house.socket();
    let is_told = |said: &str| {
        assert!(said.contains("code = Unavailable") && said.contains(socket.to_str().unwrap()), "{said}");
        assert!(!said.contains("panic:"), "{said}");
    };
    is_told(&fails(scene.peers.unwrap(&scene.encrypted, &never, &["provider:holdfast"])));
    is_told(&fails(scene.peers.wrap(&scene.plain, &never, &["provider:holdfast:images"])));
    let decoded = decoder::decode(&scene.peers, &scene.encrypted, 0, &[]);
    assert!(!decoded.ran.success && decoded.plain.is_empty());
    is_told(&decoded.ran.err);
    assert!(!never.join("index.json").exists());
}

#[test]
fn a_daemon_that_is_killed_in_the_middle() {
    let house = House::new().token_options("timeout = \"60s\"").listen_options("timeout = \"60s\"");
    let scene = scene(house);
    let daemon = scene.start();
    must(scene.house.holdfast().args(["key", "list"]));
    let _stall = Stall::of(&scene.house.hsm);
    let opened = scene.house.dir.path().join("opened");
    let command = scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]);
    let process = Process::spawn(command, "skopeo").unwrap();
    let mut process = process.ready_when(PATIENCE, |_| scene.house.places_taken() == 1).unwrap();
    daemon.kill();
    assert!(!process.wait(PATIENCE).unwrap().success());
    let said = process.stderr_text();
    assert!(said.contains("code = Unavailable") && !said.contains("panic:"), "{said}");
    assert!(!opened.join("index.json").exists());
}
