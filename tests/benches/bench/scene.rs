//! A token with one key, a daemon before it, and packets for it.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_e2e::house::{Daemon, House};
use holdfast_e2e::{kmip, tpm};
use holdfast_wire::PublicKey;
use hsm_sim::{KeyKind, Pykmip, Swtpm};

use crate::bare::{self, Bare, Way};
use crate::cores::Apart;
use crate::load::{self, Connections, Load, Until};
use crate::process::cpu_seconds;
use crate::stock::Stock;

/// The key's name in the token, and its alias.
const KEY: &str = "images";
/// What a TPM's key is bound to.
const PCR: u8 = 7;
/// Calls that let the daemon connect, log in and look at the key.
const WARM_UP: usize = 64;

/// Everything stands and has answered once.
pub(crate) struct Scene {
    /// The daemon's process.
    pub(crate) daemon: Daemon,
    house: House,
    stock: Stock,
    input: PathBuf,
    operation: &'static str,
    way: Way,
    _behind: Behind,
}

/// What serves besides the house's own token, for as long as the scene.
#[derive(Default)]
struct Behind {
    _swtpm: Option<Swtpm>,
    _pykmip: Option<(Pykmip, Apart)>,
}

/// One round of the daemon, with what it cost.
pub(crate) struct Ours {
    /// Calls and their latencies.
    pub(crate) load: Load,
    /// CPU time of the daemon for one call, in microseconds.
    pub(crate) daemon_cpu: f64,
    /// CPU time of this process, the callers, for one call, in microseconds.
    pub(crate) callers_cpu: f64,
}

impl Scene {
    /// A key on a PKCS#11 token, with the audit log in the scene's scratch directory.
    pub(crate) fn new(kind: KeyKind) -> Scene {
        Scene::pkcs11(House::new().key(KEY, kind))
    }

    /// With the audit log elsewhere.
    pub(crate) fn with_audit(kind: KeyKind, file: PathBuf) -> Scene {
        Scene::pkcs11(House::new().key(KEY, kind).audit_file(file))
    }

    /// A key in a TPM that has its storage key where it is by convention; bound to a PCR.
    pub(crate) fn in_tpm(algorithm: &str) -> Scene {
        let swtpm = Swtpm::start().expect("swtpm");
        let house = tpm::section(House::new(), &swtpm.tcti(), "");
        swtpm.provision().expect("a storage key");
        let options = ["--algorithm", algorithm, "--pcrs", &format!("sha256:{PCR}")];
        let (house, public) = tpm::make(house, KEY, &options);
        let pem = std::fs::read_to_string(public).expect("the key's public half");
        let public = PublicKey::from_pem(&pem).expect("PEM");
        let way = Way::tpm(&swtpm.tcti(), &tpm::key_file(&house, KEY), PCR);
        Scene::of(house, &public, way, Behind { _swtpm: Some(swtpm), ..Behind::default() })
    }

    /// An AES-256 key in a KMIP server, which was brought there so that packets can be sealed to it without asking.
    /// The server has a core of its own.
    pub(crate) fn in_kmip(workers: usize) -> Scene {
        const KID: &str = "images-kid";
        let (server, apart) = Apart::from(|| Pykmip::start().expect("PyKMIP"));
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).expect("random");
        let id = server.register_aes(KEY, &key).expect("a key");
        let house = kmip::section(House::new(), &server, &format!("workers = {workers}"));
        let house = kmip::configure(house, KEY, &format!("kid = \"{KID}\"\nallow_extractable = true"));
        let (stock, way) = (Stock::of_aes(&key, KID), Way::kmip(&server, &id));
        Scene::with(house, stock, "gcm", way, Behind { _pykmip: Some((server, apart)), ..Behind::default() })
    }

    fn pkcs11(house: House) -> Scene {
        let (public, way) = (house.public_key(KEY), Way::pkcs11(&house, KEY));
        Scene::of(house, &public, way, Behind::default())
    }

    fn of(house: House, public: &PublicKey, way: Way, behind: Behind) -> Scene {
        let operation = if matches!(public, PublicKey::Rsa(_)) { "oaep" } else { "ecdh" };
        Scene::with(house, Stock::new(public), operation, way, behind)
    }

    fn with(house: House, stock: Stock, operation: &'static str, way: Way, behind: Behind) -> Scene {
        let input = house.dir.path().join("sealed");
        std::fs::write(&input, &stock.sealed).expect("a file");
        let daemon = house.start();
        let scene = Scene { daemon, house, stock, input, operation, way, _behind: behind };
        scene.ours(4, Connections::New, Until::Calls(WARM_UP));
        scene
    }

    /// Calls the daemon.
    pub(crate) fn ours(&self, callers: usize, connections: Connections, until: Until) -> Ours {
        let cpu = || (cpu_seconds(self.daemon.id()), cpu_seconds(std::process::id()));
        let before = cpu();
        let load = load::drive(&self.house.socket(), &self.stock, callers, connections, until);
        let after = cpu();
        let each = |seconds: f64| seconds * 1e6 / load.latencies.len() as f64;
        let (daemon_cpu, callers_cpu) = (each(after.0 - before.0), each(after.1 - before.1));
        Ours { load, daemon_cpu, callers_cpu }
    }

    /// Calls the token itself, without the daemon.
    pub(crate) fn bare(&self, threads: usize, time: Duration) -> Bare {
        self.run_bare(threads, time, false)
    }

    /// The same, by a program that keeps nothing from one call to the next.
    pub(crate) fn bare_and_fresh(&self, threads: usize, time: Duration) -> Bare {
        self.run_bare(threads, time, true)
    }

    fn run_bare(&self, threads: usize, time: Duration, fresh: bool) -> Bare {
        bare::run(&bare::Asked {
            way: &self.way,
            operation: self.operation,
            input: &self.input,
            record: self.stock.record,
            threads,
            time,
            fresh,
        })
    }
}
