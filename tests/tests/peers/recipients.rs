//! What `holdfast image encrypt` writes for certificates, OpenPGP keys and keys of PKCS#11 tokens, opened by skopeo with
//! the private keys in files or in a token, by gpg, and by our own daemon with all of them in a token.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_e2e::gpg::{EMAIL, Gpg};
use holdfast_e2e::house::{House, file, me};
use holdfast_e2e::peers::containerd::Containerd;
use holdfast_e2e::peers::{Peers, fails, succeeds};
use holdfast_e2e::{image, must, must_fail};
use hsm_sim::KeyKind;

/// A house whose token has the private halves of a certificate, of an OpenPGP certificate and of a `pkcs11:` key, and a
/// key of the daemon's own.
struct Scene {
    house: House,
    peers: Peers,
    gpg: Gpg,
    plain: PathBuf,
    /// In a file: what the certificate is of.
    private: PathBuf,
    certificate: PathBuf,
}

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys").join(name)
}

fn scene() -> Scene {
    let mut house = House::new();
    let gpg = Gpg::new(house.dir.path());
    gpg.make(EMAIL, "rsa3072");
    let private = file(house.dir.path(), "partner.pem", std::fs::read(vector("rsa3072.pem")).unwrap());
    let public = file(house.dir.path(), "partner.pub.pem", std::fs::read(vector("rsa3072.pub.pem")).unwrap());
    let certificate = image::certificate(&public);
    house.hsm.import(&house.token, "partner", &[1], &private, false).unwrap();
    house.hsm.import(&house.token, "friend", &[2], &gpg.private_key(EMAIL), false).unwrap();
    house.hsm.generate(&house.token, "elsewhere", &[3], KeyKind::Rsa2048).unwrap();
    house.hsm.generate(&house.token, "images", &[4], KeyKind::EcP256).unwrap();
    house.configure("partner", "partner", "algorithms = [\"RSA1_5\"]");
    house.configure("friend", "friend", "algorithms = [\"RSA1_5\"]");
    house.configure("elsewhere", "elsewhere", "");
    house.configure("images", "images", "");
    house.allow(&format!(
        "user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"partner\", \"friend\", \"elsewhere\", \"images\"]",
        me()
    ));
    let peers = Peers::of(&house);
    let plain = image::build(house.dir.path(), 2);
    Scene { house, peers, gpg, plain, private, certificate }
}

impl Scene {
    fn pkcs7(&self) -> String {
        format!("pkcs7:{}", self.certificate.display())
    }

    fn pkcs11(&self) -> String {
        format!("pkcs11:{}", self.house.public_key_file("elsewhere").display())
    }

    fn encrypt(&self, name: &str, to: &[&str]) -> PathBuf {
        let sealed = self.house.dir.path().join(name);
        let mut command = self.house.holdfast();
        command.env("GNUPGHOME", self.gpg.home());
        command.args(["image", "encrypt"]).arg(image::oci(&self.plain)).arg(image::oci(&sealed));
        for one in to {
            command.args(["--to", one]);
        }
        must(&mut command);
        sealed
    }

    fn rewrap(&self, sealed: &Path, options: &[&str]) -> String {
        let mut command = self.house.holdfast();
        command.env("GNUPGHOME", self.gpg.home());
        must(command.args(["image", "rewrap"]).arg(image::oci(sealed)).args(options))
    }

    fn skopeo_opens(&self, sealed: &Path, keys: &[&str]) {
        let opened = sealed.with_extension("by-skopeo");
        let mut skopeo = self.peers.unwrap(sealed, &opened, keys);
        skopeo.env("GNUPGHOME", self.gpg.home()).env("OCICRYPT_CONFIG", "internal");
        succeeds(skopeo);
        assert!(image::same_layers(&self.plain, &opened), "{keys:?}");
        std::fs::remove_dir_all(opened).unwrap();
    }

    /// Through the daemon, by a packet of this scheme.
    fn we_open(&self, sealed: &Path, scheme: &str) {
        let before = self.house.audit().len();
        let opened = sealed.with_extension("by-us");
        let mut decrypt = self.house.holdfast();
        must(decrypt.args(["image", "decrypt"]).arg(image::oci(sealed)).arg(image::oci(&opened)));
        assert!(image::same_layers(&self.plain, &opened), "{scheme}");
        std::fs::remove_dir_all(opened).unwrap();
        for record in &self.house.audit()[before..] {
            assert_eq!(record["outcome"], "released", "{record}");
            assert_eq!(record["schemes"], serde_json::json!([scheme]), "{record}");
        }
    }
}

#[test]
fn an_image_to_a_certificate_opens_with_its_key_in_a_file_and_in_a_token() {
    let scene = scene();
    let sealed = scene.encrypt("sealed", &[&scene.pkcs7()]);
    // ocicrypt finds the recipient by the certificate.
    let key = format!("{}", scene.private.display());
    let certificate = format!("{}", scene.certificate.display());
    scene.skopeo_opens(&sealed, &[&key, &certificate]);
    let _daemon = scene.house.start();
    scene.we_open(&sealed, "pkcs7");
}

#[test]
fn an_image_to_an_openpgp_key_opens_with_gpgs_keyring_and_in_a_token() {
    let scene = scene();
    let by_name = scene.encrypt("by-name", &[&format!("pgp:{EMAIL}")]);
    let by_file = scene.encrypt("by-file", &[&format!("pgp:{}", scene.gpg.certificate(EMAIL).display())]);
    let exported = scene.gpg.command().args(["--export-secret-keys", EMAIL]).output().unwrap().stdout;
    let private = file(scene.house.dir.path(), "private.gpg", exported);
    let _daemon = scene.house.start();
    for sealed in [by_name, by_file] {
        scene.skopeo_opens(&sealed, &[&private.display().to_string()]);
        scene.we_open(&sealed, "pgp");
        let message = file(scene.house.dir.path(), "message.pgp", &image::packets(&sealed, "pgp")[0]);
        let said = must(scene.gpg.command().arg("--decrypt").arg(message));
        assert!(said.contains("symkey"), "gpg opened something else");
    }
}

/// As skopeo of Debian 13 cannot, there is only gpg to ask.
#[test]
fn gpg_opens_what_is_encrypted_to_each_curve() {
    let scene = scene();
    let generate = ["--quick-generate-key", "curve25519@test.invalid", "future-default", "default", "never"];
    must(scene.gpg.command().args(generate));
    for kind in ["nistp256", "nistp384", "nistp521"] {
        scene.gpg.make(&format!("{kind}@test.invalid"), kind);
    }
    for kind in ["curve25519", "nistp256", "nistp384", "nistp521"] {
        let sealed = scene.encrypt(kind, &[&format!("pgp:{kind}@test.invalid")]);
        let message = file(scene.house.dir.path(), "message.pgp", &image::packets(&sealed, "pgp")[0]);
        let said = must(scene.gpg.command().arg("--decrypt").arg(message));
        assert!(said.contains("symkey"), "{kind}");
    }
}

#[test]
fn an_image_to_a_key_of_a_pkcs11_token_opens_there_by_skopeo_and_by_us() {
    let scene = scene();
    let sealed = scene.encrypt("sealed", &[&scene.pkcs11()]);
    let (key, config) = for_skopeo(&scene.house, "elsewhere");
    let opened = sealed.with_extension("by-skopeo");
    let mut skopeo = scene.peers.unwrap(&sealed, &opened, &[&key.display().to_string()]);
    skopeo.env("OCICRYPT_CONFIG", config);
    succeeds(skopeo);
    assert!(image::same_layers(&scene.plain, &opened));
    let _daemon = scene.house.start();
    scene.we_open(&sealed, "pkcs11");
}

/// ocicrypt's key file of a token's key, and its configuration. Module and token stand in the scratch directory too, which
/// is all that skopeo's root has in common with this machine.
fn for_skopeo(house: &House, label: &str) -> (PathBuf, PathBuf) {
    let dir = house.dir.path().join("for-skopeo");
    must(Command::new("cp").arg("-r").arg(house.hsm.dir()).arg(&dir));
    must(Command::new("cp").arg("-L").arg(house.hsm.module()).arg(dir.join("libsofthsm2.so")));
    let conf = dir.join("softhsm2.conf");
    let moved = std::fs::read_to_string(&conf).unwrap();
    let moved = moved.replace(house.hsm.dir().to_str().unwrap(), dir.to_str().unwrap());
    std::fs::write(&conf, moved).unwrap();
    let (token, pin, dir_shown) = (house.token.label(), house.token.pin(), dir.display());
    let uri =
        format!("pkcs11:token={token};object={label}?pin-value={pin}&module-path={dir_shown}/libsofthsm2.so");
    let env = format!("module:\n  env:\n    SOFTHSM2_CONF: {}\n", conf.display());
    let key = file(&dir, "key.yaml", format!("pkcs11:\n  uri: \"{uri}\"\n{env}"));
    let places =
        format!("module-directories:\n  - {dir_shown}/\n  allowed-module-paths:\n  - {dir_shown}/\n");
    (key, file(&dir, "ocicrypt.conf", format!("pkcs11:\n  {places}")))
}

#[test]
fn each_of_recipients_in_every_scheme_opens_the_image() {
    let scene = scene();
    let daemon = scene.house.start();
    let p256 = vector("ec-P-256.pub.pem");
    let jwe = format!("jwe:{}", p256.display());
    let pgp = format!("pgp:{EMAIL}");
    let to = [&jwe[..], &scene.pkcs7(), &pgp, &scene.pkcs11(), "holdfast:images"];
    let sealed = scene.encrypt("sealed", &to);
    for scheme in ["jwe", "pkcs7", "pgp", "pkcs11", "provider.holdfast"] {
        assert_eq!(image::packets(&sealed, scheme).len(), 2, "{scheme}");
    }
    assert!(daemon.stop().success());
    let key = file(scene.house.dir.path(), "jwe.pem", std::fs::read(vector("ec-P-256.pem")).unwrap());
    scene.skopeo_opens(&sealed, &[&key.display().to_string()]);
    let (key, certificate) = (scene.private.display().to_string(), scene.certificate.display().to_string());
    scene.skopeo_opens(&sealed, &[&key, &certificate]);
    let stranger = file(scene.house.dir.path(), "no.pem", std::fs::read(vector("rsa2048.pem")).unwrap());
    let mut skopeo = scene.peers.unwrap(
        &sealed,
        &scene.house.dir.path().join("never"),
        &[&stranger.display().to_string(), &certificate],
    );
    skopeo.env("OCICRYPT_CONFIG", "internal");
    fails(skopeo);
}

#[test]
fn ctr_imgcrypt_opens_it_as_each_recipient() {
    let scene = scene();
    let pgp = format!("pgp:{EMAIL}");
    let sealed = scene.encrypt("sealed", &[&scene.pkcs7(), &pgp, &scene.pkcs11()]);
    let containerd = Containerd::start(&scene.peers);
    containerd.import(&sealed, "sealed");
    let listed = succeeds(containerd.ctr(&["images", "layerinfo", "sealed:v1"]));
    assert_eq!(listed.matches("pgp,pkcs11,pkcs7").count(), 2, "{listed}");
    let (token_key, config) = for_skopeo(&scene.house, "elsewhere");
    let exported = scene.gpg.command().args(["--export-secret-keys", EMAIL]).output().unwrap().stdout;
    let openpgp = file(scene.house.dir.path(), "private.gpg", exported);
    let certificate = format!("pkcs7:{}", scene.certificate.display());
    for (name, key, more) in [
        ("by-certificate", &scene.private, &["--dec-recipient", &certificate][..]),
        ("by-openpgp", &openpgp, &[]),
        ("by-token", &token_key, &[]),
    ] {
        let (key, target) = (key.display().to_string(), format!("{name}:v1"));
        let mut ctr = containerd.ctr(&["images", "decrypt", "--key", &key]);
        ctr.args(more).args(["sealed:v1", &target]).env("OCICRYPT_CONFIG", &config);
        succeeds(ctr);
        assert!(image::same_layers(&scene.plain, &containerd.export(name)), "{name}");
    }
}

#[test]
fn recipients_of_every_scheme_are_added_once_and_taken_out() {
    let scene = scene();
    let _daemon = scene.house.start();
    let sealed = scene.encrypt("sealed", &["holdfast:images"]);
    let (pkcs7, pgp, pkcs11) = (scene.pkcs7(), format!("pgp:{EMAIL}"), scene.pkcs11());
    let add = ["--add", &pkcs7, "--add", &pgp, "--add", &pkcs11];
    assert!(scene.rewrap(&sealed, &add).contains("2 of 2 layers re-wrapped"));
    let again = scene.rewrap(&sealed, &add);
    assert!(again.ends_with("has these recipients already\n"), "{again}");
    for scheme in ["pkcs7", "pgp", "pkcs11"] {
        assert_eq!(image::packets(&sealed, scheme).len(), 2, "{scheme}");
    }
    scene.skopeo_opens(
        &sealed,
        &[&scene.private.display().to_string(), &scene.certificate.display().to_string()],
    );
    let remove = ["--remove", &pkcs7, "--remove", &pgp, "--remove", &pkcs11];
    assert!(scene.rewrap(&sealed, &remove).contains("2 of 2 layers re-wrapped"));
    scene.we_open(&sealed, "provider");
    scene.rewrap(&sealed, &["--to", &pkcs7]);
    let again = scene.rewrap(&sealed, &["--to", &pkcs7]);
    assert!(again.ends_with("has these recipients already\n"), "{again}");
    scene.we_open(&sealed, "pkcs7");
}

/// The daemon's rules could ask for a label that the other packet does not have.
#[test]
fn nobody_without_labels_is_added_to_an_image_with_labels() {
    let scene = scene();
    let _daemon = scene.house.start();
    let sealed = scene.house.dir.path().join("labelled");
    let mut encrypt = scene.house.holdfast();
    encrypt.args(["image", "encrypt"]).arg(image::oci(&scene.plain)).arg(image::oci(&sealed));
    must(encrypt.args(["--to", "holdfast:images", "--label", "env=prod"]));
    let before = image::manifest(&sealed);
    let mut rewrap = scene.house.holdfast();
    rewrap.args(["image", "rewrap"]).arg(image::oci(&sealed)).args(["--add", &scene.pkcs7()]);
    let said = must_fail(&mut rewrap);
    assert!(said.contains("a pkcs7 packet has no place for labels"), "{said}");
    assert_eq!(image::manifest(&sealed), before);
}

/// Each as gpg makes it, and gpg itself does not encrypt to it.
#[test]
fn an_openpgp_key_that_has_expired_or_is_revoked_is_refused_and_taken_out() {
    let scene = scene();
    let gpg = |args: &[&str]| must(scene.gpg.command().args(args));
    let fingerprint = |email: &str| {
        let listed = gpg(&["--with-colons", "--list-keys", &format!("<{email}>")]);
        listed
            .lines()
            .find_map(|line| line.strip_prefix("fpr:::::::::"))
            .unwrap()
            .trim_end_matches(':')
            .to_owned()
    };
    let past = |email: &str, args: &[&str]| {
        let mut gpg = scene.gpg.command();
        must(gpg.args(["--faked-system-time", "20200101T000000!"]).args(args));
        fingerprint(email)
    };
    past(
        "all-over@test.invalid",
        &["--quick-generate-key", "all-over@test.invalid", "nistp256", "sign", "1m"],
    );
    let over = past(
        "over@test.invalid",
        &["--quick-generate-key", "over@test.invalid", "nistp256", "sign", "never"],
    );
    past("over@test.invalid", &["--quick-add-key", &over, "nistp256", "encrypt", "1m"]);
    gpg(&["--quick-generate-key", "only-signs@test.invalid", "nistp256", "sign", "never"]);
    scene.gpg.make("revoked@test.invalid", "nistp256");
    let revoked = fingerprint("revoked@test.invalid");
    let _daemon = scene.house.start();
    let to = "pgp:<revoked@test.invalid>";
    let sealed = scene.encrypt("sealed", &["holdfast:images", to]);
    let file_of = scene.gpg.home().join(format!("openpgp-revocs.d/{revoked}.rev"));
    // A colon keeps it from being used by accident.
    let armed = std::fs::read_to_string(&file_of).unwrap().replace(":-----BEGIN", "-----BEGIN");
    gpg(&["--import", file(scene.house.dir.path(), "revocation.asc", armed).to_str().unwrap()]);
    for (email, says) in [
        ("all-over@test.invalid", "all-over@test.invalid: it has expired"),
        ("over@test.invalid", "it has no key that can be encrypted to: a subkey has expired"),
        ("only-signs@test.invalid", "it has no key that can be encrypted to: it has no subkey"),
        ("revoked@test.invalid", "revoked@test.invalid: it is revoked"),
    ] {
        let mut encrypt = scene.house.holdfast();
        encrypt.env("GNUPGHOME", scene.gpg.home()).args(["image", "encrypt"]).arg(image::oci(&scene.plain));
        // The address alone, and not what ends with it.
        let to = format!("pgp:<{email}>");
        let never = image::oci(&scene.house.dir.path().join("never"));
        let said = must_fail(encrypt.arg(never).args(["--to", &to]));
        assert!(said.replace(['<', '>'], "").contains(says), "{email}: {said}");
        let mut gpg = scene.gpg.command();
        must_fail(gpg.args(["--recipient", &format!("<{email}>"), "--encrypt", "/dev/null"]));
    }
    assert!(scene.rewrap(&sealed, &["--remove", to]).contains("2 of 2 layers re-wrapped"));
    assert!(image::packets(&sealed, "provider.holdfast").len() == 2);
}

#[test]
fn what_cannot_be_encrypted_to_is_one_line() {
    let scene = scene();
    let refused = |to: &str, options: &[&str], says: &str| {
        let mut command = scene.house.holdfast();
        command.env("GNUPGHOME", scene.gpg.home());
        command.args(["image", "encrypt"]).arg(image::oci(&scene.plain));
        command.arg(image::oci(&scene.house.dir.path().join("never"))).args(["--to", to]).args(options);
        let said = must_fail(&mut command);
        assert!(said.contains(says) && said.trim_end().lines().count() == 1, "{to}: {said}");
    };
    let labelled = ["--label", "env=prod"];
    refused(&scene.pkcs7(), &labelled, "a pkcs7 packet has no place for labels");
    refused(&format!("pgp:{EMAIL}"), &labelled, "a pgp packet has no place for labels");
    refused(&scene.pkcs11(), &labelled, "a pkcs11 packet has no place for labels");
    refused("pgp:nobody@test.invalid", &[], "gpg has no certificate of that name");
    scene.gpg.make("more-images@test.invalid", "nistp256");
    refused("pgp:test.invalid", &[], "it holds several OpenPGP certificates");
    let ec = image::certificate(&scene.house.public_key_file("images"));
    refused(
        &format!("pkcs7:{}", ec.display()),
        &[],
        "a certificate of a P-256 key, and pkcs7 packets are for RSA",
    );
    let openssl = || hsm_sim::command("openssl", "openssl").unwrap();
    let signs = scene.house.dir.path().join("signs.crt");
    let mut request = openssl();
    request.args([
        "req",
        "-x509",
        "-new",
        "-subj",
        "/CN=signs",
        "-addext",
        "keyUsage=digitalSignature",
        "-key",
    ]);
    must(request.arg(&scene.private).arg("-out").arg(&signs));
    refused(&format!("pkcs7:{}", signs.display()), &[], "(its key usage has no keyEncipherment)");
    // As nobody verifies who issued it, its end can be put into the past: the last UTCTime, of 13 digits.
    let over = scene.house.dir.path().join("over.der");
    let mut convert = openssl();
    convert.args(["x509", "-outform", "DER", "-in"]).arg(&scene.certificate).arg("-out").arg(&over);
    must(&mut convert);
    let mut der = std::fs::read(&over).unwrap();
    scene.skopeo_opens(
        &scene.encrypt("by-der", &[&format!("pkcs7:{}", over.display())]),
        &[&scene.private.display().to_string(), &scene.certificate.display().to_string()],
    );
    let end = der.windows(2).rposition(|header| header == [0x17, 13]).unwrap();
    der[end + 2..end + 4].copy_from_slice(b"01");
    std::fs::write(&over, der).unwrap();
    refused(&format!("pkcs7:{}", over.display()), &[], "this certificate has expired");
}
