//! `holdfast image inspect` of images that skopeo encrypted: which keys of a real token open them.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_e2e::house::{House, me};
use holdfast_e2e::peers::{Peers, succeeds};
use holdfast_e2e::{image, must};
use hsm_sim::KeyKind;
use serde_json::Value;

struct Scene {
    house: House,
    peers: Peers,
    plain: PathBuf,
}

impl Scene {
    /// `certified` is for RSA1_5 alone.
    fn new() -> Scene {
        let mut house = House::new().key("images", KeyKind::EcP256);
        house.hsm.generate(&house.token, "certified", &[9], KeyKind::Rsa3072).unwrap();
        house.configure("certified", "certified", "algorithms = [\"RSA1_5\"]");
        house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"certified\"]", me()));
        let peers = Peers::of(&house);
        let plain = image::build(house.dir.path(), 1);
        Scene { house, peers, plain }
    }

    fn sealed(&self, name: &str, to: &str) -> PathBuf {
        let sealed = self.house.dir.path().join(name);
        succeeds(self.peers.wrap(&self.plain, &sealed, &[to]));
        sealed
    }

    fn inspect(&self, sealed: &Path, options: &[&str]) -> Command {
        let mut command = self.house.holdfast();
        command.args(["image", "inspect"]).arg(image::oci(sealed)).args(options);
        command
    }

    fn layer(&self, sealed: &Path, options: &[&str]) -> Value {
        let json = must(self.inspect(sealed, options).arg("--json"));
        let json: Value = serde_json::from_str(&json).unwrap();
        json["manifests"][0]["layers"][0].clone()
    }
}

fn aliases(layer: &Value) -> Vec<&str> {
    layer["ourKeys"].as_array().unwrap().iter().map(|key| key["alias"].as_str().unwrap()).collect()
}

#[test]
fn a_key_that_opens_it_is_shown_and_one_that_is_gone_with_what_is_wrong() {
    let mut scene = Scene::new();
    let daemon = scene.house.start();
    let ours = scene.sealed("ours", "provider:holdfast:images");
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys");
    let public = scene.house.dir.path().join("theirs.pem");
    std::fs::copy(vectors.join("rsa4096.pub.pem"), &public).unwrap();
    let theirs = scene.sealed("theirs", &format!("jwe:{}", public.display()));
    let before = scene.house.audit().len();
    let layer = scene.layer(&ours, &[]);
    assert_eq!((aliases(&layer), &layer["ourKeys"][0]["trouble"]), (vec!["images"], &Value::Null));
    assert_eq!(scene.house.audit().len(), before);
    // Whom skopeo gave no name may be anyone until he is tried.
    assert_eq!(scene.layer(&theirs, &[])["withoutKeyId"], 1);
    let said = must(&mut scene.inspect(&theirs, &[]));
    assert!(said.contains("not known"), "{said}");
    assert!(aliases(&scene.layer(&theirs, &["--ask"])).is_empty());

    // Its token away, a key that was never seen has no id: it may be this one.
    assert!(daemon.stop().success());
    scene.house = scene.house.module("/nonexistent/module.so".into());
    let daemon = scene.house.start();
    let said = must(&mut scene.inspect(&ours, &[]));
    assert!(said.contains("not known"), "{said}");
    drop(daemon);

    // And with no daemon at all.
    let layer = scene.layer(&ours, &[]);
    assert_eq!((&layer["encrypted"], &layer["ourKeys"]), (&true.into(), &Value::Null));
}

#[test]
fn a_packet_without_a_key_id_is_tried_when_that_is_asked_for() {
    let scene = Scene::new();
    let certificate = image::certificate(&scene.house.public_key_file("certified"));
    let sealed = scene.sealed("sealed", &format!("pkcs7:{}", certificate.display()));
    let _daemon = scene.house.start();
    let layer = scene.layer(&sealed, &[]);
    assert_eq!((aliases(&layer), &layer["withoutKeyId"]), (vec![], &1.into()));
    assert_eq!(scene.house.audit().len(), 0);

    let layer = scene.layer(&sealed, &["--ask"]);
    assert_eq!((aliases(&layer), &layer["withoutKeyId"]), (vec!["certified"], &0.into()));
    let records = scene.house.audit();
    assert_eq!((records.len(), &records[0]["outcome"]), (1, &"released".into()));
}
