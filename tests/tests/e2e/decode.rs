//! `holdfast decode` with the real daemon and a real token: this process is the parent that has the layer open.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_e2e::house::House;
use holdfast_e2e::peers::decoder;
use holdfast_e2e::{binary, image};
use hsm_sim::{KeyKind, Process};

const PATIENCE: std::time::Duration = holdfast_e2e::house::PATIENCE;

/// A layer of an encrypted image, and what it must become.
struct Layer {
    blob: PathBuf,
    payload: PathBuf,
    plain: Vec<u8>,
}

fn layers(house: &House) -> Vec<Layer> {
    let (plain, encrypted) = image::plain_and_encrypted(house, "images");
    let manifest = image::manifest(&encrypted);
    let descriptors = manifest["layers"].as_array().unwrap().iter().enumerate();
    let layer = |((number, layer), plain_digest): ((usize, &serde_json::Value), &String)| {
        let payload = house.dir.path().join(format!("payload-{number}"));
        std::fs::write(&payload, decoder::payload(layer)).unwrap();
        let blob = image::blob(&encrypted, layer["digest"].as_str().unwrap());
        Layer { blob, payload, plain: std::fs::read(image::blob(&plain, plain_digest)).unwrap() }
    };
    descriptors.zip(&image::layers(&plain)).map(layer).collect()
}

/// The layer through a pipe, by a shell that stays in between.
fn decoder(house: &House, layer: &Layer, payload: Option<&Path>, out: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = match payload {
        Some(_) => r#"blob=$1 payload=$2 out=$3; shift 3; cat "$blob" | "$@" 3<"$payload" >"$out""#,
        None => r#"blob=$1 out=$3; shift 3; cat "$blob" | "$@" 3<&- >"$out""#,
    };
    command.args(["-c", script, "sh"]).arg(&layer.blob).arg(&layer.payload).arg(out);
    command.arg(binary("holdfast")).args(["decode", "--verbose"]).env("HOLDFAST_SOCKET", house.socket());
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    command.env("STREAM_PROCESSOR_MEDIATYPE", media_type);
    command
}

#[test]
fn what_skopeo_encrypted_is_decoded_with_a_payload_and_without_one() {
    let house = House::new().key("images", KeyKind::Rsa2048);
    let layers = layers(&house);
    let _daemon = house.start();
    let out = house.dir.path().join("out");
    for layer in &layers {
        let _held = File::open(&layer.blob).unwrap();
        for payload in [Some(layer.payload.as_path()), None] {
            let run = decoder(&house, layer, payload, &out).output().unwrap();
            let said = String::from_utf8(run.stderr).unwrap();
            assert!(run.status.success(), "{said}");
            assert!(said.contains("note: opened with images (request "), "{said}");
            assert!(std::fs::read(&out).unwrap() == layer.plain);
        }
    }
    let records = house.audit();
    let named = |record: &&serde_json::Value| record["manifest"].as_str().is_some_and(|at| at.len() == 71);
    assert_eq!((records.len(), records.iter().filter(named).count()), (2 * layers.len(), layers.len()));
}

#[test]
fn a_daemon_that_is_started_meanwhile_opens_the_layer() {
    let house = House::new().key("images", KeyKind::EcP256);
    let layer = &layers(&house)[0];
    let out = house.dir.path().join("out");
    let mut waiting =
        Process::spawn(decoder(&house, layer, Some(&layer.payload), &out), "holdfast decode").unwrap();
    let _daemon = house.start();
    let status = waiting.wait(PATIENCE).unwrap();
    assert!(status.success(), "{}", waiting.stderr_text());
    assert!(std::fs::read(&out).unwrap() == layer.plain);
}

#[test]
fn a_key_that_the_caller_may_not_use_is_a_line_and_nothing_is_written() {
    let house = House::new().key("images", KeyKind::EcP256);
    let layer = &layers(&house)[0];
    let _daemon = house.start_command(house.with_rules(&format!(
        "[[allow]]\nuser = {}\nto = [\"wrap\"]\nkeys = [\"images\"]\n",
        holdfast_e2e::house::me()
    )));
    let out = house.dir.path().join("out");
    let run = decoder(&house, layer, Some(&layer.payload), &out).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!((run.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("holdfast: ") && said.contains("(request "), "{said}");
    assert_eq!(std::fs::read(&out).unwrap().len(), 0);
}
