//! `holdfastd key create` and `key import`, as an operator runs them beside a daemon that serves.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_e2e::house::{House, file, me};
use holdfast_e2e::{eventually, must, must_fail, rpc};
use holdfast_wire::PublicKey;
use hsm_sim::{KeyKind, Object, ObjectKind};

#[test]
fn a_made_key_does_what_is_needed_and_nothing_else() {
    let house = House::new();
    for (kind, of_private, of_public) in [
        ("rsa-2048", &["decrypt"][..], Some("encrypt")),
        ("rsa-3072", &["decrypt"], Some("encrypt")),
        ("ecc-p256", &["derive"], Some("none")),
        ("ecc-p384", &["derive"], Some("none")),
        ("ecc-p521", &["derive"], Some("none")),
        ("aes-256", &["encrypt", "decrypt"], None),
    ] {
        let said = must(house.key_command("create", kind).args(["--algorithm", kind]));
        assert!(said.contains("generated in the token, never extractable"), "{said}");
        assert!(!said.contains(house.token.pin()), "{said}");
        let objects = of_label(&house, kind);
        assert_eq!(objects.len(), 1 + usize::from(of_public.is_some()), "{objects:?}");
        let is_public = |object: &&Object| object.kind == ObjectKind::PublicKey;
        let private = objects.iter().find(|object| !is_public(object)).unwrap();
        assert_eq!(private.usage, of_private, "{kind}");
        assert_eq!(private.access, ["sensitive", "always sensitive", "never extractable", "local"]);
        assert_eq!(private.id.len(), 8);
        let id: String = private.id.iter().map(|byte| format!("%{byte:02X}")).collect();
        assert!(said.contains(&format!("uri = \"pkcs11:token=prod;object={kind};id={id}\"\n")), "{said}");
        match of_public {
            Some(usage) => {
                let public = objects.iter().find(is_public).unwrap();
                assert_eq!((&public.id, public.usage[0].as_str()), (&private.id, usage));
                assert_eq!(PublicKey::from_pem(&said).unwrap(), house.public_key(kind));
            }
            None => assert!(said.contains("\nkid = \"") && !said.contains("PUBLIC KEY"), "{said}"),
        }
    }
}

#[test]
fn a_name_that_is_there_is_never_doubled() {
    let house = House::new().key("images", KeyKind::EcP256);
    let before = house.hsm.objects(&house.token).unwrap().len();
    for (name, says) in [
        ("images", "a key of this label already"),
        ("images;id=%77", "a key of this label already"),
        ("other;id=%01", "a key of this id already"),
    ] {
        let said = must_fail(house.key_command("create", name).args(["--algorithm", "aes-256"]));
        assert!(said.contains(says) && said.trim_end().lines().count() == 1, "{said}");
    }
    assert_eq!(house.hsm.objects(&house.token).unwrap().len(), before);
}

#[test]
fn what_cannot_be_made_is_one_line_that_quotes_no_pin() {
    let house = House::new();
    for (uri, says) in [
        ("pkcs11:token=test;object=a", "no [[token]] of the configuration matches"),
        ("pkcs11:token=prod", "needs object=, its label"),
        ("pkcs11:token=prod;object=a;type=private", "leave type= out"),
        ("pkcs11:token=prod;serial=0;object=a", "more of the token than is true"),
        ("pkcs11:token=prod;object=a?pin-value=4711", "ends up in logs"),
        ("kmip:server=kms-1;name=a", "no [[token]] of the configuration matches"),
        ("tpm:file=/a.tss", "no [[token]] of the configuration matches"),
    ] {
        let said = must_fail(house.key_command_of("create", uri).args(["--algorithm", "rsa-3072"]));
        assert!(said.contains(says) && said.trim_end().lines().count() == 1, "{uri}: {said}");
        assert!(!said.contains("4711"), "{said}");
    }
    let said = must_fail(house.key_command("create", "a").args(["--algorithm", "rsa-1024"]));
    assert!(said.contains("it makes rsa-2048, rsa-3072"), "{said}");
    assert_eq!(house.hsm.objects(&house.token).unwrap(), []);
}

#[test]
fn a_refused_pin_is_latched_for_the_daemon_too() {
    let house = House::new();
    let wrong = file(house.dir.path(), "wrong.pin", "000000");
    let house = house.pin_file(wrong);
    for _ in 0..2 {
        let said = must_fail(house.key_command("create", "a").args(["--algorithm", "aes-256"]));
        assert!(said.contains("refused the PIN") && !said.contains("000000"), "{said}");
    }
    let said = must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("is not tried again"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_key_serves_without_a_restart() {
    for kind in ["rsa-2048", "ecc-p521", "aes-256"] {
        let mut house = House::new();
        house.configure("new", "new", if kind == "aes-256" { "kid = \"new-kid\"" } else { "" });
        house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"new\"]", me()));
        let daemon = house.start();
        let given = rpc::optsdata();
        let status = rpc::wrap_key(&house.socket(), &["new"], given.raw().expose()).await.unwrap_err();
        assert!(status.message().contains("not on its token"), "{}", status.message());

        let public = house.dir.path().join("new.pem");
        let mut create = house.key_command("create", "new");
        let said = must(create.args(["--algorithm", kind, "--public"]).arg(&public));
        assert!(!said.contains("PUBLIC KEY"), "{said}");
        assert_eq!(public.exists(), kind != "aes-256");
        // SoftHSM looks into its directory when it pleases.
        eventually("the new key serves", async || {
            rpc::wrap_key(&house.socket(), &["new"], given.raw().expose()).await.is_ok()
        })
        .await;
        let packet = rpc::wrap_key(&house.socket(), &["new"], given.raw().expose()).await.unwrap();
        assert_eq!(rpc::unwrap_key(&house.socket(), &packet).await.unwrap(), given.raw().expose());
        assert!(daemon.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_key_opens_what_was_encrypted_to_the_file() {
    let mut house = House::new();
    let index = std::fs::read(vectors().join("skopeo-1.18/index.json")).unwrap();
    let index: Vec<serde_json::Value> = serde_json::from_slice(&index).unwrap();
    for name in ["rsa3072", "ec-P-256", "ec-P-384", "ec-P-521"] {
        let mut import = house.key_command("import", name);
        import.arg("--from").arg(private_copy(&house, name));
        let output = import.output().unwrap();
        let (said, warned) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{warned}");
        assert!(said.contains("imported, not extractable now"), "{said}");
        assert!(said.contains("CKA_LOCAL = false") && said.contains("custody is not proven"), "{said}");
        assert!(warned.contains("still holds the key in the clear: destroy it"), "{warned}");
        assert!(!warned.contains("every user of this machine"), "{warned}");
        let objects = of_label(&house, name);
        let private = objects.iter().find(|object| object.kind == ObjectKind::PrivateKey).unwrap();
        assert_eq!(private.access, ["sensitive"]);
        assert_eq!(private.usage, [if name == "rsa3072" { "decrypt" } else { "derive" }]);
        house.configure(name, name, "");
        house.allow(&format!("user = {}\nto = [\"unwrap\"]\nkeys = [\"{name}\"]", me()));
    }
    let daemon = house.start();
    let mut opened = 0;
    for entry in &index {
        let recipients = entry["recipients"].as_array().unwrap();
        let [only] = &recipients[..] else { continue };
        let key = only["key"].as_str().unwrap();
        if key.starts_with("rsa2048") || key.starts_with("rsa4096") || only["alg"] == "RSA-OAEP-256" {
            continue;
        }
        let of = |member: &str| vectors().join("skopeo-1.18").join(entry[member].as_str().unwrap());
        let Ok(answer) = rpc::open(&house.socket(), &std::fs::read(of("packet")).unwrap()).await else {
            panic!("{entry}")
        };
        assert_eq!((answer.alias.as_str(), answer.optsdata), (key, std::fs::read(of("optsdata")).unwrap()));
        opened += 1;
    }
    assert!(opened >= 8, "{opened} packets");
    for said in [
        must(house.holdfast().args(["key", "list"])),
        must(house.holdfast().args(["key", "show", "ec-P-384"])),
        must(&mut house.check(&["--tokens"])),
        daemon.log(),
    ] {
        assert!(said.contains("imported, not extractable now"), "{said}");
    }
}

#[test]
fn a_key_file_that_cannot_be_taken_leaves_nothing_on_the_token() {
    let house = House::new();
    let locked = house.dir.path().join("locked.pem");
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    openssl.args(["pkey", "-aes256", "-passout", "pass:x", "-in"]).arg(vectors().join("keys/ec-P-256.pem"));
    must(openssl.arg("-out").arg(&locked));
    let koblitz = house.dir.path().join("koblitz.pem");
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    openssl.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1", "-out"]);
    must(openssl.arg(&koblitz));
    for (from, says) in [
        (locked, "the key is encrypted; decrypt it into a file that only you can read"),
        (koblitz, "only RSA with 2048 to 8192 bits and EC on P-256"),
        (house.dir.path().join("none.pem"), "No such file"),
        (vectors().join("keys/ec-P-256.pub.pem"), "no PEM block with a private key"),
    ] {
        let said = must_fail(house.key_command("import", "a").arg("--from").arg(&from));
        assert!(said.contains(says) && said.contains(&from.display().to_string()), "{said}");
    }
    assert_eq!(house.hsm.objects(&house.token).unwrap(), []);
    let world_readable =
        file(house.dir.path(), "open.pem", std::fs::read(vectors().join("keys/ec-P-256.pem")).unwrap());
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&world_readable, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = house.key_command("import", "a").arg("--from").arg(world_readable).output().unwrap();
    assert!(output.status.success() && text(&output.stderr).contains("every user of this machine"));
}

/// The traditional forms, as openssl writes them.
#[test]
fn pkcs1_and_sec1_files_are_taken_as_well() {
    let house = House::new();
    for (name, label) in [("rsa2048", "RSA PRIVATE KEY"), ("ec-P-384", "EC PRIVATE KEY")] {
        let old = house.dir.path().join(format!("{name}.old.pem"));
        let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
        openssl
            .args(["pkey", "-traditional", "-in"])
            .arg(vectors().join("keys").join(name).with_extension("pem"));
        must(openssl.arg("-out").arg(&old));
        assert!(std::fs::read_to_string(&old).unwrap().contains(label));
        must(house.key_command("import", name).arg("--from").arg(&old));
        let public = std::fs::read_to_string(vectors().join(format!("keys/{name}.pub.pem"))).unwrap();
        assert_eq!(house.public_key(name), PublicKey::from_pem(&public).unwrap());
    }
}

trait KeyCommand {
    /// `holdfastd key VERB` for a key of this name on the house's token.
    fn key_command(&self, verb: &str, name: &str) -> Command {
        self.key_command_of(verb, &format!("pkcs11:token=prod;object={name}"))
    }

    fn key_command_of(&self, verb: &str, uri: &str) -> Command;
}

impl KeyCommand for House {
    fn key_command_of(&self, verb: &str, uri: &str) -> Command {
        let mut command = Command::new(holdfast_e2e::binary("holdfastd"));
        command.args(["key", verb, uri, "--config"]).arg(self.write_config()).envs(self.hsm.env());
        command
    }
}

fn of_label(house: &House, label: &str) -> Vec<Object> {
    let objects = house.hsm.objects(&house.token).unwrap().into_iter();
    objects.filter(|object| object.label == label).collect()
}

/// A vector's key in a file that only its owner may read.
fn private_copy(house: &House, name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let pem = std::fs::read(vectors().join("keys").join(name).with_extension("pem")).unwrap();
    let path = file(house.dir.path(), &format!("{name}.pem"), pem);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
