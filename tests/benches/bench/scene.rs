//! A token with one key, a daemon before it, and packets for it.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_e2e::house::{Daemon, House};
use hsm_sim::KeyKind;

use crate::bare::{self, Bare};
use crate::load::{self, Connections, Load, Until};
use crate::process::cpu_seconds;
use crate::stock::Stock;

/// The key's label in the token, and its alias.
pub(crate) const KEY: &str = "images";
/// Calls that let the daemon connect, log in and look at the key.
const WARM_UP: usize = 64;

/// Everything stands and has answered once.
pub(crate) struct Scene {
    /// The daemon's process.
    pub(crate) daemon: Daemon,
    house: House,
    kind: KeyKind,
    stock: Stock,
    input: PathBuf,
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
    /// With the audit log in the scene's scratch directory.
    pub(crate) fn new(kind: KeyKind) -> Scene {
        Scene::of(House::new().key(KEY, kind), kind)
    }

    /// With the audit log elsewhere.
    pub(crate) fn with_audit(kind: KeyKind, file: PathBuf) -> Scene {
        Scene::of(House::new().key(KEY, kind).audit_file(file), kind)
    }

    fn of(house: House, kind: KeyKind) -> Scene {
        let stock = Stock::new(&house.public_key(KEY));
        let input = house.dir.path().join("sealed");
        std::fs::write(&input, &stock.sealed).expect("a file");
        let scene = Scene { daemon: house.start(), house, kind, stock, input };
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
        bare::run(&bare::Asked {
            house: &self.house,
            key: KEY,
            operation: match self.kind {
                KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => "oaep",
                KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => "ecdh",
                KeyKind::Aes256 => panic!("no bare loop for AES-GCM"),
            },
            input: &self.input,
            record: self.stock.record,
            threads,
            time,
        })
    }
}
