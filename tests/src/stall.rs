//! A token that hangs, by SoftHSM's own locking: it takes a lock on its files before it reads them, and
//! waits for one that somebody else holds.

use std::fs::{self, File};
use std::path::Path;

use hsm_sim::SoftHsm;
use rustix::fs::{FlockOperation, fcntl_lock};

/// As long as it lives, whatever the token is asked for does not end.
pub struct Stall {
    _locked: Vec<File>,
}

impl Stall {
    /// Begins.
    pub fn of(hsm: &SoftHsm) -> Stall {
        let mut locked = Vec::new();
        lock_all(&hsm.dir().join("tokens"), &mut locked);
        assert!(!locked.is_empty(), "no token to stall");
        Stall { _locked: locked }
    }
}

fn lock_all(dir: &Path, locked: &mut Vec<File>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            lock_all(&path, locked);
        } else {
            let file = File::options().read(true).write(true).open(&path).expect("a file of the token");
            fcntl_lock(&file, FlockOperation::LockExclusive).expect("a lock");
            locked.push(file);
        }
    }
}
