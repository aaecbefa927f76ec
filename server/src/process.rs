//! What this process must not leave behind: core dumps, and memory that others may read.

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// No core dump, no ptrace by other processes of the same user, no new privileges.
pub fn harden() -> std::io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}
