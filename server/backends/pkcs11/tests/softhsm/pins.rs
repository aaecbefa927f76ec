//! Logins, counted by pkcs11-spy of OpenSC, which writes down every call that passes through it. Each
//! runs in a process of its own: that is what a restart of the daemon is.

use std::path::{Path, PathBuf};

use holdfast_pkcs11::{PinSource, Token};

use crate::scene::{self, Scene};
use crate::world::{World, world};

const WRONG_PIN: &str = "00000000000";

/// Where Debian and others put pkcs11-spy.
const SPIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11-spy.so",
    "/usr/lib64/pkcs11-spy.so",
    "/usr/lib/pkcs11-spy.so",
];

pub(crate) fn wrong() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let spied = Spied::new(&world, &world.wrong, dir.path());
    std::fs::write(&spied.scene.pin, WRONG_PIN).unwrap();

    let (answers, logins) = spied.play(8);
    assert_eq!(answers.len(), 8);
    for answer in &answers {
        assert!(answer.starts_with("PinRefused"), "{answer}");
        assert!(answer.contains(spied.scene.pin.to_str().unwrap()), "which file to change: {answer}");
        assert!(answer.contains(".pin-refused"), "which file to remove: {answer}");
        assert!(!answer.contains(WRONG_PIN), "{answer}");
    }
    assert_eq!(logins, 1, "one try in all");

    let (answers, logins) = spied.play(8);
    assert!(answers.iter().all(|answer| answer.starts_with("PinRefused")), "{answers:?}");
    assert_eq!(logins, 0, "none after a restart");

    // The newline is an editor's.
    std::fs::write(&spied.scene.pin, format!("{}\n", world.wrong.pin())).unwrap();
    let (answers, logins) = spied.play(8);
    assert_eq!(answers, vec!["ok"; 8]);
    assert_eq!(logins, 1, "another PIN is tried, and once");
    assert_eq!(std::fs::read_dir(&spied.scene.state).unwrap().count(), 0, "no latch is left");
}

pub(crate) fn right() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let spied = Spied::new(&world, &world.right, dir.path());
    std::fs::write(&spied.scene.pin, world.right.pin()).unwrap();
    let (answers, logins) = spied.play(8);
    assert_eq!(answers, vec!["ok"; 8]);
    assert_eq!(logins, 1);
}

pub(crate) fn none() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let mut config = world.config(&world.fresh);
    for (content, says) in [(None, "No such file"), (Some(""), "is empty"), (Some("\n"), "is empty")] {
        let pin = dir.path().join("pin");
        if let Some(content) = content {
            std::fs::write(&pin, content).unwrap();
        }
        config.pin = PinSource::File(pin);
        let error = Token::new(config.clone()).connect().err().expect("no connection").to_string();
        assert!(error.contains(says) && error.contains("/pin:"), "{error}");
    }
    // The token counted no failed try, so there was none.
    config.pin = PinSource::File(world.fresh.pin_file().into());
    Token::new(config).connect().unwrap().probe().unwrap();
}

struct Spied {
    scene: Scene,
    log: PathBuf,
    environment: Vec<(&'static str, std::ffi::OsString)>,
}

impl Spied {
    fn new(world: &World, token: &hsm_sim::Token, dir: &Path) -> Spied {
        let spy = SPIES.iter().map(PathBuf::from).find(|path| path.is_file());
        let spy = spy.expect("pkcs11-spy.so is not installed: apt-get install opensc-pkcs11");
        let state = dir.join("state");
        std::fs::create_dir(&state).unwrap();
        let log = dir.join("spy.log");
        Spied {
            scene: Scene {
                module: spy,
                token: format!("pkcs11:serial={}", token.serial()),
                pin: dir.join("pin"),
                state,
                workers: 0,
            },
            environment: vec![
                ("PKCS11SPY", world.module.clone().into()),
                ("PKCS11SPY_OUTPUT", log.clone().into()),
            ],
            log,
        }
    }

    /// What each worker was answered, and how often C_Login was called.
    fn play(&self, workers: usize) -> (Vec<String>, usize) {
        let answers = scene::run(&Scene { workers, ..self.scene.clone() }, &self.environment);
        let log = std::fs::read(&self.log).unwrap();
        std::fs::remove_file(&self.log).unwrap();
        let calls = |name: &str| {
            let log = String::from_utf8_lossy(&log).into_owned();
            log.lines().filter(|line| line.ends_with(name)).count()
        };
        assert!(calls(": C_OpenSession") >= workers, "the spy saw every worker's session");
        (answers, calls(": C_Login"))
    }
}
