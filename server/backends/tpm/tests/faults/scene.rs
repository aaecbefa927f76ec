//! A token whose TPM is behind a bus.

use std::path::PathBuf;

use holdfast_custody::contract::sealed_for;
use holdfast_custody::{Binding, Custodian, Error, KeyKind};
use holdfast_tpm::Token;
use holdfast_wire::{Curve, KeyUri, OaepHash, Operation, PublicKey, Sealed};
use hsm_sim::{Interposer, Process, Swtpm};
use tempfile::TempDir;

pub(crate) const RSA: KeyKind = KeyKind::Rsa(2048);
pub(crate) const EC: KeyKind = KeyKind::Ec(Curve::P256);

pub(crate) struct Scene {
    pub(crate) bus: Interposer,
    pub(crate) token: Token,
    pub(crate) dir: TempDir,
}

/// Something sealed to a key of the scene.
pub(crate) struct Letter {
    pub(crate) uri: KeyUri,
    pub(crate) sealed: Sealed,
    /// What it opens to.
    pub(crate) plain: Vec<u8>,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let bus = Interposer::before(Swtpm::start().unwrap()).unwrap();
        let token = Token::new(bus.tcti().parse().unwrap());
        Scene { bus, token, dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.tss"))
    }

    pub(crate) fn uri(&self, name: &str) -> KeyUri {
        format!("tpm:file={}", self.path(name).display()).parse().unwrap()
    }

    /// Makes a key, and seals something to it.
    pub(crate) fn create(&self, name: &str, kind: KeyKind) -> Letter {
        let made = self.token.keysmith().unwrap().create(&self.uri(name), kind).unwrap();
        letter(self.uri(name), &made.info.public.unwrap())
    }

    /// The same, bound to the values that PCRs have now.
    pub(crate) fn bind(&self, name: &str, kind: KeyKind, pcrs: &str) -> Letter {
        let pcrs = Binding::Current(pcrs.parse().unwrap());
        let made = self.token.keysmith().unwrap().create_bound(&self.uri(name), kind, &pcrs).unwrap();
        letter(self.uri(name), &made.info.public.unwrap())
    }

    pub(crate) fn connect(&self) -> Box<dyn Custodian> {
        self.token.connect().unwrap()
    }

    /// A program of tpm2-tools, past the bus: how it went, and all it said.
    pub(crate) fn try_tool(&self, name: &str, args: &[&str]) -> (bool, String) {
        let mut command = self.bus.swtpm().tool(name).unwrap();
        command.args(args);
        let mut process = Process::spawn(command, name).unwrap();
        let status = process.wait(std::time::Duration::from_secs(60)).unwrap();
        (status.success(), format!("{}{}", process.stdout_text(), process.stderr_text()))
    }

    /// One that must succeed.
    pub(crate) fn tool(&self, name: &str, args: &[&str]) -> String {
        let (success, said) = self.try_tool(name, args);
        assert!(success, "{name} {args:?}: {said}");
        said
    }

    /// The name of a file for tpm2-tools.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// Something sealed to a public half.
pub(crate) fn letter(uri: KeyUri, public: &PublicKey) -> Letter {
    let operation = match public {
        PublicKey::Rsa(_) => Operation::RsaOaep(OaepHash::Sha256),
        _ => Operation::Ecdh,
    };
    let (sealed, plain) = sealed_for(public, operation);
    Letter { uri, sealed, plain: plain.expose().to_vec() }
}

impl Letter {
    pub(crate) fn open(&self, token: &mut dyn Custodian) -> Result<Vec<u8>, Error> {
        token.open(&self.uri, &self.sealed).map(|secret| secret.expose().to_vec())
    }

    /// It opens to what was sealed.
    pub(crate) fn opens(&self, token: &mut dyn Custodian) {
        assert_eq!(self.open(token), Ok(self.plain.clone()));
    }

    /// The same to a new connection.
    pub(crate) fn opens_anew(&self, scene: &Scene) {
        self.opens(&mut *scene.connect());
    }

    /// Another one that is damaged.
    pub(crate) fn damaged(&self) -> Letter {
        let mut sealed = self.sealed.clone();
        match &mut sealed {
            Sealed::RsaOaep { ciphertext, .. } => ciphertext[9] ^= 1,
            Sealed::Ecdh { ephemeral, .. } => ephemeral[9] ^= 1,
            _ => panic!("no letter of this kind is made"),
        }
        Letter { uri: self.uri.clone(), sealed, plain: Vec::new() }
    }
}
