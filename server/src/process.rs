//! What this process must not leave behind: core dumps, and memory that others may read; and noise.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// No core dump, no ptrace by other processes of the same user, no new privileges.
pub fn harden() -> std::io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// tpm2-tss writes lines of its own to stderr for each command that a TPM refuses, a damaged packet's included,
/// unless its environment forbids it. A process cannot change its environment safely, so it starts itself anew
/// with another one, under the same id. Where that fails the noise stays. To be called before anything else.
pub fn silence_tpm2_tss() {
    const SWITCH: &str = "TSS2_LOG";
    if !cfg!(feature = "tpm") || std::env::var_os(SWITCH).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let mut anew = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        anew.arg0(name);
    }
    let _failed = anew.args(arguments).env(SWITCH, "all+NONE").exec();
}
