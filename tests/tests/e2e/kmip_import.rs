//! Keys that exist outside, brought into a KMIP server by an operator.

use std::fs;
use std::path::Path;

use holdfast_e2e::house::House;
use holdfast_e2e::kmip::{configure, section, uri};
use holdfast_e2e::tpm::holdfastd;
use holdfast_e2e::{image, must, must_fail, rpc};
use hsm_sim::Pykmip;

use crate::tpm::{decrypt, encrypted_to};

fn vector(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys").join(name)
}

fn import(house: &House, name: &str, from: &Path) -> String {
    must(holdfastd(house, &["key", "import", &uri(name)]).arg("--from").arg(from))
}

#[test]
fn an_image_that_was_encrypted_before_opens_with_the_imported_key() {
    let server = Pykmip::with_rsa().unwrap();
    let house = section(House::new(), &server, "");
    let (plain, encrypted) = encrypted_to(&house, &vector("rsa2048.pub.pem"), "before");
    let said = import(&house, "old", &vector("rsa2048.pem"));
    for part in
        ["RSA-2048, imported, ", "Application Specific Information = holdfast: imported", "State = Active"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let house = configure(house, "old", "");
    let told = must(&mut house.check(&["--tokens"]));
    assert!(told.contains("old: RSA-2048, imported, "), "{told}");
    let daemon = house.start();
    let opened = house.dir.path().join("opened");
    must(&mut decrypt(&house, &encrypted, &opened));
    assert!(image::same_layers(&plain, &opened));
    assert!(daemon.log().contains("imported"), "{}", daemon.log());
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_aes_key_wraps_and_unwraps_and_is_the_files() {
    let server = Pykmip::start().unwrap();
    let house = section(House::new(), &server, "");
    let file = house.dir.path().join("aes.key");
    fs::write(&file, [0x5a; 32]).unwrap();
    let said = import(&house, "backup", &file);
    assert!(said.contains("AES-256, imported, ") && said.contains("kid = \""), "{said}");
    let house = configure(house, "backup", "kid = \"backup-kid\"");
    let daemon = house.start();
    let packet = rpc::wrap_key(&house.socket(), &["backup"], rpc::optsdata().raw().expose()).await.unwrap();
    assert_eq!(rpc::unwrap_key(&house.socket(), &packet).await.unwrap(), rpc::optsdata().raw().expose());
    let id = server.locate("backup").unwrap().pop().unwrap();
    assert_eq!(server.get(&id).unwrap(), [0x5a; 32]);
    assert!(daemon.stop().success());
}

#[test]
fn what_cannot_be_imported_says_why_and_leaves_nothing() {
    let server = Pykmip::start().unwrap();
    let house = section(House::new(), &server, "");
    let short = house.dir.path().join("short.key");
    fs::write(&short, [0x5a; 16]).unwrap();
    for (name, from, says) in [
        ("a", &short, "not the 32 bytes of an AES-256 key"),
        ("a", &vector("ec-P-256.pem"), "no ECDH"),
        ("a", &vector("rsa2048.pem"), "it was destroyed again"),
    ] {
        let said = must_fail(holdfastd(&house, &["key", "import", &uri(name)]).arg("--from").arg(from));
        assert!(said.lines().last().is_some_and(|line| line.contains(says)), "{from:?}: {said}");
    }
    assert_eq!(server.locate("a").unwrap(), [""; 0]);
}
