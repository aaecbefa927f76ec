//! Images that skopeo encrypted to certificates and to keys of PKCS#11 tokens, opened by `holdfast image decrypt` with
//! the key where it belongs.

use std::path::{Path, PathBuf};

use holdfast_e2e::house::{House, me};
use holdfast_e2e::peers::{Peers, succeeds};
use holdfast_e2e::{image, must};
use hsm_sim::KeyKind;

/// A token with one key for each use.
struct Scene {
    house: House,
    peers: Peers,
    plain: PathBuf,
}

/// `certified` is for RSA1_5 alone, `oaep` for OAEP with both hashes.
fn scene() -> Scene {
    let mut house = House::new();
    for (id, name, options) in [
        (1, "certified", "algorithms = [\"RSA1_5\"]"),
        (2, "oaep", "algorithms = [\"RSA-OAEP\", \"RSA-OAEP-256\"]\noaep_sha256_in_daemon = true"),
    ] {
        house.hsm.generate(&house.token, name, &[id], KeyKind::Rsa3072).unwrap();
        house.configure(name, name, options);
    }
    house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"certified\", \"oaep\"]", me()));
    let peers = Peers::of(&house);
    let plain = image::build(house.dir.path(), 3);
    Scene { house, peers, plain }
}

impl Scene {
    /// skopeo encrypts with what PKCS#11 needs in its environment, and more.
    fn encrypt(&self, name: &str, keys: &[&str], environment: &[(&str, &str)]) -> PathBuf {
        let encrypted = self.house.dir.path().join(name);
        let mut skopeo = self.peers.wrap(&self.plain, &encrypted, keys);
        skopeo.env("OCICRYPT_CONFIG", "internal").envs(environment.iter().copied());
        succeeds(skopeo);
        encrypted
    }

    fn opens(&self, encrypted: &Path, scheme: &str) {
        let before = self.house.audit().len();
        let opened = encrypted.with_extension("opened");
        let mut decrypt = self.house.holdfast();
        decrypt.args(["image", "decrypt"]).arg(image::oci(encrypted)).arg(image::oci(&opened));
        must(&mut decrypt);
        assert!(image::same_layers(&self.plain, &opened), "{}", encrypted.display());
        for record in &self.house.audit()[before..] {
            assert_eq!(record["outcome"], "released", "{record}");
            assert_eq!(record["schemes"], serde_json::json!([scheme]), "{record}");
        }
    }

    fn to(&self, scheme: &str, name: &str) -> String {
        let key = self.house.public_key_file(name);
        let file = if scheme == "pkcs7" { image::certificate(&key) } else { key };
        format!("{scheme}:{}", file.display())
    }
}

#[test]
fn an_image_for_a_certificate_opens() {
    let scene = scene();
    let encrypted = scene.encrypt("encrypted", &[&scene.to("pkcs7", "certified")], &[]);
    let _daemon = scene.house.start();
    scene.opens(&encrypted, "pkcs7");
}

#[test]
fn an_image_for_a_key_in_a_pkcs11_token_opens_with_each_hash() {
    let scene = scene();
    let to = scene.to("pkcs11", "oaep");
    let default = scene.encrypt("default", &[&to], &[]);
    let sha1 = scene.encrypt("sha1", &[&to], &[("OCICRYPT_OAEP_HASHALG", "sha1")]);
    let said = must(scene.house.holdfast().args(["image", "inspect"]).arg(image::oci(&default)));
    assert!(said.contains("pkcs11 (RSA-OAEP-256)"), "{said}");
    let said = must(scene.house.holdfast().args(["image", "inspect"]).arg(image::oci(&sha1)));
    assert!(said.contains("pkcs11 (RSA-OAEP)"), "{said}");
    let _daemon = scene.house.start();
    scene.opens(&default, "pkcs11");
    scene.opens(&sha1, "pkcs11");
}

#[test]
fn of_an_image_in_several_schemes_the_one_opens_that_has_its_key_here() {
    let scene = scene();
    let elsewhere = image::certificate(&stranger(&scene));
    let strangers = format!("pkcs7:{}", elsewhere.display());
    let stranger = format!("jwe:{}", elsewhere.with_extension("pem").display());
    let (certified, oaep) = (scene.to("pkcs7", "certified"), scene.to("pkcs11", "oaep"));
    let by_pkcs7 = scene.encrypt("by-pkcs7", &[&stranger, &certified], &[]);
    let by_pkcs11 = scene.encrypt("by-pkcs11", &[&stranger, &strangers, &oaep], &[]);
    let by_jwe = scene.encrypt("by-jwe", &[&scene.to("jwe", "oaep"), &strangers], &[]);
    let _daemon = scene.house.start();
    scene.opens(&by_pkcs7, "pkcs7");
    scene.opens(&by_pkcs11, "pkcs11");
    scene.opens(&by_jwe, "jwe");
}

/// The public half of a key that is nowhere here.
fn stranger(scene: &Scene) -> PathBuf {
    let (private, public) =
        (scene.house.dir.path().join("private"), scene.house.dir.path().join("stranger.pem"));
    let openssl = || hsm_sim::command("openssl", "openssl").unwrap();
    must(openssl().args(["genrsa", "-out"]).arg(&private).arg("3072"));
    must(openssl().args(["rsa", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public));
    public
}
