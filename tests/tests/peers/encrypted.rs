//! What `holdfast image encrypt` writes, opened by the programs that will: skopeo, ctr-imgcrypt and
//! ctd-decoder, with a private key in a file and through the daemon.

use std::path::{Path, PathBuf};

use holdfast_e2e::house::House;
use holdfast_e2e::peers::containerd::Containerd;
use holdfast_e2e::peers::{Peers, decoder, fails, succeeds};
use holdfast_e2e::{image, must};
use hsm_sim::KeyKind;

/// A test key of the project's vectors, where the peers have it too.
struct Key {
    private: String,
    to: String,
}

fn key(house: &House, name: &str) -> Key {
    let copy = |file: String| {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys").join(&file);
        let to = house.dir.path().join(file);
        std::fs::copy(from, &to).unwrap();
        to.to_str().unwrap().to_owned()
    };
    Key { private: copy(format!("{name}.pem")), to: format!("jwe:{}", copy(format!("{name}.pub.pem"))) }
}

/// Encrypts `from:v1` to a new layout in the scratch directory.
fn encrypt(house: &House, from: &Path, name: &str, to: &[&str], options: &[&str]) -> PathBuf {
    let sealed = house.dir.path().join(name);
    let mut command = house.holdfast();
    command.args(["image", "encrypt"]).arg(image::oci(from)).arg(image::oci(&sealed)).args(options);
    for one in to {
        command.args(["--to", one]);
    }
    must(&mut command);
    sealed
}

/// skopeo opens it with one key, to just what it was.
fn opens(peers: &Peers, plain: &Path, sealed: &Path, key: &str) {
    let opened = sealed.with_extension("opened");
    let _ = std::fs::remove_dir_all(&opened);
    succeeds(peers.unwrap(sealed, &opened, &[key]));
    assert!(image::same_layers(plain, &opened), "{key}");
    assert_eq!(image::manifest(plain)["config"], image::manifest(&opened)["config"]);
}

#[test]
fn skopeo_opens_it_with_each_type_of_key() {
    let house = House::new();
    let peers = Peers::of(&house);
    let plain = image::build(house.dir.path(), 2);
    for name in ["rsa2048", "rsa4096", "ec-P-256", "ec-P-384", "ec-P-521"] {
        let key = key(&house, name);
        opens(&peers, &plain, &encrypt(&house, &plain, name, &[&key.to], &[]), &key.private);
    }
    // A JWK that asks for OAEP with SHA-256.
    let private = key(&house, "rsa3072").private;
    let jwk = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys/rsa3072.pub.jwk");
    let to = format!("jwe:{}", jwk.display());
    opens(&peers, &plain, &encrypt(&house, &plain, "jwk", &[&to], &[]), &private);
}

#[test]
fn each_of_several_recipients_opens_it_alone_and_nobody_else() {
    let house = House::new().key("images", KeyKind::Rsa3072).key("spare", KeyKind::EcP256);
    let peers = Peers::of(&house);
    let plain = image::build(house.dir.path(), 3);
    let keys = ["rsa2048", "ec-P-256", "ec-P-521"].map(|name| key(&house, name));
    let [rsa, p256, p521] = &keys;
    let daemon = house.start();
    let to = [&rsa.to[..], "holdfast:images", &p256.to, "holdfast:spare", &p521.to];
    let sealed = encrypt(&house, &plain, "sealed", &to, &["--label", "env=prod"]);
    assert_eq!(house.audit().iter().filter(|record| record["outcome"] == "wrapped").count(), 3);
    opens(&peers, &plain, &sealed, "provider:holdfast");
    let released = house.audit();
    let released = released.iter().find(|record| record["outcome"] == "released").unwrap();
    assert_eq!(released["labels"]["env"], "prod", "{released}");
    let decoded = decoder::decode(&peers, &sealed, 1, &[]);
    assert!(decoded.ran.success, "{}", decoded.ran.err);
    let layer = &image::layers(&plain)[1];
    assert!(decoded.plain == std::fs::read(image::blob(&plain, layer)).unwrap());
    assert!(daemon.stop().success());

    for key in &keys {
        opens(&peers, &plain, &sealed, &key.private);
    }
    let stranger = key(&house, "ec-P-384");
    fails(peers.unwrap(&sealed, &house.dir.path().join("never"), &[&stranger.private]));
}

#[test]
fn gzip_zstd_and_plain_layers_chosen_or_all_come_back_as_they_were() {
    let house = House::new();
    let peers = Peers::of(&house);
    let gzip = image::build(house.dir.path(), 3);
    let copy = |from: &Path, name: &str| {
        let to = house.dir.path().join(name);
        must(std::process::Command::new("cp").arg("-r").arg(from).arg(&to));
        to
    };
    let plain = copy(&gzip, "mixed");
    image::uncompress(&plain, 1);
    let tars = copy(&plain, "tars");
    image::uncompress(&tars, 0);
    image::uncompress(&tars, 2);
    let zstd = house.dir.path().join("zstd");
    let mut skopeo = peers.skopeo();
    skopeo.args(["copy", "--dest-compress-format", "zstd"]).arg(image::oci(&tars)).arg(image::oci(&zstd));
    succeeds(skopeo);
    let types = |layout: &Path| {
        let manifest = image::manifest(layout);
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(types(&zstd).iter().all(|one| one.ends_with("tar+zstd")), "{:?}", types(&zstd));
    let key = key(&house, "ec-P-256");
    for (layout, name) in [(&gzip, "all-gzip"), (&zstd, "all-zstd"), (&plain, "all-mixed")] {
        let sealed = encrypt(&house, layout, name, &[&key.to], &[]);
        assert!(types(&sealed).iter().all(|one| one.ends_with("+encrypted")));
        opened_whole(&peers, layout, &sealed, &key.private);
    }
    let sealed = encrypt(&house, &plain, "some", &[&key.to], &["--layer", "0", "--layer", "-1"]);
    let encrypted: Vec<_> = types(&sealed).iter().map(|one| one.ends_with("+encrypted")).collect();
    assert_eq!(encrypted, [true, false, true]);
    opened_whole(&peers, &plain, &sealed, &key.private);
}

/// skopeo opens it without compressing what was not.
fn opened_whole(peers: &Peers, plain: &Path, sealed: &Path, key: &str) {
    let opened = sealed.with_extension("opened");
    let mut skopeo = peers.unwrap(sealed, &opened, &[key]);
    skopeo.arg("--dest-oci-accept-uncompressed-layers");
    succeeds(skopeo);
    assert!(image::same_layers(plain, &opened));
}

#[test]
fn ctr_imgcrypt_lists_and_opens_it() {
    let house = House::new().key("images", KeyKind::EcP256);
    let peers = Peers::of(&house);
    let plain = image::build(house.dir.path(), 3);
    let (rsa, p521) = (key(&house, "rsa2048"), key(&house, "ec-P-521"));
    let daemon = house.start();
    let sealed = encrypt(&house, &plain, "sealed", &[&rsa.to, &p521.to, "holdfast:images"], &[]);
    let containerd = Containerd::start(&peers);
    containerd.import(&sealed, "sealed");
    let listed = succeeds(containerd.ctr(&["images", "layerinfo", "sealed:v1"]));
    assert_eq!(listed.matches("jwe,provider.holdfast").count(), 3, "{listed}");
    let opens = |key: &str, name: &str| {
        let target = format!("{name}:v1");
        succeeds(containerd.ctr(&["images", "decrypt", "--key", key, "sealed:v1", &target]));
        assert!(image::same_layers(&plain, &containerd.export(name)), "{key}");
    };
    opens("provider:holdfast", "by-daemon");
    assert!(daemon.stop().success());
    opens(&rsa.private, "by-rsa");
    opens(&p521.private, "by-p521");
}
