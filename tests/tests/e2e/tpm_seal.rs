//! One key for many machines: sealed to their TPMs elsewhere, imported by each from its own file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_e2e::house::{House, file, me};
use holdfast_e2e::tpm::holdfastd;
use holdfast_e2e::{image, must, must_fail, rpc, run};
use hsm_sim::Swtpm;
use tempfile::TempDir;

use crate::tpm::{decrypt, encrypted_to, house};

/// A machine with a TPM, whose storage key has been told.
struct Node {
    swtpm: Swtpm,
    house: House,
    /// The public half of its storage key.
    storage_key: PathBuf,
    /// The line that pins it.
    line: String,
}

impl Node {
    /// `desk` is where keys are sealed; there, the node is called `name`.
    fn new(desk: &Path, name: &str) -> Node {
        let swtpm = Swtpm::start().unwrap();
        let house = house(&swtpm);
        let storage_key = desk.join(format!("{name}.srk.pub"));
        let said = must(holdfastd(&house, &["key", "storage-key"]).arg("-o").arg(&storage_key));
        let line = said.lines().last().unwrap().to_owned();
        assert!(line.starts_with("000b") && line.ends_with(&format!(" {name}")), "{said}");
        Node { swtpm, house, storage_key, line }
    }

    fn uri(&self) -> String {
        format!("tpm:file={}", self.file().display())
    }

    fn file(&self) -> PathBuf {
        self.house.dir.path().join("images.tss")
    }

    fn import(&self, from: &Path) -> Command {
        let mut command = holdfastd(&self.house, &["key", "import", &self.uri()]);
        command.arg("--from").arg(from);
        command
    }

    /// Configures what was imported, for the test's user.
    fn configured(mut self) -> Node {
        let uri = self.uri();
        self.house = self.house.section(&format!("[[key]]\nalias = \"sealed\"\nuri = \"{uri}\""));
        self.house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"sealed\"]", me()));
        self
    }
}

/// Where keys are sealed: no configuration, no TPM.
fn desk() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn pin(desk: &Path, nodes: &[&Node]) -> PathBuf {
    let lines: Vec<&str> = nodes.iter().map(|node| node.line.as_str()).collect();
    file(desk, "pinned", format!("# the fleet\n{}\n", lines.join("\n")))
}

fn seal(key: &Path, to: &[&Path], names: &Path, dir: &Path) -> Command {
    let mut command = Command::new(holdfast_e2e::binary("holdfastd"));
    command.args(["key", "seal"]).arg(key).arg("--names").arg(names).arg("-o").arg(dir);
    to.iter().for_each(|storage_key| {
        command.arg("--to").arg(storage_key);
    });
    command
}

fn vector(desk: &Path, name: &str) -> PathBuf {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys");
    let key = file(desk, "key.pem", fs::read(vectors.join(format!("{name}.pem"))).unwrap());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(vectors.join(format!("{name}.pub.pem")), desk.join("key.pub.pem")).unwrap();
    key
}

#[test]
fn one_key_sealed_to_two_tpms_opens_one_image_on_both() {
    let desk = desk();
    let nodes = [Node::new(desk.path(), "node-a"), Node::new(desk.path(), "node-b")];
    let key = vector(desk.path(), "ec-P-256");
    let (names, dir) = (pin(desk.path(), &[&nodes[0], &nodes[1]]), desk.path().join("sealed"));
    let output = run(&mut seal(&key, &[&nodes[0].storage_key, &nodes[1].storage_key], &names, &dir));
    let (said, warned) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("bound to nothing"), "{warned}");
    assert!(warned.contains("key.pem still holds the key in the clear: destroy it"), "{warned}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);

    // Not on a machine that goes before the image does.
    let elsewhere = House::new();
    let (plain, encrypted) = encrypted_to(&elsewhere, &desk.path().join("key.pub.pem"), "image");
    for (node, name) in nodes.into_iter().zip(["node-a", "node-b"]) {
        let sealed = dir.join(format!("{name}.tss"));
        assert_eq!(fs::metadata(&sealed).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(said.contains(&sealed.display().to_string()) && said.contains(&node.line), "{said}");
        let output = run(&mut node.import(&sealed));
        let (said, warned) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{warned}");
        assert!(
            said.contains("imported, not extractable now") && said.contains("fixedTPM = false"),
            "{said}"
        );
        assert!(warned.contains("together still give the key away"), "{warned}");
        assert!(!warned.contains("in the clear"), "{warned}");
        let node = node.configured();
        let checked = must(&mut node.house.check(&["--tokens"]));
        assert!(checked.contains("imported, not extractable now"), "{checked}");
        let _daemon = node.house.start();
        let opened = node.house.dir.path().join("opened");
        must(&mut decrypt(&node.house, &encrypted, &opened));
        assert!(image::same_layers(&plain, &opened));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sealed_to_pcr_values_opens_on_its_machine_while_they_hold() {
    let desk = desk();
    let node = Node::new(desk.path(), "node-a");
    let key = vector(desk.path(), "rsa2048");
    let dir = desk.path().join("sealed");
    let values = format!("sha256:7={zeros}+11={zeros}", zeros = "00".repeat(32));
    let mut sealing = seal(&key, &[&node.storage_key], &pin(desk.path(), &[&node]), &dir);
    let said = must(sealing.args(["--pcrs", &values]));
    assert!(said.contains("bound to sha256:7+11, exact values"), "{said}");
    let said = must(&mut node.import(&dir.join("node-a.tss")));
    assert!(said.contains("bound to = sha256:7+11, exact values"), "{said}");
    let node = node.configured();
    let _daemon = node.house.start();
    let wrapped =
        rpc::wrap_key(&node.house.socket(), &["sealed"], rpc::optsdata().raw().expose()).await.unwrap();
    assert!(rpc::unwrap_key(&node.house.socket(), &wrapped).await.is_ok());
    node.swtpm.extend_pcr(11).unwrap();
    let refused = rpc::unwrap_key(&node.house.socket(), &wrapped).await.unwrap_err();
    assert!(refused.message().contains("PCR"), "{refused:?}");
}

#[test]
fn a_machine_refuses_the_file_of_another_and_keeps_nothing_of_it() {
    let desk = desk();
    let (a, b) = (Node::new(desk.path(), "node-a"), Node::new(desk.path(), "node-b"));
    let dir = desk.path().join("sealed");
    let key = vector(desk.path(), "ec-P-384");
    must(&mut seal(&key, &[&a.storage_key, &b.storage_key], &pin(desk.path(), &[&a, &b]), &dir));
    let said = must_fail(&mut a.import(&dir.join("node-b.tss")));
    let name_of = |node: &Node| node.line.split(' ').next().unwrap().to_owned();
    assert!(said.contains(&name_of(&a)) && said.contains(&name_of(&b)), "{said}");
    assert!(!a.file().exists());
    let cut = fs::read(dir.join("node-a.tss")).unwrap();
    let cut = file(desk.path(), "cut.tss", &cut[..cut.len() - 100]);
    let said = must_fail(&mut a.import(&cut));
    assert!(said.contains("no PEM block with a private key"), "{said}");
    let mut import = holdfastd(&a.house, &["key", "import", "pkcs11:token=prod;object=a"]);
    let said = must_fail(import.arg("--from").arg(dir.join("node-a.tss")));
    assert!(said.contains("cannot do the import of sealed keys"), "{said}");
    assert!(!a.file().exists());
    must(&mut a.import(&dir.join("node-a.tss")));
}

#[test]
fn nothing_is_sealed_to_a_storage_key_that_is_not_pinned_nor_is_the_key_read_for_it() {
    let desk = desk();
    let (a, b) = (Node::new(desk.path(), "node-a"), Node::new(desk.path(), "node-b"));
    // Whoever read it would find that it is not there.
    let key = desk.path().join("missing.pem");
    let dir = desk.path().join("sealed");
    let names = pin(desk.path(), &[&a]);
    let said = must_fail(&mut seal(&key, &[&a.storage_key, &b.storage_key], &names, &dir));
    let name = b.line.split(' ').next().unwrap();
    for says in ["node-b.srk.pub", name, "is not pinned in", "holdfastd key storage-key"] {
        assert!(said.contains(says), "{says}: {said}");
    }
    assert!(said.trim_end().lines().count() == 1 && !said.contains("missing.pem"), "{said}");
    let said = must_fail(&mut seal(&key, &[&a.storage_key], &names, &dir));
    assert!(said.contains("missing.pem: No such file"), "{said}");
    assert!(!dir.exists());
}

#[test]
fn what_cannot_be_sealed_to_one_is_sealed_to_none() {
    let desk = desk();
    let (a, b) = (Node::new(desk.path(), "node-a"), Node::new(desk.path(), "node-b"));
    let key = vector(desk.path(), "ec-P-256");
    let names = pin(desk.path(), &[&a, &b]);
    let at = |name: &str| desk.path().join(name);
    let pem = file(desk.path(), "pem.srk.pub", fs::read(at("key.pub.pem")).unwrap());
    let cut = file(desk.path(), "cut.srk.pub", &fs::read(&a.storage_key).unwrap()[..40]);
    let again = file(desk.path(), "again.srk.pub", fs::read(&a.storage_key).unwrap());
    fs::create_dir(at("other")).unwrap();
    let namesake = file(&at("other"), "node-a.pub", fs::read(&b.storage_key).unwrap());
    let dir = at("sealed");
    for (second, says) in [
        (&pem, "in PEM"),
        (&cut, "tpm2-srk-public-key.tpm2b_public"),
        (&again, "the same storage key as in"),
        (&namesake, "rename one of them"),
        (&at("none.srk.pub"), "No such file"),
    ] {
        let said = must_fail(&mut seal(&key, &[&a.storage_key, second], &names, &dir));
        assert!(said.contains(says) && said.contains(&second.display().to_string()), "{says}: {said}");
        assert!(said.trim_end().lines().count() == 1 && !dir.exists(), "{says}: {said}");
    }
    let to = [a.storage_key.as_path(), &b.storage_key];
    for (name, says) in [("ec-P-521", "P-521 is no key for a TPM here"), ("rsa4096", "RSA-4096 is no key")] {
        let said = must_fail(&mut seal(&vector(desk.path(), name), &to, &names, &dir));
        assert!(said.contains(says) && !dir.exists(), "{said}");
    }
    let key = vector(desk.path(), "ec-P-256");
    let said = must_fail(seal(&key, &to, &names, &dir).args(["--pcrs", "sha256:7"]));
    assert!(said.contains("whole value in hexadecimal digits") && !dir.exists(), "{said}");
    fs::create_dir(&dir).unwrap();
    file(&dir, "node-b.tss", "somebody's");
    let said = must_fail(&mut seal(&key, &to, &names, &dir));
    assert!(said.contains("never overwritten"), "{said}");
    assert_eq!(fs::read(dir.join("node-b.tss")).unwrap(), b"somebody's");
    assert!(!dir.join("node-a.tss").exists());
    // What is sealed already is no plain key.
    fs::remove_file(dir.join("node-b.tss")).unwrap();
    must(&mut seal(&key, &to, &names, &dir));
    let said = must_fail(&mut seal(&dir.join("node-a.tss"), &to, &names, &at("twice")));
    assert!(said.contains("a key for a TPM already"), "{said}");
}

#[test]
fn a_plain_key_goes_into_the_tpm_at_hand_and_its_file_is_still_to_be_destroyed() {
    let desk = desk();
    let node = Node::new(desk.path(), "node-a");
    let key = vector(desk.path(), "rsa2048");
    let output = run(&mut node.import(&key));
    let (said, warned) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("imported, not extractable now"), "{said}{warned}");
    assert!(said.contains("custody is not proven") && said.contains("sensitiveDataOrigin = false"), "{said}");
    assert!(warned.contains("key.pem still holds the key in the clear: destroy it"), "{warned}");
    let (plain, encrypted) = encrypted_to(&node.house, &desk.path().join("key.pub.pem"), "image");
    let node = node.configured();
    let _daemon = node.house.start();
    let opened = node.house.dir.path().join("opened");
    must(&mut decrypt(&node.house, &encrypted, &opened));
    assert!(image::same_layers(&plain, &opened));
    assert!(must_fail(&mut node.import(&key)).contains("never overwritten"));
}

#[test]
fn a_storage_key_is_written_as_other_programs_write_it_and_never_over_a_file() {
    let desk = desk();
    let node = Node::new(desk.path(), "node-a");
    // The same key, by tpm2-tools.
    let context = desk.path().join("primary").display().to_string();
    let theirs = desk.path().join("theirs.pub").display().to_string();
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
    let create = ["-Q", "-C", "o", "-G", "ecc", "-a", attributes, "-c", &context];
    must(node.swtpm.tool("tpm2_createprimary").unwrap().args(create));
    must(node.swtpm.tool("tpm2_readpublic").unwrap().args(["-Q", "-c", &context, "-o", &theirs]));
    assert_eq!(fs::read(&theirs).unwrap(), fs::read(&node.storage_key).unwrap());
    let said = must_fail(holdfastd(&node.house, &["key", "storage-key"]).arg("-o").arg(&node.storage_key));
    assert!(said.contains("File exists"), "{said}");
    let said = must(&mut holdfastd(&node.house, &["key", "storage-key", "tpm:"]));
    assert!(
        said.contains("storage key: P-256") && node.line.starts_with(said.lines().last().unwrap()),
        "{said}"
    );
    let name = node.line.split(' ').next().unwrap();
    assert!(said.contains(&format!("storage_key_name = \"{name}\"\n")), "{said}");
    let said = must_fail(&mut holdfastd(&node.house, &["key", "storage-key", "pkcs11:token=prod"]));
    assert!(said.contains("only a TPM has a storage key"), "{said}");
}

#[test]
fn a_tpm_that_is_not_the_pinned_one_tells_its_storage_key_and_that_it_is_another() {
    let desk = desk();
    let (old, new) = (Node::new(desk.path(), "old"), Node::new(desk.path(), "new"));
    let name_of = |node: &Node| node.line.split(' ').next().unwrap().to_owned();
    let pinned = |name: &str| {
        House::new().section(&format!(
            "[[token]]\nuri = \"tpm:\"\ntcti = \"{}\"\nstorage_key_name = \"{name}\"",
            new.swtpm.tcti()
        ))
    };
    let said = must(&mut holdfastd(&pinned(&name_of(&old)), &["key", "storage-key"]));
    assert!(said.contains(&format!("NOT the one that storage_key_name has, {}", name_of(&old))), "{said}");
    assert!(said.contains(&format!("storage_key_name = \"{}\"", name_of(&new))), "{said}");
    let said = must(&mut holdfastd(&pinned(&name_of(&new).to_uppercase()), &["key", "storage-key"]));
    assert!(said.contains("as storage_key_name has it"), "{said}");
    // Nothing is brought into the one that is not meant.
    let house = pinned(&name_of(&old));
    let mut import = holdfastd(&house, &["key", "import", &new.uri()]);
    let said = must_fail(import.arg("--from").arg(vector(desk.path(), "ec-P-256")));
    assert!(said.contains("another TPM answers") && !new.file().exists(), "{said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
