//! One Cosmian KMS in a scratch directory, with an authority of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use holdfast_kmip::{Address, Files, Token};
use hsm_sim::{Authority, Credentials, Leaf, Process};
use tempfile::TempDir;

use super::support::PATIENCE;

/// Where the server's program is; the make target says it.
const PROGRAM: &str = "COSMIAN_KMS";
const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) process: Process,
    pub(crate) authority: Authority,
    certificate: Credentials,
    client: Credentials,
    dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "authority").unwrap();
        let certificate = authority.issue("server", &Leaf::server("DNS:localhost,IP:127.0.0.1")).unwrap();
        let client = authority.issue("holdfast", &Leaf::client()).unwrap();
        let files = files(&authority, &client);
        let (process, port) = run(dir.path().join("keys"), &dir, &authority, &certificate, &files);
        Server { port, process, authority, certificate, client, dir }
    }

    /// Another one with the same keys.
    pub(crate) fn beside(&self) -> (Process, u16) {
        let files = files(&self.authority, &self.client);
        run(self.dir.path().join("keys"), &self.dir, &self.authority, &self.certificate, &files)
    }

    pub(crate) fn token(&self) -> Token {
        self.token_at(&[self.port], &self.client)
    }

    pub(crate) fn token_at(&self, ports: &[u16], client: &Credentials) -> Token {
        Token::new(
            ports.iter().map(|port| address(*port)).collect(),
            files(&self.authority, client),
            PATIENCE,
        )
    }

    pub(crate) fn client(&self) -> &Credentials {
        &self.client
    }
}

fn files(authority: &Authority, client: &Credentials) -> Files {
    Files {
        ca: authority.certificate().to_owned(),
        cert: client.certificate.clone(),
        key: client.key.clone(),
    }
}

fn address(port: u16) -> Address {
    format!("127.0.0.1:{port}").parse().unwrap()
}

/// Ready when it has answered our own client.
fn run(
    keys: PathBuf,
    home: &TempDir,
    authority: &Authority,
    certificate: &Credentials,
    files: &Files,
) -> (Process, u16) {
    let program = std::env::var_os(PROGRAM).expect("COSMIAN_KMS is not set; run: make test-kmip-second");
    // Its HTTP API is nobody's here, but it wants a port.
    let [port, http] = free_ports();
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home.path()).current_dir(home.path());
    command.args(["--database-type", "sqlite", "--sqlite-path"]).arg(keys);
    command.args(["--hostname", "127.0.0.1", "--port", &http.to_string()]);
    command.args(["--socket-server-start", "--socket-server-hostname", "127.0.0.1"]);
    command.args(["--socket-server-port", &port.to_string()]);
    command.arg("--tls-cert-file").arg(&certificate.certificate).arg("--tls-key-file").arg(&certificate.key);
    command.arg("--clients-ca-cert-file").arg(authority.certificate());
    let token = Token::new(vec![address(port)], files.clone(), Duration::from_secs(5));
    let process = Process::spawn(command, "Cosmian KMS").unwrap();
    (process.ready_when(SOON, |_| token.connect().is_ok()).unwrap(), port)
}

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
