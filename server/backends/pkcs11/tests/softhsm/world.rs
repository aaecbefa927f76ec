//! The SoftHSM that all trials share: its tokens, made before anything loads the module, which looks for
//! tokens only when it is initialized. Each trial that disturbs a token has one of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::session::Session;
use holdfast_custody::{Connect, Custodian, Error, Keysmith, PinLatch, Pool, Settings};
use holdfast_pkcs11::{Config, PinSource, Token};
use holdfast_wire::{KeyUri, PublicKey};
use hsm_sim::{KeyKind, SoftHsm};

pub(crate) struct World {
    /// One tool at a time: C_Login of SoftHSM writes the token's file anew, and a process that starts in
    /// that instant does not see the token at all.
    hsm: Mutex<SoftHsm>,
    pub(crate) module: PathBuf,
    /// Keeps this process logged in to `keys`, so that it does not log in while a tool starts.
    _kept: Pool,
    /// The contract suite's.
    pub(crate) contract: hsm_sim::Token,
    /// Keys of all sorts.
    pub(crate) keys: hsm_sim::Token,
    /// Where keys come and go.
    pub(crate) churn: hsm_sim::Token,
    /// Which is logged out of.
    pub(crate) logout: hsm_sim::Token,
    /// Which nobody in this process ever logs in to.
    pub(crate) fresh: hsm_sim::Token,
    /// For other processes, with a wrong PIN and with the right one.
    pub(crate) wrong: hsm_sim::Token,
    pub(crate) right: hsm_sim::Token,
    /// Two of one label.
    pub(crate) twins: [hsm_sim::Token; 2],
    /// Latches.
    pub(crate) state: tempfile::TempDir,
}

static HOME: OnceLock<PathBuf> = OnceLock::new();
static WORLD: Mutex<Option<Arc<World>>> = Mutex::new(None);

/// Says where; nothing is made until a trial asks.
pub(crate) fn enter(home: PathBuf) {
    HOME.set(home).expect("entered once");
}

/// The SoftHSM's directory goes with the process that made it; the latches' goes here.
pub(crate) fn leave() {
    drop(WORLD.lock().map(|mut world| world.take()));
}

pub(crate) fn world() -> Arc<World> {
    let mut world = WORLD.lock().unwrap_or_else(|broken| broken.into_inner());
    world.get_or_insert_with(|| Arc::new(World::make())).clone()
}

impl World {
    fn make() -> World {
        let home = HOME.get().expect("entered");
        let hsm = SoftHsm::start_in(home).unwrap();
        for (name, value) in hsm.env() {
            assert_eq!(std::env::var_os(name), Some(value), "{name} was set for another SoftHSM");
        }
        let token = |label| hsm.init_token(label).unwrap();
        let keys = token("keys");
        let state = tempfile::tempdir().unwrap();
        let [contract, churn, logout] = ["contract", "churn", "logout"].map(token);
        let [fresh, wrong, right] = ["fresh", "wrong", "right"].map(token);
        let twins = ["twin", "twin"].map(token);
        // Only now that all tokens are there may this process load the module.
        let kept = pool(config(hsm.module(), &keys, keys.pin_file(), state.path()), 1);
        wait(kept.probe(soon())).unwrap();
        World {
            contract,
            keys,
            churn,
            logout,
            fresh,
            wrong,
            right,
            twins,
            state,
            module: hsm.module().into(),
            hsm: Mutex::new(hsm),
            _kept: kept,
        }
    }

    pub(crate) fn config(&self, token: &hsm_sim::Token) -> Config {
        config(&self.module, token, token.pin_file(), self.state.path())
    }

    pub(crate) fn connect(&self, token: &hsm_sim::Token) -> Box<dyn Custodian> {
        Token::new(self.config(token)).connect().unwrap()
    }

    pub(crate) fn keysmith(&self, token: &hsm_sim::Token) -> Box<dyn Keysmith> {
        Token::new(self.config(token)).keysmith().unwrap()
    }

    pub(crate) fn pool(&self, token: &hsm_sim::Token, workers: usize) -> Pool {
        pool(self.config(token), workers)
    }

    pub(crate) fn connector(&self, token: &hsm_sim::Token, unpad: Vec<KeyUri>) -> Arc<Connect> {
        let token = Token::new(self.config(token)).unpadding(unpad);
        Arc::new(move || token.connect())
    }

    pub(crate) fn hsm(&self) -> MutexGuard<'_, SoftHsm> {
        self.hsm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn generate(&self, token: &hsm_sim::Token, label: &str, id: u8, kind: KeyKind) -> KeyUri {
        self.hsm().generate(token, label, &[id], kind).unwrap();
        key(token, label)
    }

    pub(crate) fn public(&self, token: &hsm_sim::Token, label: &str) -> PublicKey {
        PublicKey::from_pem(&self.hsm().public_key_pem(token, label).unwrap()).unwrap()
    }

    /// A session of the module's own, past the backend. Read-write, as any may read as well.
    pub(crate) fn session(&self, token: &hsm_sim::Token) -> Session {
        let module = Pkcs11::new(&self.module).unwrap();
        let until = soon();
        loop {
            let slots = module.get_all_slots().unwrap().into_iter();
            // A token that another process is just logging in to does not answer.
            let mut of_token = slots.filter(|slot| {
                module.get_token_info(*slot).is_ok_and(|found| found.serial_number() == token.serial())
            });
            match of_token.next() {
                Some(slot) => return module.open_rw_session(slot).unwrap(),
                None => assert!(Instant::now() < until, "{} is not found", token.label()),
            }
            std::thread::yield_now();
        }
    }

    /// What an operator would do by hand that hsm-sim does not.
    pub(crate) fn pkcs11_tool(&self, token: &hsm_sim::Token, args: &[&str]) {
        let hsm = self.hsm();
        let mut tool = hsm_sim::command("pkcs11-tool", "opensc").unwrap();
        tool.arg("--module").arg(hsm.module()).envs(hsm.env());
        tool.args(["--token-label", token.label(), "--login", "--pin", token.pin()]).args(args);
        let output = tool.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

pub(crate) fn config(module: &Path, token: &hsm_sim::Token, pin: &Path, state: &Path) -> Config {
    Config {
        module: module.into(),
        uri: format!("pkcs11:token={}", token.label()).parse().unwrap(),
        pin: PinSource::File(pin.into()),
        latch: PinLatch::new(state, token.label()),
    }
}

fn pool(config: Config, workers: usize) -> Pool {
    let settings = Settings { workers, queue: 16, timeout: Duration::from_secs(30) };
    let token = Token::new(config);
    Pool::start("softhsm", settings, Arc::new(move || token.connect())).unwrap()
}

pub(crate) fn key(token: &hsm_sim::Token, label: &str) -> KeyUri {
    format!("pkcs11:token={};object={label}", token.label()).parse().unwrap()
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Runs a pool's call to its end.
pub(crate) fn wait<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(call)
}

pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors")
}
