//! A TPM with a directory for key files, and the programs of others that read and write them.

#![allow(dead_code, reason = "each test target uses its part")]

pub(crate) mod keys;

use std::path::PathBuf;
use std::process::Command;

use holdfast_tpm::Token;
use holdfast_wire::{KeyUri, PublicKey};
use hsm_sim::Swtpm;
use tempfile::TempDir;

pub(crate) struct Scene {
    pub(crate) swtpm: Swtpm,
    pub(crate) token: Token,
    pub(crate) dir: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let swtpm = Swtpm::start().unwrap();
        let token = Token::new(swtpm.tcti().parse().unwrap());
        Scene { swtpm, token, dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.tss"))
    }

    pub(crate) fn uri(&self, name: &str) -> KeyUri {
        format!("tpm:file={}", self.path(name).display()).parse().unwrap()
    }

    /// A key of tpm2-openssl's making.
    pub(crate) fn genpkey(&self, name: &str, kind: &[&str]) {
        let mut genpkey = self.openssl();
        genpkey.args(["genpkey", "-provider", "tpm2"]).args(kind).arg("-out").arg(self.path(name));
        run(genpkey);
    }

    /// The public half, as tpm2-openssl reads it from a file.
    pub(crate) fn public(&self, name: &str) -> PublicKey {
        let mut pkey = self.openssl();
        pkey.args(["pkey", "-provider", "tpm2", "-provider", "base", "-pubout", "-in"]).arg(self.path(name));
        PublicKey::from_pem(&String::from_utf8(run(pkey)).unwrap()).unwrap()
    }

    pub(crate) fn openssl(&self) -> Command {
        let module = hsm_sim::command("openssl", "openssl").unwrap();
        let mut command = module;
        command.envs(self.swtpm.env());
        command
    }

    pub(crate) fn tool(&self, name: &str, args: &[&str]) -> String {
        let mut command = self.swtpm.tool(name).unwrap();
        command.args(args);
        String::from_utf8(run(command)).unwrap()
    }
}

pub(crate) fn run(mut command: Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} (tpm2-openssl and tpm2-tools are needed): {errors}");
    output.stdout
}
