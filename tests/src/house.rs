//! A daemon on its socket with a SoftHSM token, in a directory of its own.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use holdfast_wire::PublicKey;
use hsm_sim::{KeyKind, Process, SoftHsm, Token};

use crate::{binary, must};

/// How long anything may take to be ready or to end.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A token with keys, and what a daemon of it is told.
pub struct House {
    /// The simulator.
    pub hsm: SoftHsm,
    /// Its token, labelled `prod`.
    pub token: Token,
    /// Scratch.
    pub dir: tempfile::TempDir,
    keys: u8,
    rules: String,
    extra: String,
    pin_file: PathBuf,
    module: PathBuf,
    audit_file: PathBuf,
    token_options: String,
    listen_options: String,
}

impl House {
    /// A token without keys.
    pub fn new() -> House {
        let hsm = SoftHsm::start().expect("SoftHSM");
        let token = hsm.init_token("prod").expect("a token");
        let dir = tempfile::tempdir().expect("a scratch directory");
        // Other users must get to the socket; the mode of the socket decides.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        House {
            pin_file: token.pin_file().to_owned(),
            module: hsm.module().to_owned(),
            audit_file: dir.path().join("audit.jsonl"),
            token_options: String::new(),
            listen_options: String::new(),
            hsm,
            token,
            dir,
            keys: 0,
            rules: String::new(),
            extra: String::new(),
        }
    }

    /// A key made in the token, under its label as the alias, with which the test's user may do everything.
    /// The kid of a secret key is its label with `-kid` behind it.
    pub fn key(mut self, label: &str, kind: KeyKind) -> House {
        self.keys += 1;
        self.hsm.generate(&self.token, label, &[self.keys], kind).expect("a key");
        let kid = if kind.is_secret() { format!("kid = \"{label}-kid\"") } else { String::new() };
        self.configure(label, label, &kid);
        self.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"{label}\"]", me()));
        self
    }

    /// `[[key]]` alone: an object of the token under an alias, with options.
    pub fn configure(&mut self, alias: &str, object: &str, options: &str) {
        let _ = write!(
            self.extra,
            "[[key]]\nalias = \"{alias}\"\nuri = \"pkcs11:token=prod;object={object}\"\n{options}\n"
        );
    }

    /// `[[key]]`s of one alias instead of all there were: objects of the token, each with its options.
    pub fn reconfigure(&mut self, alias: &str, keys: &[(&str, &str)]) {
        self.extra.clear();
        for (object, options) in keys {
            self.configure(alias, object, options);
        }
    }

    /// `[[allow]]` with these lines.
    pub fn allow(&mut self, lines: &str) {
        let _ = write!(self.rules, "[[allow]]\n{lines}\n");
    }

    /// Any other sections.
    pub fn section(mut self, text: &str) -> House {
        let _ = writeln!(self.extra, "{text}");
        self
    }

    /// Lines in `[[token]]`.
    pub fn token_options(mut self, lines: &str) -> House {
        self.token_options = lines.into();
        self
    }

    /// Lines in `[listen]`.
    pub fn listen_options(mut self, lines: &str) -> House {
        self.listen_options = lines.into();
        self
    }

    /// Lines in `[[token]]`, of a house whose daemon may be running.
    pub fn set_token_options(&mut self, lines: &str) {
        self.token_options = lines.into();
    }

    /// Another PIN file than the right one.
    pub fn pin_file(mut self, path: PathBuf) -> House {
        self.pin_file = path;
        self
    }

    /// Another module than SoftHSM's.
    pub fn module(mut self, path: PathBuf) -> House {
        self.module = path;
        self
    }

    /// Another audit log.
    pub fn audit_file(mut self, path: PathBuf) -> House {
        self.audit_file = path;
        self
    }

    /// The public half of a key.
    pub fn public_key(&self, label: &str) -> PublicKey {
        let pem = self.hsm.public_key_pem(&self.token, label).expect("a public key");
        PublicKey::from_pem(&pem).expect("PEM")
    }

    /// The public half in a file, as skopeo takes it.
    pub fn public_key_file(&self, label: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{label}.pub.pem"));
        fs::write(&path, self.hsm.public_key_pem(&self.token, label).expect("a public key")).expect("a file");
        path
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("keyprovider.sock")
    }

    /// The audit log's lines.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(&self.audit_file).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "half a record");
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }

    /// Writes the configuration and gives its path.
    pub fn write_config(&self) -> PathBuf {
        let path = self.dir.path().join("holdfastd.toml");
        let text = format!(
            "[listen]\nunix = \"{socket}\"\nmode = \"0666\"\n{listen}\n[state]\ndir = \"{state}\"\n[audit]\nfile = \"{audit}\"\n\
             [[token]]\nuri = \"pkcs11:token=prod\"\nmodule = \"{module}\"\npin = {{ file = \"{pin}\" }}\n{options}\n{extra}{rules}",
            socket = self.socket().display(),
            state = self.dir.path().join("state").display(),
            audit = self.audit_file.display(),
            module = self.module.display(),
            pin = self.pin_file.display(),
            options = self.token_options,
            listen = self.listen_options,
            extra = self.extra,
            rules = self.rules,
        );
        fs::write(&path, text).expect("a configuration");
        path
    }

    /// `holdfastd` with this house's configuration and token.
    pub fn holdfastd(&self) -> Command {
        let mut command = Command::new(binary("holdfastd"));
        command.arg("--config").arg(self.write_config()).envs(self.hsm.env());
        command
    }

    /// The same with other `[[allow]]` rules than the house's own.
    pub fn with_rules(&self, rules: &str) -> Command {
        let config = fs::read_to_string(self.write_config()).expect("a configuration");
        let config = config.strip_suffix(&self.rules).expect("the rules stand last");
        let path = file(self.dir.path(), "other-rules.toml", format!("{config}{rules}"));
        let mut command = Command::new(binary("holdfastd"));
        command.arg("--config").arg(path).envs(self.hsm.env());
        command
    }

    /// `holdfastd check` likewise.
    pub fn check(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("holdfastd"));
        command.arg("check").arg("--config").arg(self.write_config()).args(arguments).envs(self.hsm.env());
        command
    }

    /// `holdfast` as a client of this house.
    pub fn holdfast(&self) -> Command {
        let mut command = Command::new(binary("holdfast"));
        command.arg("--socket").arg(self.socket());
        command
    }

    /// How many requests the running daemon's token works on or has in its queue.
    pub fn places_taken(&self) -> u64 {
        let status = must(self.holdfast().args(["--json", "status"]));
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["tokens"][0]["placesTaken"].as_u64().expect("a number")
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&self) -> Daemon {
        self.start_command(self.holdfastd())
    }

    /// Starts a daemon as given.
    pub fn start_command(&self, command: Command) -> Daemon {
        let socket = self.socket();
        let tcp = self.extra.contains("[listen.tcp]");
        let process = Process::spawn(command, "holdfastd").expect("holdfastd");
        let process = process
            .ready_when(PATIENCE, |process| {
                UnixStream::connect(&socket).is_ok()
                    && (!tcp || listens_on_tcp(&process.stderr_text()).is_some())
            })
            .expect("holdfastd on its socket");
        Daemon { process }
    }
}

impl Default for House {
    fn default() -> Self {
        House::new()
    }
}

/// A running daemon; ended when dropped.
pub struct Daemon {
    process: Process,
}

impl Daemon {
    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.process.terminate(PATIENCE).expect("an end")
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().expect("an end");
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.process.signal(rustix::process::Signal::HUP).expect("a running daemon");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens on TCP; the kernel chose the port if the configuration says 0.
    pub fn tcp_address(&self) -> String {
        listens_on_tcp(&self.log()).expect("a TCP listener").to_owned()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.stderr_text()
    }
}

fn listens_on_tcp(log: &str) -> Option<&str> {
    log.split_once("listening on TCP address=")?.1.split_once(' ').map(|(address, _)| address)
}

/// The user id the tests run as.
pub fn me() -> u32 {
    rustix::process::getuid().as_raw()
}

/// A directory's file.
pub fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).expect("a file");
    path
}
