//! PyKMIP: a KMIP server in a process, reached over mutual TLS on a port of the loopback interface.
//!
//! It is the real server, in a virtual environment that `scripts/pykmip` makes. It speaks TLS 1.2 alone and KMIP
//! 1.0 to 2.0, and keeps its keys in a file of its directory, so that they outlive it. Whoever has made a key owns
//! it: a client of another common name does not see it.

mod environment;
mod interposer;
mod keys;
mod log;
mod message;
mod operation;
mod probe;
mod then;
mod tls;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fmt, fs};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::home::{make_private, scratch_dir};
use crate::{Authority, Credentials, Error, Leaf, Process, Recorded, port};
pub use interposer::KmipInterposer;
pub use keys::{KmipPair, Revocation};
pub use operation::KmipOperation;
use probe::Probe;
pub use then::KmipThen;

/// It is there within a second on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often another port is tried when somebody else was faster.
const TRIES: usize = 8;
/// PyKMIP's own command, and one check lifted: see there.
const LAUNCHER: (&str, &str) = ("launcher.py", include_str!("../pykmip/launcher.py"));
/// PyKMIP's own client, told by JSON what to do.
const CLIENT: (&str, &str) = ("client.py", include_str!("../pykmip/client.py"));

/// A version of KMIP that PyKMIP has: major and minor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version([u8; 2]);

/// What is not as PyKMIP is by itself.
#[derive(Debug, Clone, Default)]
struct Manner {
    rsa: bool,
    /// None for all that it has.
    versions: Option<Vec<Version>>,
}

/// What a server is started with.
#[derive(Debug, Clone)]
struct Setup {
    database: PathBuf,
    manner: Manner,
    authority: Authority,
    server: Credentials,
    client: Credentials,
}

/// A running server. Dropping it kills it, and the processes that it has started.
#[derive(Debug)]
pub struct Pykmip {
    dir: PathBuf,
    port: u16,
    setup: Setup,
    probe: Probe,
    process: Process,
    _scratch: Option<TempDir>,
}

impl Pykmip {
    /// In a scratch directory (mode 0700) that is removed on drop, as PyKMIP is: private keys do not decrypt.
    pub fn start() -> Result<Pykmip, Error> {
        Pykmip::scratch(Manner::default())
    }

    /// As [`Pykmip::start`], but RSA keys decrypt too: PKCS #1 v1.5, and OAEP with the hash that is asked for in
    /// both of its places.
    pub fn with_rsa() -> Result<Pykmip, Error> {
        Pykmip::scratch(Manner { rsa: true, versions: None })
    }

    /// As [`Pykmip::with_rsa`], but it speaks these versions of KMIP alone, given as major and minor.
    pub fn speaking(versions: &[[u8; 2]]) -> Result<Pykmip, Error> {
        let versions = versions.iter().copied().map(Version).collect();
        Pykmip::scratch(Manner { rsa: true, versions: Some(versions) })
    }

    /// In `dir`, which is made (mode 0700) if it is not there, and stays; as [`Pykmip::with_rsa`] if `rsa`.
    pub fn start_in(dir: &Path, rsa: bool) -> Result<Pykmip, Error> {
        Pykmip::with_manner(dir, Manner { rsa, versions: None })
    }

    fn with_manner(dir: &Path, manner: Manner) -> Result<Pykmip, Error> {
        let dir = prepare(dir)?;
        let authority = Authority::new(&dir, "authority")?;
        let server = authority.issue("server", &Leaf::server("DNS:localhost,IP:127.0.0.1"))?;
        let client = authority.issue("hsm-sim", &Leaf::client())?;
        let database = dir.join("keys.sqlite");
        Pykmip::run_in(dir, Setup { database, manner, authority, server, client })
    }

    /// Another server with the same keys, for the same clients, on a port of its own: of one cluster with this one,
    /// in whose directory the keys stay.
    pub fn beside(&self) -> Result<Pykmip, Error> {
        let scratch = scratch_dir("hsm-sim-pykmip-")?;
        let mut pykmip = Pykmip::run_in(prepare(scratch.path())?, self.setup.clone())?;
        pykmip._scratch = Some(scratch);
        Ok(pykmip)
    }

    fn run_in(dir: PathBuf, setup: Setup) -> Result<Pykmip, Error> {
        let probe = Probe::new(&setup.client)?;
        let mut tries = 1;
        let (port, process) = loop {
            let port = port::free()?;
            match run(&dir, port, &setup, &probe) {
                Ok(process) => break (port, process),
                Err(Error::Ended { stderr, .. }) if tries < TRIES && stderr.contains("failed to bind") => {
                    tries += 1
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Pykmip { dir, port, setup, probe, process, _scratch: None })
    }

    /// Its directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`. Its certificate has this address, and `localhost`.
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Who issued the server's certificate and the clients' it knows: for bad certificates, and for other clients.
    pub fn authority(&self) -> &Authority {
        &self.setup.authority
    }

    /// The client `hsm-sim`, whose the [keys](Pykmip::create_aes) are.
    pub fn client(&self) -> &Credentials {
        &self.setup.client
    }

    /// What says in the environment where it is and who may ask it.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("HSM_SIM_KMIP_ADDRESS", self.address().into()),
            ("HSM_SIM_KMIP_CA", self.setup.authority.certificate().into()),
            ("HSM_SIM_KMIP_CERT", (&self.setup.client.certificate).into()),
            ("HSM_SIM_KMIP_KEY", (&self.setup.client.key).into()),
        ]
    }

    /// Its process id, which is that of its group too: its helpers are in it.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it at once. What it has stored stays.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().map(drop)
    }

    /// Starts it again on the same port, with the keys that it had stored.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.kill()?;
        self.process = run(&self.dir, self.port, &self.setup, &self.probe)?;
        Ok(())
    }

    /// Starts it again with another certificate: one that its clients must refuse, or of another authority.
    pub fn present(&mut self, server: &Credentials) -> Result<(), Error> {
        self.setup.server = server.clone();
        self.restart()
    }

    /// Makes it hang: connections are taken by the kernel, and nothing is answered.
    pub fn hang(&self) -> Result<(), Error> {
        // The process alone: those that it has started only serve it.
        self.process.stop()
    }

    /// Lets it answer again, what it was asked meanwhile included.
    pub fn go_on(&self) -> Result<(), Error> {
        self.process.signal(Signal::CONT)
    }

    /// By what a later hsm-sim ends it.
    pub(crate) fn recorded(&self) -> Result<Recorded, Error> {
        Recorded::group_of("pykmip", self.process.id())
    }

    /// Leaves it running when this is dropped.
    pub(crate) fn keep(&mut self) {
        self.process.keep();
    }

    fn scratch(manner: Manner) -> Result<Pykmip, Error> {
        let scratch = scratch_dir("hsm-sim-pykmip-")?;
        let mut pykmip = Pykmip::with_manner(scratch.path(), manner)?;
        pykmip._scratch = Some(scratch);
        Ok(pykmip)
    }
}

impl Manner {
    /// That of our own questions.
    fn version(&self) -> Version {
        self.versions.as_ref().and_then(|versions| versions.first()).cloned().unwrap_or(Version([1, 4]))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor] = self.0;
        write!(f, "{major}.{minor}")
    }
}

/// The directory, absolute, and in it that of the policies, which PyKMIP wants even when there are none.
fn prepare(dir: &Path) -> Result<PathBuf, Error> {
    make_private(dir)?;
    let dir = dir.canonicalize().map_err(Error::io("resolving", dir))?;
    // Python's configparser expands '%', and ends a value with the line.
    if dir.to_str().is_none_or(|path| path.contains(['%', '\n', '\r'])) {
        return Err(Error::directory(
            &dir,
            "cannot stand in PyKMIP's configuration: use a path in UTF-8 without '%'",
        ));
    }
    if dir.join("authority").exists() {
        return Err(Error::directory(&dir, "holds a PyKMIP already: use another"));
    }
    make_private(&dir.join("policies"))?;
    for (name, text) in [LAUNCHER, CLIENT] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    Ok(dir)
}

/// Starts the server, and waits until it has answered a request.
fn run(dir: &Path, port: u16, setup: &Setup, probe: &Probe) -> Result<Process, Error> {
    let Setup { database, manner, authority, server, .. } = setup;
    let configuration = format!(
        "[server]\nhostname={}\nport={port}\ncertificate_path={}\nkey_path={}\nca_path={}\nauth_suite=TLS1.2\n\
         policy_path={}\nenable_tls_client_auth=True\ntls_cipher_suites=\nlogging_level=INFO\ndatabase_path={}\n",
        Ipv4Addr::LOCALHOST,
        server.certificate.display(),
        server.key.display(),
        authority.certificate().display(),
        dir.join("policies").display(),
        database.display()
    );
    let conf = dir.join("server.conf");
    fs::write(&conf, configuration).map_err(Error::io("writing", &conf))?;
    let mut command = script(dir, LAUNCHER.0)?;
    if manner.rsa {
        command.arg("--rsa");
    }
    if let Some(versions) = &manner.versions {
        let versions: Vec<String> = versions.iter().map(Version::to_string).collect();
        command.arg("--versions").arg(versions.join(","));
    }
    let version = manner.version();
    command.arg("-f").arg(conf).arg("-l").arg(dir.join(log::FILE));
    Process::spawn_lasting(command, "pykmip", &dir.join(log::OUTPUT))?
        .ready_when(PATIENCE, |_| probe.answers(port, &version).is_ok())
}

/// A script of ours, in the environment that has PyKMIP, with nothing of the user's own settings.
fn script(dir: &Path, name: &str) -> Result<Command, Error> {
    let mut command = Command::new(environment::python()?);
    command.args(["-I", "-W", "ignore"]).arg(dir.join(name)).env("HOME", dir);
    Ok(command)
}
