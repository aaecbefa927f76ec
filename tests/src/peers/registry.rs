//! A registry on loopback, plain HTTP, on a port that the kernel chose.

use std::net::TcpStream;

use hsm_sim::Process;

use super::Peers;
use crate::house::{PATIENCE, file};

/// A running registry; ended when dropped.
pub struct Registry {
    address: String,
    _process: Process,
}

impl Registry {
    /// Starts one whose blobs lie in the scratch directory.
    pub fn start(peers: &Peers) -> Registry {
        let storage = peers.scratch().join("registry");
        let config = file(
            peers.scratch(),
            "registry.yml",
            format!(
                "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
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
    log.split_once("listening on ")?.1.split_once('"').map(|(address, _)| address)
}
