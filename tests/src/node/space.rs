//! Where a node runs: a release's root, as `scripts/in-debian-root` puts it together, in a mount and a
//! process namespace whose first process does nothing. Others enter. When the first ends, the kernel ends
//! all of them, shims and containers included, and takes the mounts away.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use hsm_sim::Process;

use crate::house::{PATIENCE, me};
use crate::must;
use crate::peers::{ENTER, root, script};

/// The first process reaps whom others leave behind, and ends when it is asked to.
const FIRST: &str = r"trap 'exit 0' TERM; echo entered; while :; do sleep 2147483647 & wait; done";

/// Namespaces with a release's root; gone when dropped.
pub(super) struct Space {
    process: Process,
    /// The first process of the namespaces, by its id outside.
    first: u32,
    cgroup: String,
}

impl Space {
    /// Makes them, with `scratch` at the same path.
    pub(super) fn open(release: &'static str, scratch: &Path) -> Space {
        assert_eq!(me(), 0, "containerd needs root: run the tests as root");
        // Also when this test dies without a drop.
        let mut command = hsm_sim::command("setpriv", "util-linux").expect("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(script(ENTER))
            .arg(root(release))
            .arg(scratch)
            .args(["sh", "-c", FIRST]);
        environment(&mut command);
        let process = Process::spawn(command, "unshare").expect("a space");
        let entered = |process: &Process| process.stdout_text().contains("entered");
        let process = process.ready_when(PATIENCE, entered).expect("a space");
        let children = format!("/proc/{0}/task/{0}/children", process.id());
        let children = fs::read_to_string(children).expect("the first process");
        let first = children.trim().parse().expect("one process");
        let name = scratch.file_name().expect("a name").to_string_lossy();
        let cgroup = format!("/holdfast-{}-{release}", name.trim_start_matches('.'));
        Space { process, first, cgroup }
    }

    /// A program in there.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = hsm_sim::command("nsenter", "util-linux").expect("nsenter");
        command.arg("--target").arg(self.first.to_string());
        command.args(["--mount", "--pid", "--root", "--wd", "--"]).arg(program);
        environment(&mut command);
        command
    }

    /// Lets its programs write to /etc, for this space alone.
    pub(super) fn make_etc_its_own(&self) {
        const OVER: &str = "mkdir -p /run/etc/upper /run/etc/work && mount -t overlay etc \
            -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc";
        must(self.command("sh").args(["-c", OVER]));
    }

    pub(super) fn processes(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/ns/pid", self.first)).expect("the first process")
    }

    pub(super) fn cgroup(&self) -> &str {
        &self.cgroup
    }
}

fn environment(command: &mut Command) {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
}

impl Drop for Space {
    fn drop(&mut self) {
        // Its end is the end of all: the kernel lets the first process go last.
        let _ = self.process.terminate(PATIENCE);
        remove(&self.cgroup);
    }
}

/// Takes a control group away, in every hierarchy. Control groups are of no namespace, and those of the dead
/// may stay occupied for a moment.
pub(crate) fn remove(cgroup: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !hierarchies().iter().all(|dir| removed(&dir.join(&cgroup[1..]))) {
        if Instant::now() > deadline {
            break;
        }
        std::thread::yield_now();
    }
}

/// Where control groups are: one hierarchy, or one for each controller.
fn hierarchies() -> Vec<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup");
    let each = fs::read_dir(&top).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> = each.filter(|path| path.join("cgroup.procs").exists()).collect();
    all.push(top);
    all
}

/// Removes a control group and those in it, if they are empty.
fn removed(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            removed(&entry.path());
        }
    }
    match fs::remove_dir(group) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
