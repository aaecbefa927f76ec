//! Debian 13's programs, run in a root of their own beside the daemon they call.
//!
//! The root (`scripts/debian-root`) is shared and read-only: each run mounts what it needs of it in a
//! namespace of its own (`scripts/in-debian-root`), which takes everything away with it, and neither
//! needs root nor leaves anything to clean up. What a run has in common with the test is its scratch
//! directory, at the same path, and the machine's network.

pub mod containerd;
pub mod decoder;
pub mod registry;
pub mod tokens;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use hsm_sim::Process;

use crate::house::{House, file, me};
use crate::{image, must};

/// No run of a peer in these tests takes longer; ocicrypt itself has no deadline.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Puts the root together and becomes the program: same process, so ending it ends the program.
pub(crate) const ENTER: &str = "in-debian-root";

/// The peers of one house's daemon.
pub struct Peers {
    scratch: PathBuf,
    config: PathBuf,
}

/// How a peer ended.
pub struct Ran {
    /// With exit code 0.
    pub success: bool,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Peers {
    /// Peers that find the daemon on its socket, by the configuration that `holdfast setup ocicrypt` writes.
    pub fn of(house: &House) -> Peers {
        Peers::set_up(house, house.holdfast(), &[])
    }

    /// Peers that start `holdfast bridge` for each call.
    pub fn over_bridge(house: &House) -> Peers {
        // Where the peers' root has it too.
        let program = house.dir.path().join("holdfast");
        // By another process: one of ours that forks meanwhile would hold the copy open for writing, and
        // what is open for writing cannot be run (ETXTBSY).
        must(Command::new("cp").arg(crate::binary("holdfast")).arg(&program));
        let mut holdfast = Command::new(program);
        holdfast.arg("--socket").arg(house.socket());
        Peers::set_up(house, holdfast, &["--bridge"])
    }

    /// Peers that find the daemon by this entry of ocicrypt's configuration, which nothing of ours writes.
    pub fn configured(house: &House, entry: &serde_json::Value) -> Peers {
        let scratch = house.dir.path().to_owned();
        let providers = serde_json::json!({"key-providers": {"holdfast": entry}});
        let config = file(&scratch, "ocicrypt-tcp.conf", providers.to_string());
        Peers { scratch, config }
    }

    fn set_up(house: &House, mut holdfast: Command, options: &[&str]) -> Peers {
        let scratch = house.dir.path().to_owned();
        let config = scratch.join("ocicrypt.conf");
        must(holdfast.args(["setup", "ocicrypt", "--file"]).arg(&config).args(options));
        Peers { scratch, config }
    }

    /// One of their programs.
    pub fn command(&self, program: &str) -> Command {
        self.command_of(TRIXIE, program)
    }

    /// podman, of Debian's next release, with images and containers of its own. Its configuration is
    /// `containers.conf` in the scratch directory.
    pub fn podman(&self) -> Command {
        let mut command = self.command_of(FORKY, "podman");
        for (option, name) in [("--root", "storage"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.scratch.join("podman").join(name));
        }
        command
            .args(["--storage-driver", "vfs", "--events-backend", "none"])
            .args(["--cgroup-manager", "cgroupfs", "--runtime", "runc"])
            .env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1")
            .env("HOME", &self.scratch)
            .env("TMPDIR", &self.scratch)
            .env("CONTAINERS_CONF", self.scratch.join("containers.conf"));
        command
    }

    /// For a container of podman's, which would leave one.
    pub fn control_group(&self) -> ControlGroup {
        let name = self.scratch.file_name().expect("a name").to_string_lossy();
        ControlGroup(format!("/holdfast-{}-podman", name.trim_start_matches('.')))
    }

    fn command_of(&self, release: &'static str, program: &str) -> Command {
        let mut command = hsm_sim::command("unshare", "util-linux").expect("unshare");
        command.arg("--mount");
        if me() != 0 {
            command.args(["--user", "--map-root-user"]);
        }
        command.arg("--").arg(script(ENTER)).arg(root(release)).arg(&self.scratch).arg(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("OCICRYPT_KEYPROVIDER_CONFIG", &self.config);
        command
    }

    /// skopeo, with what it needs to run without a configuration of the machine.
    pub fn skopeo(&self) -> Command {
        let mut command = self.command("skopeo");
        command.arg("--insecure-policy");
        command
    }

    /// skopeo encrypts `from:v1` to `to:v1`, all layers.
    pub fn wrap(&self, from: &Path, to: &Path, keys: &[&str]) -> Command {
        let mut command = self.skopeo();
        command.arg("copy");
        for key in keys {
            command.args(["--encryption-key", key]);
        }
        command.arg(image::oci(from)).arg(image::oci(to));
        command
    }

    /// skopeo decrypts `from:v1` to `to:v1`.
    pub fn unwrap(&self, from: &Path, to: &Path, keys: &[&str]) -> Command {
        let mut command = self.skopeo();
        command.arg("copy");
        for key in keys {
            command.args(["--decryption-key", key]);
        }
        command.arg(image::oci(from)).arg(image::oci(to));
        command
    }

    /// The scratch directory, theirs and the test's.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }
}

/// A control group; gone when dropped.
pub struct ControlGroup(String);

impl ControlGroup {
    /// Its path.
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        crate::node::space::remove(&self.0);
    }
}

/// Runs a peer to its end.
pub fn run(command: Command) -> Ran {
    let mut process = Process::spawn(command, "the peer").expect("a peer");
    let status = process.wait(PATIENCE).expect("an end");
    Ran { success: status.success(), out: process.stdout_text(), err: process.stderr_text() }
}

/// Runs one that must succeed, and gives what it printed.
pub fn succeeds(command: Command) -> String {
    let line = line(&command);
    let ran = run(command);
    assert!(ran.success, "{line} failed:\n{}{}", ran.out, ran.err);
    ran.out
}

/// Runs one that must fail, and gives what it complained of.
pub fn fails(command: Command) -> String {
    let line = line(&command);
    let ran = run(command);
    assert!(!ran.success, "{line} succeeded:\n{}{}", ran.out, ran.err);
    ran.err
}

/// The peer's own command line.
fn line(command: &Command) -> String {
    let ours = |argument: &&std::ffi::OsStr| !argument.to_string_lossy().ends_with(ENTER);
    let words = command.get_args().skip_while(ours).skip(3);
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A file of Debian 13's root, by its path there, which starts with no slash.
pub fn debian_file(path: &str) -> PathBuf {
    root(TRIXIE).join(path)
}

/// The release of Debian that the peers are from.
const TRIXIE: &str = "trixie";
/// The one that podman is from.
const FORKY: &str = "forky";

/// A release's root, made now if this machine has none yet.
pub(crate) fn root(release: &'static str) -> PathBuf {
    static ROOTS: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let known = |roots: &BTreeMap<&str, PathBuf>| roots.get(release).cloned();
    if let Some(root) = known(&ROOTS.lock().expect("a lock")) {
        return root;
    }
    // Not under the lock: two roots can be made side by side, and of one release the script makes one.
    let root = PathBuf::from(must(Command::new(script("debian-root")).arg(release)).trim_end());
    ROOTS.lock().expect("a lock").insert(release, root.clone());
    root
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name)
}
