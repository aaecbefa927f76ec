//! Several things at a time: where the time goes to a registry's answers, nobody waits for one before he asks for the next.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use holdfast_e2e::{image, must};

use super::transfer::{Scene, TO};

/// Less than the minute after which a request that has no answer is sent again, and would meet itself.
const ALONE: Duration = Duration::from_secs(30);

/// A way to a server on which the first requests that begin so wait for each other.
struct Meeting {
    address: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    come: usize,
    alone: bool,
}

impl Meeting {
    /// Two of them have to be under way at once; what names this digest is none.
    fn way_to(server: &str, request: &'static str, but: &str) -> Meeting {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let (server, but, shared) = (server.to_owned(), but.to_owned(), state.clone());
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).unwrap();
                let back = (server.try_clone().unwrap(), caller.try_clone().unwrap());
                let (but, state) = (but.clone(), shared.clone());
                std::thread::spawn(move || pass(back.0, back.1, |_| {}));
                std::thread::spawn(move || {
                    pass(caller, server, |sent| {
                        let line = sent.split(|&byte| byte == b'\r').next().unwrap_or_default();
                        let line = String::from_utf8_lossy(line);
                        if line.starts_with(request) && !line.contains(&but) {
                            meet(&state);
                        }
                    });
                });
            }
        });
        Meeting { address, state }
    }

    /// Whether nobody waited in vain.
    fn has_been(&self) -> bool {
        let state = self.state.0.lock().unwrap();
        state.come >= 2 && !state.alone
    }
}

fn meet((state, changed): &(Mutex<State>, Condvar)) {
    let mut state = state.lock().unwrap();
    state.come += 1;
    changed.notify_all();
    let (mut state, waited) =
        changed.wait_timeout_while(state, ALONE, |state| state.come < 2 && !state.alone).unwrap();
    state.alone |= waited.timed_out();
}

fn pass(mut from: TcpStream, mut to: TcpStream, before_each: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        before_each(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other side may have ended it already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Runs it, with every name of the registry's leading through a meeting of two such requests.
fn meets(scene: &Scene, request: &'static str, verb: &str, arguments: &[&str]) -> String {
    // It is read first, and alone.
    let config = image::manifest(&scene.plain)["config"]["digest"].as_str().unwrap().to_owned();
    let meeting = Meeting::way_to(scene.registry.address(), request, &config);
    let arguments: Vec<String> =
        arguments.iter().map(|one| one.replace(scene.registry.address(), &meeting.address)).collect();
    let mut command = scene.holdfast();
    let said = must(command.args(["image", verb]).args(arguments));
    assert!(meeting.has_been(), "{verb}: one {request} after the other");
    said
}

#[test]
fn layers_are_moved_side_by_side() {
    let scene = Scene::new();
    let (plain, opened) = (image::oci(&scene.plain), image::oci(&scene.layout("opened")));
    let name = |image| scene.name(image);
    let up = "POST /v2/app/blobs/uploads/";
    let down = "GET /v2/app/blobs/sha256:";
    meets(&scene, up, "encrypt", &[&plain, &name("app:v1"), TO[0], TO[1], "--jobs", "2"]);
    meets(&scene, "POST /v2/opened/", "decrypt", &[&name("app:v1"), &name("opened:v1")]);
    meets(&scene, down, "rewrap", &[&name("app:v1"), "--reencrypt", TO[0], TO[1], "--jobs", "2"]);
    meets(&scene, down, "decrypt", &[&name("app:v1"), &opened, "--jobs", "2"]);
    assert!(image::same_layers(&scene.plain, &scene.layout("opened")));
}

#[test]
fn tags_are_read_and_rewrapped_side_by_side() {
    let scene = Scene::new();
    for tag in ["app:v1", "app:v2"] {
        must(&mut scene.image("encrypt", &image::oci(&scene.plain), &scene.name(tag), &TO));
    }
    let place = format!("{}/app", scene.registry.address());
    let said = meets(&scene, "GET /v2/app/manifests/v", "inventory", &[&place]);
    assert!(said.ends_with("2 tags in 1 repository, all read\n"), "{said}");
    let key = concat!("jwe:", env!("CARGO_MANIFEST_DIR"), "/vectors/keys/rsa3072.pub.pem");
    let all = [&*format!("docker://{place}"), "--all-tags", "--add", key];
    for verb in ["GET /v2/app/manifests/v", "PUT /v2/app/manifests/v"] {
        let again = if verb.starts_with("PUT") { [all[0], all[1], "--to", TO[1]] } else { all };
        let said = meets(&scene, verb, "rewrap", &again);
        assert_eq!(said.matches(": 3 of 3 layers re-wrapped\n").count(), 2, "{said}");
        // In the order of the tags, whichever was done first.
        assert!(said.find("app:v1 is") < said.find("app:v2 is"), "{said}");
    }
    scene.skopeo_opens("app:v1");
    scene.skopeo_opens("app:v2");
}
