//! A registry on loopback, on a port that the kernel chose.

use std::net::TcpStream;

use hsm_sim::{Authority, Leaf, Process};

use super::Peers;
use super::tokens::TokenServer;
use crate::house::{PATIENCE, file};

/// A running registry; ended when dropped.
pub struct Registry {
    address: String,
    _process: Process,
}

impl Registry {
    /// Starts one whose blobs lie in the scratch directory. It speaks plain HTTP with everybody.
    pub fn start(peers: &Peers) -> Registry {
        Registry::start_with(peers, "", "")
    }

    /// One that speaks TLS, with a certificate of this authority, and only with `me`, whose password is
    /// `hunter2`.
    pub fn start_private(peers: &Peers, authority: &Authority) -> Registry {
        let server = authority.issue("registry", &Leaf::server("IP:127.0.0.1")).expect("a certificate");
        // bcrypt is the one form that it takes.
        let users = file(
            peers.scratch(),
            "htpasswd",
            "me:$2b$05$p5Zguc4yZOfB9OQGgJC4TejeJbTtfML42sfAa6KjCrZed9h01KvqS\n",
        );
        let tls = format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            server.certificate.display(),
            server.key.display()
        );
        let auth = format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", users.display());
        Registry::start_with(peers, &tls, &auth)
    }

    /// One that sends everybody to this server for a token.
    pub fn start_with_tokens(peers: &Peers, tokens: &TokenServer) -> Registry {
        Registry::start_with(peers, "", &tokens.section())
    }

    fn start_with(peers: &Peers, http: &str, sections: &str) -> Registry {
        let storage = peers.scratch().join("registry");
        let config = file(
            peers.scratch(),
            "registry.yml",
            format!(
                "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n{http}{sections}",
                storage.display()
            ),
        );
        let mut command = peers.command("docker-registry");
        command.arg("serve").arg(config);
        let process = Process::spawn(command, "docker-registry").expect("a registry");
        let process = process
            .ready_when(PATIENCE, |process| {
                listens_on(&process.stderr_text()).is_some_and(|address| TcpStream::connect(address).is_ok())
            })
            .expect("a registry that listens");
        let address = listens_on(&process.stderr_text()).expect("an address").to_owned();
        Registry { address, _process: process }
    }

    /// Where it listens: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The image `NAME:v1` in it, as a node calls it.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}:v1", self.address)
    }

    /// The same as skopeo takes it.
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}", self.reference(name))
    }
}

fn listens_on(log: &str) -> Option<&str> {
    log.split_once("listening on ")?.1.split_once(['"', ',']).map(|(address, _)| address)
}
