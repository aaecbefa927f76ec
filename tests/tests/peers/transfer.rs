//! Images that are encrypted and decrypted straight in a registry, with skopeo on the other side.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_e2e::counted::Counted;
use holdfast_e2e::house::{Daemon, House};
use holdfast_e2e::peers::registry::Registry;
use holdfast_e2e::peers::{PATIENCE, Peers, succeeds};
use holdfast_e2e::stall::Stall;
use holdfast_e2e::{image, must, must_fail};
use hsm_sim::{KeyKind, Process};

/// A registry, and a daemon with one key.
pub(super) struct Scene {
    house: House,
    peers: Peers,
    pub(super) registry: Registry,
    pub(super) plain: PathBuf,
    _daemon: Daemon,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let house = House::new().key("images", KeyKind::Rsa3072);
        let peers = Peers::of(&house);
        let plain = image::build(house.dir.path(), 3);
        let registry = Registry::start(&peers);
        let daemon = house.start();
        Scene { house, peers, registry, plain, _daemon: daemon }
    }

    pub(super) fn name(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.registry.address())
    }

    pub(super) fn layout(&self, name: &str) -> PathBuf {
        self.house.dir.path().join(name)
    }

    /// `holdfast`, without credentials of the machine's.
    pub(super) fn holdfast(&self) -> Command {
        let mut command = self.house.holdfast();
        command.env("HOME", self.house.dir.path()).env_remove("XDG_RUNTIME_DIR");
        command
    }

    /// `holdfast image VERB FROM TO OPTIONS`.
    pub(super) fn image(&self, verb: &str, from: &str, to: &str, options: &[&str]) -> Command {
        let mut command = self.holdfast();
        command.args(["image", verb, from, to]).args(options);
        command
    }

    fn skopeo(&self, from: &str, to: &str, options: &[&str]) {
        let mut copy = self.peers.skopeo();
        copy.args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false"]).args(options);
        copy.arg(from).arg(to);
        succeeds(copy);
    }

    /// skopeo opens it through the daemon, to what it was.
    pub(super) fn skopeo_opens(&self, image: &str) {
        let opened = self.layout("opened-by-skopeo");
        let _ = std::fs::remove_dir_all(&opened);
        self.skopeo(&self.name(image), &image::oci(&opened), &["--decryption-key", "provider:holdfast"]);
        assert!(image::same_layers(&self.plain, &opened), "{image}");
        assert_eq!(image::manifest(&self.plain)["config"], image::manifest(&opened)["config"]);
    }

    /// The image is in the registry, not encrypted, and is what it was.
    pub(super) fn is_plain(&self, image: &str) {
        let copied = self.layout("copied");
        let _ = std::fs::remove_dir_all(&copied);
        self.skopeo(&self.name(image), &image::oci(&copied), &[]);
        assert!(image::same_layers(&self.plain, &copied), "{image}");
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.layout("registry/docker/registry/v2/repositories").join(name)
    }

    pub(super) fn tags(&self, repository: &str) -> Vec<String> {
        entries(&self.repository(repository).join("_manifests/tags"))
    }

    /// The digest behind a tag.
    pub(super) fn leads_to(&self, repository: &str, tag: &str) -> String {
        let link = format!("_manifests/tags/{tag}/current/link");
        std::fs::read_to_string(self.repository(repository).join(link)).unwrap()
    }

    /// No tag of this repository, and no upload that was left.
    pub(super) fn has_nothing(&self, repository: &str) {
        assert_eq!(self.tags(repository), Vec::<String>::new());
        let uploads = self.repository(repository).join("_uploads");
        // Of one that is taken back before a byte has come docker-registry keeps the hash of nothing, and nothing else.
        let left = entries(&uploads).into_iter().filter(|upload| {
            let upload = uploads.join(upload);
            upload.join("data").exists() || upload.join("startedat").exists()
        });
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

pub(super) const TO: [&str; 2] = ["--to", "holdfast:images"];

#[test]
fn a_layout_is_encrypted_into_a_registry_and_skopeo_opens_it() {
    let scene = Scene::new();
    let plain = image::oci(&scene.plain);
    let said = must(&mut scene.image("encrypt", &plain, &scene.name("app:v1"), &TO));
    assert!(said.contains(": 3 of 3 layers encrypted to"), "{said}");
    scene.skopeo_opens("app:v1");
    // Once more, under the tag that is there.
    must(&mut scene.image("encrypt", &plain, &scene.name("app:v1"), &TO));
    scene.skopeo_opens("app:v1");
}

#[test]
fn an_image_in_a_registry_is_encrypted_to_another_and_what_stays_is_not_moved() {
    let scene = Scene::new();
    scene.skopeo(&image::oci(&scene.plain), &scene.name("plain:v1"), &[]);
    // The last of three layers is the largest.
    let counted = Counted::way_to(scene.registry.address());
    let name = |image: &str| format!("docker://{}/{image}", counted.address());
    let options = ["--to", "holdfast:images", "--layer", "0"];
    let said = must(&mut scene.image("encrypt", &name("plain:v1"), &name("app:v1"), &options));
    assert!(said.contains(": 1 of 3 layers encrypted to") && said.contains(", 2 copied"), "{said}");
    let sizes: Vec<u64> = image::manifest(&scene.plain)["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["size"].as_u64().unwrap())
        .collect();
    // The chosen layer went both ways; of the others nothing did.
    assert!(counted.bytes() < 2 * sizes[0] + 40_000, "{} bytes, layers {sizes:?}", counted.bytes());
    scene.skopeo_opens("app:v1");

    let said = must_fail(&mut scene.image("encrypt", &scene.name("plain:v1"), &scene.name("plain:v1"), &TO));
    assert!(said.contains("would stay there; name another tag or repository"), "{said}");
}

#[test]
fn what_skopeo_encrypted_is_decrypted_to_a_layout_and_to_a_registry() {
    let scene = Scene::new();
    let plain = image::oci(&scene.plain);
    scene.skopeo(&plain, &scene.name("app:v1"), &["--encryption-key", "provider:holdfast:images"]);
    let (opened, tmpdir) = (scene.layout("opened"), scene.layout("tmp"));
    std::fs::create_dir(&tmpdir).unwrap();
    let tmp = format!("--tmpdir={}", tmpdir.display());
    let said = must(&mut scene.image("decrypt", &scene.name("app:v1"), &image::oci(&opened), &[&tmp]));
    assert!(said.contains(": 3 of 3 layers decrypted with images"), "{said}");
    assert!(image::same_layers(&scene.plain, &opened));
    assert_eq!(entries(&tmpdir), Vec::<String>::new());

    must(&mut scene.image("decrypt", &scene.name("app:v1"), &scene.name("opened/app:v1"), &[&tmp]));
    scene.is_plain("opened/app:v1");
    // From a layout to a registry.
    let sealed = scene.layout("sealed");
    scene.skopeo(&scene.name("app:v1"), &image::oci(&sealed), &[]);
    must(&mut scene.image("decrypt", &image::oci(&sealed), &scene.name("from-layout:v1"), &[]));
    scene.is_plain("from-layout:v1");

    let missing = scene.layout("missing");
    let options = [&*format!("--tmpdir={}", missing.display())];
    let said = must_fail(&mut scene.image("decrypt", &scene.name("app:v1"), &scene.name("no:v1"), &options));
    assert!(said.contains("--tmpdir names another directory"), "{said}");
    scene.has_nothing("no");
}

#[test]
fn an_image_that_none_of_the_keys_opens_gets_no_tag() {
    let scene = Scene::new();
    let foreign = scene.layout("foreign.pem");
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys");
    std::fs::copy(vectors.join("rsa4096.pub.pem"), &foreign).unwrap();
    let to = format!("jwe:{}", foreign.display());
    scene.skopeo(&image::oci(&scene.plain), &scene.name("app:v1"), &["--encryption-key", &to]);
    let said = must_fail(&mut scene.image("decrypt", &scene.name("app:v1"), &scene.name("opened:v1"), &[]));
    assert!(said.contains("of 3 (sha256:"), "{said}");
    scene.has_nothing("opened");
}

#[test]
fn a_layer_that_was_damaged_gets_no_tag() {
    let scene = Scene::new();
    let plain = image::oci(&scene.plain);
    must(&mut scene.image("encrypt", &plain, &scene.name("app:v1"), &TO));
    // In the registry's own store, which does not look again. It has the length that it had.
    let sealed = scene.layout("sealed");
    scene.skopeo(&scene.name("app:v1"), &image::oci(&sealed), &[]);
    let layer = image::layers(&sealed)[2].replace("sha256:", "");
    let blobs = scene.layout("registry/docker/registry/v2/blobs/sha256");
    let blob = blobs.join(&layer[..2]).join(&layer).join("data");
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let said = must_fail(&mut scene.image("decrypt", &scene.name("app:v1"), &scene.name("opened:v1"), &[]));
    assert!(said.contains("layer 3 of 3") && said.contains("not that of the manifest"), "{said}");
    scene.has_nothing("opened");
}

#[test]
fn a_process_that_is_killed_leaves_no_tag() {
    let scene = Scene::new();
    let plain = image::oci(&scene.plain);
    must(&mut scene.image("encrypt", &plain, &scene.name("app:v1"), &TO));
    for verb in ["encrypt", "decrypt"] {
        let (from, to) = match verb {
            "encrypt" => (plain.clone(), scene.name("killed-encrypt:v1")),
            _ => (scene.name("app:v1"), scene.name("killed-decrypt:v1")),
        };
        let stall = Stall::of(&scene.house.hsm);
        let options: &[&str] = if verb == "encrypt" { &TO } else { &[] };
        let mut command = scene.image(verb, &from, &to, options);
        command.args(["--timeout", "60s"]);
        let process = Process::spawn(command, "holdfast").unwrap();
        // It has begun, and waits for its key.
        let mut process = process.ready_when(PATIENCE, |_| scene.house.places_taken() >= 1).unwrap();
        process.kill().unwrap();
        drop(stall);
        scene.has_nothing(&format!("killed-{verb}"));
    }
}

#[test]
fn an_image_is_rewrapped_to_another_repository_and_its_layers_are_not_moved() {
    let scene = Scene::new();
    let plain = image::oci(&scene.plain);
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys");
    let (public, private) = (vectors.join("rsa4096.pub.pem"), scene.layout("partner.pem"));
    std::fs::copy(vectors.join("rsa4096.pem"), &private).unwrap();
    must(&mut scene.image("encrypt", &plain, &scene.name("app:v1"), &TO));
    let counted = Counted::way_to(scene.registry.address());
    let name = |image: &str| format!("docker://{}/{image}", counted.address());
    let to = format!("jwe:{}", public.display());
    let said = must(&mut scene.image("rewrap", &name("app:v1"), &name("partner/app:v1"), &["--to", &to]));
    assert!(
        said.contains("partner/app:v1 is sha256:") && said.contains(": 3 of 3 layers re-wrapped"),
        "{said}"
    );
    assert!(counted.bytes() < 65_536, "{} bytes went over the wire", counted.bytes());

    let opened = scene.layout("opened");
    let key = private.to_str().unwrap();
    scene.skopeo(&scene.name("partner/app:v1"), &image::oci(&opened), &["--decryption-key", key]);
    assert!(image::same_layers(&scene.plain, &opened));
    // The image itself is as it was.
    scene.skopeo_opens("app:v1");

    let layout = image::oci(&scene.layout("new"));
    let said = must_fail(&mut scene.image("rewrap", &scene.name("app:v1"), &layout, &["--to", &to]));
    assert!(said.contains("to another place of its own registry only"), "{said}");
}

/// A way to a server on which one connection is cut, after so many bytes went to the server.
fn way_that_is_cut(server: &str, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (server, sent) = (server.to_owned(), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for caller in listener.incoming().flatten() {
            let server = TcpStream::connect(&server).unwrap();
            let back = (server.try_clone().unwrap(), caller.try_clone().unwrap());
            let sent = sent.clone();
            std::thread::spawn(move || pass(back.0, back.1, |_| true));
            std::thread::spawn(move || {
                pass(caller, server, move |read| {
                    let before = sent.fetch_add(read, Ordering::Relaxed);
                    !(before < after && before + read >= after)
                });
            });
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, go_on: impl Fn(usize) -> bool) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() || !go_on(read) {
            break;
        }
    }
    // The other side may have ended it already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_connection_that_is_lost_in_the_middle_of_a_layer_costs_nothing_but_time() {
    let scene = Scene::new();
    // In the middle of the first layer, and of each that follows.
    for (number, after) in [30_000, 70_000, 120_000].into_iter().enumerate() {
        let way = way_that_is_cut(scene.registry.address(), after);
        let to = format!("docker://{way}/cut:{number}");
        must(&mut scene.image("encrypt", &image::oci(&scene.plain), &to, &TO));
        scene.skopeo_opens(&format!("cut:{number}"));
    }
}
