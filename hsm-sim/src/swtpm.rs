//! swtpm: a TPM 2.0 in a process, reached over two TCP ports of the loopback interface.
//!
//! Who can connect to them has the TPM, so that it keeps nothing from the users of this machine; its state is
//! a directory of mode 0700. It has no resource manager: three keys and three sessions for everybody.

mod certificate;
mod command;
mod interposer;
mod keys;
mod then;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::home::{make_private, scratch_dir};
use crate::{Error, Process, Recorded, port, program};
pub use command::TpmCommand;
pub use interposer::Interposer;
pub use then::Then;

/// It makes its seeds at the first start, which takes a second where there is little entropy.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often another pair of ports is tried when somebody else was faster.
const TRIES: usize = 8;
/// TPM2_GetRandom of 8 bytes (TPM 2.0 Library Part 3, section 16.1), and the length of its answer's header.
const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 8];
const HEADER_LEN: usize = 10;

/// A running swtpm. Dropping it kills it.
#[derive(Debug)]
pub struct Swtpm {
    dir: PathBuf,
    port: u16,
    process: Process,
    _scratch: Option<TempDir>,
}

impl Swtpm {
    /// In a scratch directory (mode 0700) that is removed on drop. The TPM is as it left the factory.
    pub fn start() -> Result<Swtpm, Error> {
        Swtpm::scratch(Swtpm::start_in)
    }

    /// As [`Swtpm::start`], with endorsement key and platform certificates (TCG EK Credential Profile): RSA-2048,
    /// signed by an authority that is made for it. Takes a second or two.
    pub fn start_with_certificates() -> Result<Swtpm, Error> {
        Swtpm::scratch(Swtpm::start_with_certificates_in)
    }

    /// In `dir`, which is made (mode 0700) if it is not there, and stays. A TPM that is there already goes on
    /// with its state.
    pub fn start_in(dir: &Path) -> Result<Swtpm, Error> {
        prepare(dir)?;
        let dir = dir.canonicalize().map_err(Error::io("resolving", dir))?;
        let mut tries = 1;
        loop {
            let port = port::free_pair()?;
            match run(&dir, port) {
                Ok(process) => return Ok(Swtpm { dir, port, process, _scratch: None }),
                Err(Error::Ended { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Swtpm::start_with_certificates`], in `dir` as [`Swtpm::start_in`]. No TPM may be there yet: this
    /// makes a new one.
    pub fn start_with_certificates_in(dir: &Path) -> Result<Swtpm, Error> {
        let state = prepare(dir)?;
        certificate::make(dir, &state)?;
        Swtpm::start_in(dir)
    }

    /// Its directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with the certificates of its authority, PEM, of a TPM that was made with certificates.
    pub fn authority(&self) -> PathBuf {
        certificate::authority(&self.dir)
    }

    /// How programs reach it: `swtpm:host=127.0.0.1,port=…`.
    pub fn tcti(&self) -> String {
        tcti(self.port)
    }

    /// What tpm2-tools and tpm2-openssl need in their environment.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        env(self.port)
    }

    /// A command of tpm2-tools, on this TPM.
    pub fn tool(&self, name: &str) -> Result<Command, Error> {
        let mut command = program::command(name, "tpm2-tools")?;
        command.envs(self.env());
        Ok(command)
    }

    /// Extends a PCR of the SHA-256 bank with a digest of zeros, as a boot that went another way does.
    pub fn extend_pcr(&self, number: u8) -> Result<(), Error> {
        let mut extend = self.tool("tpm2_pcrextend")?;
        extend.arg(format!("{number}:sha256={}", "00".repeat(32)));
        program::run(extend, "tpm2_pcrextend").map(drop)
    }

    /// By what a later hsm-sim ends it.
    pub(crate) fn recorded(&self) -> Result<Recorded, Error> {
        Recorded::of("swtpm", self.process.id())
    }

    /// Kills it, as a power cut does. What it has stored stays.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().map(drop)
    }

    /// Starts it again on the same ports, with the state that it had stored: TPM Reset, so that PCRs and
    /// whatever was loaded are gone.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.kill()?;
        self.process = run(&self.dir, self.port)?;
        Ok(())
    }

    /// Leaves it running when this is dropped.
    pub(crate) fn keep(&mut self) {
        self.process.keep();
    }

    /// Makes it hang: it takes commands and does not answer them.
    pub fn hang(&self) -> Result<(), Error> {
        self.process.stop()
    }

    /// Lets it answer again, what it was asked meanwhile included.
    pub fn go_on(&self) -> Result<(), Error> {
        self.process.signal(Signal::CONT)
    }

    fn scratch(start: impl FnOnce(&Path) -> Result<Swtpm, Error>) -> Result<Swtpm, Error> {
        let scratch = scratch_dir("hsm-sim-swtpm-")?;
        let mut swtpm = start(scratch.path())?;
        swtpm._scratch = Some(scratch);
        Ok(swtpm)
    }
}

fn tcti(port: u16) -> String {
    format!("swtpm:host={},port={port}", Ipv4Addr::LOCALHOST)
}

fn env(port: u16) -> Vec<(&'static str, OsString)> {
    ["TPM2TOOLS_TCTI", "TPM2OPENSSL_TCTI", "HSM_SIM_TCTI"].map(|name| (name, tcti(port).into())).into()
}

/// The directory, and in it the one of the state.
fn prepare(dir: &Path) -> Result<PathBuf, Error> {
    if dir.as_os_str().as_encoded_bytes().contains(&b',') {
        return Err(Error::directory(dir, "cannot stand in swtpm's options: use a path without a comma"));
    }
    make_private(dir)?;
    let state = dir.join("state");
    make_private(&state)?;
    Ok(state)
}

fn run(dir: &Path, port: u16) -> Result<Process, Error> {
    let mut state = OsString::from("dir=");
    state.push(dir.join("state"));
    let mut command = program::command("swtpm", "swtpm")?;
    // libtss2's swtpm TCTI expects the control channel one port above the commands'.
    command
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
        .arg(state)
        .arg("--server")
        .arg(format!("type=tcp,port={port},bindaddr={}", Ipv4Addr::LOCALHOST))
        .arg("--ctrl")
        .arg(format!("type=tcp,port={},bindaddr={}", port + 1, Ipv4Addr::LOCALHOST));
    Process::spawn_lasting(command, "swtpm", &dir.join("swtpm.log"))?
        .ready_when(PATIENCE, |_| answers(port).is_ok())
}

/// The probe: it gives a random number.
fn answers(port: u16) -> std::io::Result<()> {
    let within = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    stream.write_all(&GET_RANDOM)?;
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header)?;
    match header {
        [0x80, 0x01, _, _, _, _, 0, 0, 0, 0] => Ok(()),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}
