//! Workers that connect all at once, in a process of their own: this program, started once more.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Barrier;

use holdfast_custody::PinLatch;
use holdfast_pkcs11::{Config, PinSource, Token};

/// Holds the scene in the environment of the process that plays it: one field a line.
pub(crate) const NAME: &str = "HOLDFAST_TEST_SCENE";

#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) module: PathBuf,
    pub(crate) token: String,
    pub(crate) pin: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) workers: usize,
}

/// Has the scene played, and gives what each worker was answered: "ok" or the error.
pub(crate) fn run(scene: &Scene, environment: &[(&'static str, OsString)]) -> Vec<String> {
    let text = format!(
        "{}\n{}\n{}\n{}\n{}",
        scene.module.display(),
        scene.token,
        scene.pin.display(),
        scene.state.display(),
        scene.workers
    );
    let output = Command::new(std::env::current_exe().unwrap())
        .env(NAME, text)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Plays it, in the process made for it.
pub(crate) fn play(scene: impl AsRef<OsStr>) {
    let text = scene.as_ref().to_str().unwrap();
    let [module, uri, pin, state, workers] = text.lines().collect::<Vec<_>>().try_into().unwrap();
    let token = Token::new(Config {
        module: module.into(),
        uri: uri.parse().unwrap(),
        pin: PinSource::File(pin.into()),
        latch: PinLatch::new(state.as_ref(), uri),
    });
    let workers: usize = workers.parse().unwrap();
    let at_once = Barrier::new(workers);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let connect = || {
            at_once.wait();
            let connection = token.connect();
            // All stay connected until the last is: closing the last session logs out.
            at_once.wait();
            match connection {
                Ok(_) => "ok".to_owned(),
                Err(error) => format!("{error:?}"),
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(connect)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    #[allow(clippy::print_stdout)] // this is how it answers
    for answer in answers {
        println!("{answer}");
    }
}
