//! The life of an encrypted image in a registry: its keys change and its layers stay where they are.

use std::path::PathBuf;
use std::process::Command;

use holdfast_e2e::counted::Counted;
use holdfast_e2e::house::{Daemon, House};
use holdfast_e2e::peers::registry::Registry;
use holdfast_e2e::peers::{PATIENCE, Peers, fails, succeeds};
use holdfast_e2e::stall::Stall;
use holdfast_e2e::{image, must, must_fail};
use hsm_sim::{Authority, KeyKind, Process};
use serde_json::Value;

/// A registry, and a daemon with last year's key and this year's.
pub(super) struct Scene {
    pub(super) house: House,
    pub(super) peers: Peers,
    pub(super) registry: Registry,
    pub(super) plain: PathBuf,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let house = House::new().key("old", KeyKind::Rsa3072).key("new", KeyKind::EcP256);
        let peers = Peers::of(&house);
        let plain = image::build(house.dir.path(), 2);
        let registry = Registry::start(&peers);
        Scene { house, peers, registry, plain }
    }

    /// Encrypts to these recipients by skopeo, straight into the registry as `app:TAG`.
    pub(super) fn publish(&self, tag: &str, to: &[&str]) {
        let mut push = self.peers.skopeo();
        push.args(["copy", "--dest-tls-verify=false"]);
        for one in to {
            push.args(["--encryption-key", one]);
        }
        push.arg(image::oci(&self.plain)).arg(self.name(tag));
        succeeds(push);
    }

    pub(super) fn name(&self, tag: &str) -> String {
        format!("docker://{}/app:{tag}", self.registry.address())
    }

    pub(super) fn repository(&self) -> String {
        format!("docker://{}/app", self.registry.address())
    }

    /// `holdfast image VERB IMAGE OPTIONS`, without credentials of the machine's.
    pub(super) fn image(&self, verb: &str, name: &str, options: &[&str]) -> Command {
        let mut command = self.house.holdfast();
        command.env("HOME", self.house.dir.path()).env_remove("XDG_RUNTIME_DIR");
        command.args(["image", verb, name]).args(options);
        command
    }

    pub(super) fn inspected(&self, tag: &str) -> Value {
        serde_json::from_str(&must(&mut self.image("inspect", &self.name(tag), &["--json"]))).expect("JSON")
    }

    pub(super) fn digest(&self, tag: &str) -> String {
        self.inspected(tag)["digest"].as_str().expect("a digest").to_owned()
    }

    /// Has skopeo copy an image as it is.
    pub(super) fn copy(&self, from: &str, to: &str) {
        let mut copy = self.peers.skopeo();
        copy.args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
        succeeds(copy);
    }

    /// Whether skopeo opens `app:TAG` through the daemon, to what it was.
    pub(super) fn opens(&self, tag: &str) {
        let opened = self.house.dir.path().join(format!("opened-{tag}"));
        let _ = std::fs::remove_dir_all(&opened);
        succeeds(self.pull(tag, &opened));
        assert!(image::same_layers(&self.plain, &opened));
    }

    pub(super) fn pull(&self, tag: &str, to: &std::path::Path) -> Command {
        let mut pull = self.peers.skopeo();
        pull.args(["copy", "--src-tls-verify=false", "--decryption-key", "provider:holdfast"]);
        pull.arg(self.name(tag)).arg(image::oci(to));
        pull
    }

    /// The daemon without the key `old`.
    pub(super) fn without_old(&mut self, daemon: Daemon) -> Daemon {
        assert!(daemon.stop().success());
        self.house.reconfigure("new", &[("new", "")]);
        self.house.start_command(self.house.with_rules(&format!(
            "[[allow]]\nuser = {}\nto = [\"unwrap\"]\nkeys = [\"new\"]\n",
            holdfast_e2e::house::me()
        )))
    }
}

fn digest(manifest: &str) -> String {
    let json: Value = serde_json::from_str(manifest).expect("JSON");
    json["images"][0]["digest"].as_str().expect("a digest").to_owned()
}

#[test]
fn an_image_changes_its_key_and_no_layer_is_moved() {
    let mut scene = Scene::new();
    let daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    let counted = Counted::way_to(scene.registry.address());
    let name = format!("docker://{}/app:v1", counted.address());
    let said =
        must(&mut scene.image("rewrap", &name, &["--add", "holdfast:new", "--remove", "holdfast:old"]));
    assert!(said.contains(": 2 of 2 layers re-wrapped\n"), "{said}");
    assert!(said.contains("can still open it; --reencrypt makes new keys\n"), "{said}");
    assert!(counted.bytes() < 65_536, "{} bytes went over the wire", counted.bytes());

    // Once more: there is nothing to do, and no key is used.
    let records = scene.house.audit().len();
    let said =
        must(&mut scene.image("rewrap", &name, &["--add", "holdfast:new", "--remove", "holdfast:old"]));
    assert!(said.contains("has these recipients already; of those to be removed nobody is among"), "{said}");
    assert_eq!(scene.house.audit().len(), records);

    let _daemon = scene.without_old(daemon);
    scene.opens("v1");
}

#[test]
fn dual_recipients_open_with_either_key_and_lead_back() {
    let mut scene = Scene::new();
    let daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    must(&mut scene.image("rewrap", &scene.name("v1"), &["--add", "holdfast:new"]));
    scene.opens("v1");
    must(&mut scene.image("rewrap", &scene.name("v1"), &["--remove", "holdfast:new"]));
    scene.opens("v1");
    let _daemon = scene.without_old(daemon);
    fails(scene.pull("v1", &scene.house.dir.path().join("never")));
}

#[test]
fn a_recipient_that_skopeo_gave_no_name_is_found_by_opening() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let public = scene.house.public_key_file("old");
    let other = scene.house.dir.path().join("other.pem");
    let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys");
    std::fs::copy(vectors.join("rsa4096.pub.pem"), &other).unwrap();
    // One packet for two: one recipient has to be taken out of it.
    scene.publish("v1", &[&format!("jwe:{}", other.display()), &format!("jwe:{}", public.display())]);
    let said = must(&mut scene.image("rewrap", &scene.name("v1"), &["--remove", "holdfast:old"]));
    assert!(said.contains("2 of 2 layers re-wrapped; 2 still have recipients that name no key id"), "{said}");
    fails(scene.pull("v1", &scene.house.dir.path().join("never")));

    std::fs::copy(vectors.join("rsa4096.pem"), scene.house.dir.path().join("other.key")).unwrap();
    let opened = scene.house.dir.path().join("opened");
    let mut pull = scene.peers.skopeo();
    pull.args(["copy", "--src-tls-verify=false", "--decryption-key"]);
    pull.arg(scene.house.dir.path().join("other.key")).arg(scene.name("v1")).arg(image::oci(&opened));
    succeeds(pull);
    assert!(image::same_layers(&scene.plain, &opened));
}

#[test]
fn labels_stay_what_they_are_under_the_seal() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old;env=prod"]);
    must(&mut scene.image("rewrap", &scene.name("v1"), &["--to", "holdfast:new"]));
    let shown = must(&mut scene.image("inspect", &scene.name("v1"), &[]));
    assert!(shown.contains("env=prod") && !shown.contains("RSA-OAEP"), "{shown}");
}

#[test]
fn the_last_recipient_cannot_be_removed() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    let said = must_fail(&mut scene.image("rewrap", &scene.name("v1"), &["--remove", "holdfast:old"]));
    assert!(
        said.contains("nobody would be able to open it any more; give it another recipient too"),
        "{said}"
    );
    scene.opens("v1");
}

#[test]
fn a_dry_run_writes_nothing() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    let before = must(&mut scene.image("inspect", &scene.name("v1"), &[]));
    let said = must(&mut scene.image("rewrap", &scene.name("v1"), &["--to", "holdfast:new", "--dry-run"]));
    assert!(said.ends_with(": 2 of 2 layers would be re-wrapped\n"), "{said}");
    assert_eq!(must(&mut scene.image("inspect", &scene.name("v1"), &[])), before);

    let layout = scene.house.dir.path().join("layout");
    succeeds(scene.peers.wrap(&scene.plain, &layout, &["provider:holdfast:old"]));
    let before = entries(&layout);
    for (options, becomes) in [
        (&["--to", "holdfast:new", "--dry-run"][..], "re-wrapped"),
        (&["--to", "holdfast:new", "--dry-run", "--reencrypt"], "encrypted anew"),
    ] {
        let said = must(&mut scene.image("rewrap", &image::oci(&layout), options));
        assert!(said.ends_with(&format!(": 2 of 2 layers would be {becomes}\n")), "{said}");
        assert_eq!(entries(&layout), before);
    }
}

/// The names in a layout, and what its tags lead to.
fn entries(layout: &std::path::Path) -> (Vec<std::ffi::OsString>, Vec<u8>) {
    let blobs = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let top = std::fs::read_dir(layout).unwrap();
    let mut names: Vec<_> = top.chain(blobs).map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    (names, std::fs::read(layout.join("index.json")).unwrap())
}

#[test]
fn a_tag_that_is_moved_meanwhile_is_left_as_it_is() {
    let scene = Scene::new();
    let daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    scene.publish("other", &["provider:holdfast:old"]);
    let stall = Stall::of(&scene.house.hsm);
    let rewrap = scene.image("rewrap", &scene.name("v1"), &["--timeout", "60s", "--to", "holdfast:new"]);
    let rewrap = Process::spawn(rewrap, "holdfast").unwrap();
    let mut rewrap = rewrap.ready_when(PATIENCE, |_| scene.house.places_taken() == 1).unwrap();
    scene.copy(&scene.name("other"), &scene.name("v1"));
    drop(stall);
    assert!(!rewrap.wait(PATIENCE).unwrap().success());
    let said = rewrap.stderr_text();
    assert!(
        said.contains("the tag v1 leads to another manifest by now, which was left as it is; run again"),
        "{said}"
    );
    drop(daemon);
}

#[test]
fn all_tags_are_done_and_what_was_not_is_told_and_done_later() {
    let scene = Scene::new();
    let daemon = scene.house.start();
    let foreign = scene.house.dir.path().join("foreign.pem");
    let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys");
    std::fs::copy(vectors.join("rsa4096.pub.pem"), &foreign).unwrap();
    scene.publish("v1", &["provider:holdfast:old"]);
    scene.publish("v2", &[&format!("jwe:{}", foreign.display())]);
    scene.publish("v3", &["provider:holdfast:old"]);
    let options = ["--all-tags", "--add", "holdfast:new"];
    let said = must_fail(&mut scene.image("rewrap", &scene.name("v1"), &options));
    assert!(said.contains("--all-tags means every tag of the repository, and v1 names one"), "{said}");
    let said = must_fail(&mut scene.image("rewrap", &scene.repository(), &options));
    assert_eq!(said.matches("2 of 2 layers re-wrapped").count(), 2, "{said}");
    assert!(said.contains("app:v2: layer 1 of 2"), "{said}");
    assert!(said.contains("1 of 3 images are as they were; run again"), "{said}");
    scene.publish("v2", &["provider:holdfast:old"]);
    let said = must(&mut scene.image("rewrap", &scene.repository(), &options));
    assert_eq!(said.matches("has these recipients already").count(), 2, "{said}");
    assert_eq!(said.matches("2 of 2 layers re-wrapped").count(), 1, "{said}");
    drop(daemon);
}

#[test]
fn tags_of_one_image_stay_so_and_its_layers_are_opened_once() {
    let scene = Scene::new();
    let daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    for tag in ["latest", "v1.0", "v1.0.0"] {
        scene.copy(&scene.name("v1"), &scene.name(tag));
    }
    let unwraps = || scene.house.audit().iter().filter(|record| record["event"] == "unwrap").count();
    let before = unwraps();
    let said = must(&mut scene.image("rewrap", &scene.repository(), &["--all-tags", "--to", "holdfast:new"]));
    assert_eq!(said.matches("2 of 2 layers re-wrapped").count(), 4, "{said}");
    assert_eq!(unwraps() - before, 2);
    let one = scene.digest("v1");
    assert!(["latest", "v1.0", "v1.0.0"].iter().all(|tag| scene.digest(tag) == one), "{said}");
    drop(daemon);
}

#[test]
fn a_key_is_needed_by_no_image_only_when_all_were_read() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    scene.publish("v2", &["provider:holdfast:new"]);
    let place = format!("{}/app", scene.registry.address());
    let said = must(&mut scene.image("inventory", &place, &["--key", "old"]));
    assert!(said.contains("app:v1") && !said.contains("app:v2"), "{said}");
    assert!(said.ends_with("1 need old (2 tags in 1 repository, all read)\n"), "{said}");
    must(&mut scene.image("rewrap", &scene.name("v1"), &["--to", "holdfast:new"]));
    // Of the whole registry, by its catalogue.
    let said = must(&mut scene.image("inventory", scene.registry.address(), &["--key", "old"]));
    assert_eq!(said, "none needs old (2 tags in 1 repository, all read)\n");

    // A recipient without a name may be anyone, until it is tried.
    let public = scene.house.public_key_file("old");
    scene.publish("v3", &[&format!("jwe:{}", public.display())]);
    let said = must(&mut scene.image("inventory", &place, &["--key", "old"]));
    assert!(
        said.contains("app:v3") && said.contains("of 1 it is not known") && said.contains("--ask"),
        "{said}"
    );
    let said = must(&mut scene.image("inventory", &place, &["--key", "old", "--ask"]));
    assert!(
        said.contains("app:v3") && said.ends_with("1 need old (3 tags in 1 repository, all read)\n"),
        "{said}"
    );

    // A tag that is named as one of referrers may be an image's all the same.
    scene.publish(&format!("sha256-{}", "ab".repeat(32)), &["provider:holdfast:new"]);
    let said = must(&mut scene.image("inventory", &place, &["--key", "new"]));
    assert!(said.contains("app:sha256-abab") && said.contains("3 name new; of 1 it is not known"), "{said}");

    // An id that nobody has is a mistake before it is good news.
    for cut in ["kid:", "kid:-YjW_taK"] {
        let said = must_fail(&mut scene.image("inventory", &place, &["--key", cut]));
        assert!(!said.contains("none needs"), "{said}");
    }

    // A manifest that cannot be read is a gap.
    let blobs = scene.house.dir.path().join("registry/docker/registry/v2/blobs/sha256");
    let json = must(&mut scene.image("inventory", &place, &["--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    let hex = json["images"][0]["digest"].as_str().unwrap().split_once(':').unwrap().1.to_owned();
    std::fs::remove_dir_all(blobs.join(&hex[..2]).join(&hex)).unwrap();
    let said = must_fail(&mut scene.image("inventory", &place, &["--key", "old"]));
    assert!(said.contains("the list is not complete") && !said.contains("none needs"), "{said}");
}

#[test]
fn a_layout_changes_its_key_too() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let sealed = scene.house.dir.path().join("sealed");
    succeeds(scene.peers.wrap(&scene.plain, &sealed, &["provider:holdfast:old"]));
    let layers = image::layers(&sealed);
    must(&mut scene.image("rewrap", &image::oci(&sealed), &["--to", "holdfast:new"]));
    assert_eq!(image::layers(&sealed), layers);
    let said = must(&mut scene.image("inspect", &image::oci(&sealed), &[]));
    assert!(said.contains("ECDH-ES+A256KW") && !said.contains("RSA-OAEP"), "{said}");
    let opened = scene.house.dir.path().join("opened");
    succeeds(scene.peers.unwrap(&sealed, &opened, &["provider:holdfast"]));
    assert!(image::same_layers(&scene.plain, &opened));
}

#[test]
fn a_private_registry_is_reached_with_its_authority_and_the_users_credentials() {
    let house = House::new().key("old", KeyKind::Rsa3072).key("new", KeyKind::EcP256);
    let peers = Peers::of(&house);
    let plain = image::build(house.dir.path(), 1);
    let authority = Authority::new(house.dir.path(), "registries").unwrap();
    let registry = Registry::start_private(&peers, &authority);
    let scene = Scene { house, peers, registry, plain };
    let _daemon = scene.house.start();
    let dir = scene.house.dir.path();
    let certificates = dir.join("certs");
    std::fs::create_dir(&certificates).unwrap();
    std::fs::copy(authority.certificate(), certificates.join("ca.crt")).unwrap();
    let mut push = scene.peers.skopeo();
    push.args(["copy", "--dest-creds", "me:hunter2", "--dest-cert-dir"]).arg(&certificates);
    push.args(["--encryption-key", "provider:holdfast:old"]);
    push.arg(image::oci(&scene.plain)).arg(scene.name("v1"));
    succeeds(push);

    let ca = format!("--ca={}", authority.certificate().display());
    let said = must_fail(&mut scene.image("inspect", &scene.name("v1"), &[&ca]));
    assert!(said.contains("log in (skopeo login), or name a file with credentials (--authfile)"), "{said}");
    // What skopeo login leaves is what is read.
    let auth = dir.join("auth.json");
    let mut login = scene.peers.skopeo();
    login.args(["login", "--username", "me", "--password", "hunter2", "--authfile"]).arg(&auth);
    login.arg("--cert-dir").arg(&certificates).arg(scene.registry.address());
    succeeds(login);
    let auth = format!("--authfile={}", auth.display());
    must(&mut scene.image("inspect", &scene.name("v1"), &[&ca, &auth]));
    must(&mut scene.image("rewrap", &scene.name("v1"), &[&ca, &auth, "--to", "holdfast:new"]));
    // An authority that is not trusted ends it before a credential is shown.
    let said = must_fail(&mut scene.image("inspect", &scene.name("v1"), &[&auth]));
    assert!(!said.contains("hunter2"), "{said}");
    assert!(said.contains("invalid peer certificate") && said.contains("--ca"), "{said}");
}

#[test]
fn the_digest_that_is_told_is_the_registrys() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    scene.publish("v1", &["provider:holdfast:old"]);
    let said = must(&mut scene.image("rewrap", &scene.name("v1"), &["--json", "--add", "holdfast:new"]));
    let mut inspect = scene.peers.skopeo();
    inspect.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"]).arg(scene.name("v1"));
    assert_eq!(succeeds(inspect).trim(), digest(&said));
}
