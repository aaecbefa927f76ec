//! A TPM with a directory for key files, and the programs of others that read and write them.

#![allow(dead_code, reason = "each test target uses its part")]

pub(crate) mod keys;

use std::path::PathBuf;
use std::process::Command;

use aws_lc_rs::agreement;
use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use der::asn1::UintRef;
use der::{Decode as _, Reader as _, SliceReader};
use holdfast_custody::{PrivateKey, RsaPrivateKey};
use holdfast_tpm::{StorageKey, Token};
use holdfast_wire::{Curve, KeyUri, PublicKey, Secret};
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

    /// The path of another file of the scene.
    pub(crate) fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Makes a primary storage key of the owner hierarchy with tpm2-tools, persistent at `handle`, and gives its
    /// public half as tpm2_readpublic writes it.
    pub(crate) fn storage_key(&self, kind: &str, handle: &str) -> StorageKey {
        let (context, public) = (self.at("storage.ctx"), self.at("storage.pub"));
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
        self.tool("tpm2_createprimary", &["-Q", "-C", "o", "-G", kind, "-a", attributes, "-c", &context]);
        self.tool("tpm2_flushcontext", &["-t"]);
        self.tool("tpm2_evictcontrol", &["-Q", "-C", "o", "-c", &context, handle]);
        self.tool("tpm2_flushcontext", &["-t"]);
        let said = self.tool("tpm2_readpublic", &["-c", handle, "-o", &public]);
        let key = StorageKey::from_bytes(&std::fs::read(public).unwrap()).unwrap();
        assert!(said.contains(&key.name().to_string()), "{} and not: {said}", key.name());
        key
    }

    pub(crate) fn tool(&self, name: &str, args: &[&str]) -> String {
        let mut command = self.swtpm.tool(name).unwrap();
        command.args(args);
        String::from_utf8(run(command)).unwrap()
    }
}

/// A key that exists outside, of OpenSSL's making.
pub(crate) fn rsa(bits: u16) -> PrivateKey {
    let mut generate = hsm_sim::command("openssl", "openssl").unwrap();
    generate.args(["genrsa", "-traditional", &bits.to_string()]);
    let (_, der) = der::pem::decode_vec(&run(generate)).unwrap();
    let numbers = SliceReader::new(&der).unwrap().sequence(|reader| {
        let mut numbers = Vec::new();
        while !reader.is_finished() {
            numbers.push(UintRef::decode(reader)?.as_bytes().to_vec());
        }
        Ok(numbers)
    });
    let [_, modulus, exponent, d, p, q, dp, dq, qi] = <[Vec<u8>; 9]>::try_from(numbers.unwrap()).unwrap();
    PrivateKey::Rsa(Box::new(RsaPrivateKey {
        public: PublicKey::rsa(&modulus, &exponent).unwrap(),
        private_exponent: Secret::new(d),
        prime1: Secret::new(p),
        prime2: Secret::new(q),
        exponent1: Secret::new(dp),
        exponent2: Secret::new(dq),
        coefficient: Secret::new(qi),
    }))
}

/// A key that exists outside.
pub(crate) fn ec(curve: Curve) -> PrivateKey {
    let algorithm = ecdh(curve);
    let key = agreement::PrivateKey::generate(algorithm).unwrap();
    let scalar: EcPrivateKeyBin<'_> = key.as_be_bytes().unwrap();
    let public = PublicKey::ec(curve, key.compute_public_key().unwrap().as_ref()).unwrap();
    PrivateKey::Ec { public, curve, scalar: Secret::copy_of(scalar.as_ref()) }
}

pub(crate) fn ecdh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => &agreement::ECDH_P521,
    }
}

pub(crate) fn run(mut command: Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} (tpm2-openssl and tpm2-tools are needed): {errors}");
    output.stdout
}
