//! Images on their way into a registry, stopped in the middle of a layer: no tag leads to a part, the old image stays
//! what it was, and running again finishes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use holdfast_e2e::image;
use holdfast_e2e::must;
use holdfast_e2e::peers::PATIENCE;
use hsm_sim::Process;
use rustix::process::Signal;

use super::transfer::{Scene, TO};

/// A way to a server that passes so many bytes there, and no more until it is let go.
pub(super) struct Held {
    pub(super) address: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

struct State {
    to_pass: usize,
    let_go: bool,
}

impl Held {
    pub(super) fn way_to(server: &str, after: usize) -> Held {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new((Mutex::new(State { to_pass: after, let_go: false }), Condvar::new()));
        let (server, shared) = (server.to_owned(), state.clone());
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).unwrap();
                let back = (server.try_clone().unwrap(), caller.try_clone().unwrap());
                let state = shared.clone();
                std::thread::spawn(move || pass(back.0, back.1, |_| {}));
                std::thread::spawn(move || {
                    pass(caller, server, |read| {
                        let (lock, changed) = &*state;
                        let mut state = lock.lock().unwrap();
                        state.to_pass = state.to_pass.saturating_sub(read);
                        drop(changed.wait_while(state, |state| state.to_pass == 0 && !state.let_go));
                    });
                });
            }
        });
        Held { address, state }
    }

    fn holds(&self) -> bool {
        self.state.0.lock().unwrap().to_pass == 0
    }

    pub(super) fn let_go(&self) {
        self.state.0.lock().unwrap().let_go = true;
        self.state.1.notify_all();
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, before_each: impl Fn(usize)) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        before_each(read);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other side may have ended it already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// In the middle of the first layer.
pub(super) const MIDDLE: usize = 30_000;

/// Runs `holdfast image VERB` to the middle of a layer, sends the signal there, and gives what it said.
fn stopped(
    scene: &Scene,
    verb: &str,
    from: &str,
    repository: &str,
    options: &[&str],
    signal: Signal,
) -> String {
    let way = Held::way_to(scene.registry.address(), MIDDLE);
    let through = |name: &str| name.replace(scene.registry.address(), &way.address);
    let command = scene.image(verb, &through(from), &through(&scene.name(repository)), options);
    let process = Process::spawn(command, "holdfast").unwrap();
    let mut process = process.ready_when(PATIENCE, |_| way.holds()).unwrap();
    process.signal(signal).unwrap();
    if signal == Signal::KILL {
        process.wait(PATIENCE).unwrap();
    }
    way.let_go();
    assert!(!process.wait(PATIENCE).unwrap().success());
    process.stderr_text()
}

#[test]
fn a_signal_in_the_middle_of_a_layer_takes_everything_back() {
    let scene = Scene::new();
    let plain = image::oci(&scene.plain);
    for (number, signal) in [Signal::INT, Signal::TERM, Signal::HUP].into_iter().enumerate() {
        let app = format!("app-{number}");
        let said = stopped(&scene, "encrypt", &plain, &format!("{app}:v1"), &TO, signal);
        assert_eq!(said, "holdfast: interrupted; nothing was written\n");
        scene.has_nothing(&app);
    }
    must(&mut scene.image("encrypt", &plain, &scene.name("app-0:v1"), &TO));
    scene.skopeo_opens("app-0:v1");
}

#[test]
fn a_process_that_is_killed_in_the_middle_of_a_layer_leaves_no_tag() {
    let scene = Scene::new();
    let plain = image::oci(&scene.plain);
    stopped(&scene, "encrypt", &plain, "app:v1", &TO, Signal::KILL);
    assert!(scene.tags("app").is_empty());
    must(&mut scene.image("encrypt", &plain, &scene.name("app:v1"), &TO));
    scene.skopeo_opens("app:v1");
    // Opened into the registry, and not.
    stopped(&scene, "decrypt", &scene.name("app:v1"), "opened:v1", &[], Signal::KILL);
    assert!(scene.tags("opened").is_empty());
    must(&mut scene.image("decrypt", &scene.name("app:v1"), &scene.name("opened:v1"), &[]));
    scene.is_plain("opened:v1");
}

#[test]
fn an_image_that_was_to_be_encrypted_anew_in_its_place_stays_what_it_was() {
    let scene = Scene::new();
    must(&mut scene.image("encrypt", &image::oci(&scene.plain), &scene.name("app:v1"), &TO));
    let before = scene.leads_to("app", "v1");
    let anew = ["--reencrypt", "--to", "holdfast:images"];
    for signal in [Signal::INT, Signal::KILL] {
        // Onto itself.
        stopped(&scene, "rewrap", &scene.name("app:v1"), "app:v1", &anew, signal);
        assert_eq!(scene.leads_to("app", "v1"), before);
        scene.skopeo_opens("app:v1");
    }
    must(&mut scene.image("rewrap", &scene.name("app:v1"), &scene.name("app:v1"), &anew));
    assert_ne!(scene.leads_to("app", "v1"), before);
    scene.skopeo_opens("app:v1");
}
