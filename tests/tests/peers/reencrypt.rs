//! New keys for the layers of an image in a registry, opened by skopeo.

use std::collections::BTreeSet;

use holdfast_e2e::peers::{PATIENCE, fails, succeeds};
use holdfast_e2e::stall::Stall;
use holdfast_e2e::{image, must, must_fail};
use hsm_sim::Process;

use super::rewrap::Scene;

const ANEW: [&str; 3] = ["--reencrypt", "--to", "holdfast:new"];

impl Scene {
    fn layers(&self, tag: &str) -> BTreeSet<String> {
        let json = self.inspected(tag);
        let layers = json["manifests"][0]["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn an_image_gets_new_layer_keys_and_the_old_key_opens_it_no_longer() {
    let mut scene = Scene::new();
    let daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old;env=prod"]);
    let before = scene.layers("v1");
    let said = must(&mut scene.image("rewrap", &scene.name("v1"), &ANEW));
    assert!(said.ends_with(": 2 of 2 layers encrypted anew, with new keys\n"), "{said}");
    assert!(scene.layers("v1").is_disjoint(&before));
    let shown = must(&mut scene.image("inspect", &scene.name("v1"), &[]));
    assert!(shown.contains("env=prod") && !shown.contains("RSA-OAEP"), "{shown}");
    scene.publish("v0", &["provider:holdfast:old"]);
    let daemon = scene.without_old(daemon);
    scene.opens("v1");
    fails(scene.pull("v0", &scene.house.dir.path().join("never")));
    drop(daemon);
}

#[test]
fn another_target_gets_it_and_the_image_stays() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    let before = scene.digest("v1");
    let layout = scene.house.dir.path().join("anew");
    must(scene.image("rewrap", &scene.name("v1"), &[&image::oci(&layout)]).args(ANEW));
    let opened = scene.house.dir.path().join("opened");
    succeeds(scene.peers.unwrap(&layout, &opened, &["provider:holdfast"]));
    assert!(image::same_layers(&scene.plain, &opened));
    // And in the layout itself.
    let layers = image::layers(&layout);
    must(&mut scene.image("rewrap", &image::oci(&layout), &ANEW));
    assert_ne!(image::layers(&layout), layers);
    let _ = std::fs::remove_dir_all(&opened);
    succeeds(scene.peers.unwrap(&layout, &opened, &["provider:holdfast"]));
    assert!(image::same_layers(&scene.plain, &opened));
    assert_eq!(scene.digest("v1"), before);
}

#[test]
fn a_dry_run_reads_all_of_it_and_writes_nothing() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    let before = scene.digest("v1");
    let said = must(scene.image("rewrap", &scene.name("v1"), &ANEW).arg("--dry-run"));
    assert!(said.ends_with(": 2 of 2 layers would be encrypted anew\n"), "{said}");
    assert_eq!(scene.digest("v1"), before);
}

#[test]
fn who_is_known_by_a_key_id_alone_cannot_be_given_a_new_key() {
    let scene = Scene::new();
    for change in ["--add", "--remove"] {
        let options = ["--reencrypt", change, "holdfast:new"];
        let said = must_fail(&mut scene.image("rewrap", &scene.repository(), &options));
        assert!(said.contains("name all who shall open it with --to"), "{said}");
    }
}

#[test]
fn a_kill_leaves_the_tag_and_another_run_finishes() {
    let scene = Scene::new();
    let daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    let before = scene.digest("v1");
    let stall = Stall::of(&scene.house.hsm);
    let mut rewrap = scene.image("rewrap", &scene.name("v1"), &ANEW);
    rewrap.args(["--timeout", "60s"]);
    let rewrap = Process::spawn(rewrap, "holdfast").unwrap();
    let rewrap = rewrap.ready_when(PATIENCE, |_| scene.house.places_taken() > 0).unwrap();
    // Killed at once.
    drop(rewrap);
    drop(stall);
    assert_eq!(scene.digest("v1"), before);
    must(&mut scene.image("rewrap", &scene.name("v1"), &ANEW));
    assert_ne!(scene.digest("v1"), before);
    scene.opens("v1");
    drop(daemon);
}

#[test]
fn a_tag_that_is_moved_meanwhile_is_left() {
    let scene = Scene::new();
    let daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    scene.publish("other", &["provider:holdfast:old"]);
    let stall = Stall::of(&scene.house.hsm);
    let mut rewrap = scene.image("rewrap", &scene.name("v1"), &ANEW);
    rewrap.args(["--timeout", "60s"]);
    let rewrap = Process::spawn(rewrap, "holdfast").unwrap();
    let mut rewrap = rewrap.ready_when(PATIENCE, |_| scene.house.places_taken() > 0).unwrap();
    scene.copy(&scene.name("other"), &scene.name("v1"));
    drop(stall);
    assert!(!rewrap.wait(PATIENCE).unwrap().success());
    let said = rewrap.stderr_text();
    assert!(said.contains("the tag v1 leads to another manifest by now"), "{said}");
    assert_eq!(scene.digest("v1"), scene.digest("other"));
    drop(daemon);
}

#[test]
fn a_daemon_that_ends_half_way_leaves_what_is_told_and_another_run_finishes() {
    let scene = Scene::new();
    let daemon = scene.house.start();
    for tag in ["v1", "v2", "v3"] {
        scene.publish(tag, &["provider:holdfast:old"]);
    }
    must(&mut scene.image("rewrap", &scene.name("v1"), &["--to", "holdfast:new"]));
    let before = [scene.digest("v1"), scene.digest("v2"), scene.digest("v3")];
    // With the first tag done it hangs in the others, and there the daemon ends.
    let stall = Stall::of(&scene.house.hsm);
    let options = ["--timeout", "60s", "--all-tags", "--to", "holdfast:new"];
    let rewrap = Process::spawn(scene.image("rewrap", &scene.repository(), &options), "holdfast").unwrap();
    let mut rewrap = rewrap.ready_when(PATIENCE, |_| scene.house.places_taken() >= 1).unwrap();
    daemon.kill();
    drop(stall);
    assert!(!rewrap.wait(PATIENCE).unwrap().success());
    let said = rewrap.stderr_text();
    assert!(said.contains("app:v2: layer 1 of 2") && said.contains("app:v3: layer 1 of 2"), "{said}");
    assert!(!said.contains("app:v1: "), "{said}");
    assert!(said.contains("2 of 3 images are as they were; run again"), "{said}");
    assert_eq!([scene.digest("v1"), scene.digest("v2"), scene.digest("v3")], before);

    let _daemon = scene.house.start();
    let said = must(&mut scene.image("rewrap", &scene.repository(), &options));
    assert_eq!(said.matches("has these recipients already").count(), 1, "{said}");
    assert_eq!(said.matches("2 of 2 layers re-wrapped").count(), 2, "{said}");
    scene.opens("v3");
}

#[test]
fn tags_of_one_image_stay_so_and_what_is_not_encrypted_stays_as_it_is() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    scene.copy(&scene.name("v1"), &scene.name("latest"));
    scene.copy(&image::oci(&scene.plain), &scene.name("plain"));
    let plain = scene.digest("plain");
    let said = must(scene.image("rewrap", &scene.repository(), &ANEW).arg("--all-tags"));
    assert_eq!(said.matches("2 of 2 layers encrypted anew").count(), 2, "{said}");
    assert!(said.contains("app:plain has no encrypted layer\n"), "{said}");
    assert_eq!((scene.digest("v1"), scene.digest("plain")), (scene.digest("latest"), plain));
    scene.opens("latest");
}
