//! Whole images: encrypted by skopeo, opened by `holdfast image decrypt` through the daemon.

use std::path::Path;
use std::process::Command;

use holdfast_e2e::house::{House, me};
use holdfast_e2e::{eventually, image, must, must_fail};
use hsm_sim::KeyKind;

fn decrypt(house: &House, from: &Path, to: &Path) -> Command {
    let mut command = house.holdfast();
    command.args(["image", "decrypt"]).arg(image::oci(from)).arg(image::oci(to));
    command
}

#[test]
fn a_decrypted_image_has_the_layers_it_had() {
    let house = House::new().key("images", KeyKind::Rsa2048);
    let (plain, encrypted) = image::plain_and_encrypted(&house, "images");
    let _daemon = house.start();
    let opened = house.dir.path().join("opened");
    must(&mut decrypt(&house, &encrypted, &opened));
    assert!(image::same_layers(&plain, &opened));
    assert_eq!(image::manifest(&plain)["config"]["digest"], image::manifest(&opened)["config"]["digest"]);
    // skopeo reads it as an image like any other.
    let copy = house.dir.path().join("copy");
    must(image::skopeo().arg("copy").arg(image::oci(&opened)).arg(image::oci(&copy)));
    assert!(image::same_layers(&plain, &copy));
}

#[test]
fn without_the_key_skopeo_cannot_read_it() {
    let house = House::new().key("images", KeyKind::Rsa2048);
    let (_, encrypted) = image::plain_and_encrypted(&house, "images");
    let other = house.dir.path().join("other.pem");
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    must(openssl.args(["genpkey", "-algorithm", "RSA", "-out"]).arg(&other));
    let stolen = house.dir.path().join("stolen");
    let mut skopeo = image::skopeo();
    skopeo
        .args(["copy", "--decryption-key"])
        .arg(&other)
        .arg(image::oci(&encrypted))
        .arg(image::oci(&stolen));
    let said = must_fail(&mut skopeo);
    assert!(said.contains("no suitable key"), "{said}");
}

#[tokio::test]
async fn a_caller_without_a_rule_is_refused_and_nothing_is_left() {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::Rsa2048).unwrap();
    house.configure("images", "images", "");
    house.allow(&format!("user = {}\nto = [\"unwrap\"]\nkeys = [\"images\"]", me() + 1));
    let (_, encrypted) = image::plain_and_encrypted(&house, "images");
    let _daemon = house.start();
    let opened = house.dir.path().join("opened");
    let said = must_fail(&mut decrypt(&house, &encrypted, &opened));
    assert!(said.contains("no rule allows this caller"), "{said}");
    assert!(said.contains("(request "), "{said}");
    assert!(!opened.exists());
    // Nobody waits for the record of a refusal.
    eventually("a record", async || !house.audit().is_empty()).await;
    let records = house.audit();
    assert!(records.iter().all(|record| record["outcome"] == "denied"), "{records:?}");
}

#[test]
fn a_damaged_layer_is_told_and_nothing_is_left() {
    let house = House::new().key("images", KeyKind::EcP256);
    let (_, encrypted) = image::plain_and_encrypted(&house, "images");
    let digest = image::layers(&encrypted).remove(1);
    let blob = image::blob(&encrypted, &digest);
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let _daemon = house.start();
    let opened = house.dir.path().join("opened");
    let said = must_fail(&mut decrypt(&house, &encrypted, &opened));
    assert!(said.contains(&digest[..19]), "{said}");
    assert!(!opened.exists());
}

#[test]
fn an_image_for_another_key_is_told_as_such() {
    let mut house = House::new().key("images", KeyKind::Rsa2048);
    let (_, encrypted) = image::plain_and_encrypted(&house, "images");
    house.hsm.destroy(&house.token, "images").unwrap();
    house.hsm.generate(&house.token, "images", &[9], KeyKind::Rsa2048).unwrap();
    house.allow("user = 4000000\nto = [\"wrap\"]\nkeys = [\"images\"]");
    let _daemon = house.start();
    let said = must_fail(&mut decrypt(&house, &encrypted, &house.dir.path().join("opened")));
    assert!(said.contains("it was wrapped to another key or is damaged"), "{said}");
}
