//! A PyKMIP of its own for each test, and the way to it as a configuration would have it.

#![allow(dead_code, reason = "each test target uses its part")]

use std::path::PathBuf;
use std::time::Duration;

use holdfast_custody::{Custodian, KeyKind, Keysmith, Made, PrivateKey, RsaPrivateKey};
use holdfast_kmip::{Address, Files, Token};
use holdfast_wire::{KeyUri, PublicKey, Secret};
use hsm_sim::{Credentials, KmipInterposer, Pykmip};
use pkcs1::der::Decode as _;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that is there as long as this is.
pub(crate) struct Scene {
    pub(crate) server: Pykmip,
    pub(crate) token: Token,
}

impl Scene {
    /// PyKMIP as it is: RSA private keys do not decrypt.
    pub(crate) fn new() -> Scene {
        Scene::of(Pykmip::start().unwrap())
    }

    /// PyKMIP with one check lifted: they do.
    pub(crate) fn with_rsa() -> Scene {
        Scene::of(Pykmip::with_rsa().unwrap())
    }

    /// As [`Scene::with_rsa`], speaking these versions of KMIP alone.
    pub(crate) fn speaking(versions: &[[u8; 2]]) -> Scene {
        Scene::of(Pykmip::speaking(versions).unwrap())
    }

    fn of(server: Pykmip) -> Scene {
        let token = Token::new(vec![address(&server)], files(&server, server.client()), PATIENCE);
        Scene { server, token }
    }

    /// With somebody on the way to the server who can spoil what is said; and the way over there.
    pub(crate) fn interposed(self, patience: Duration) -> (KmipInterposer, Token) {
        let files = files(&self.server, self.server.client());
        let interposer = KmipInterposer::before(self.server).unwrap();
        let address = interposer.address().parse().unwrap();
        (interposer, Token::new(vec![address], files, patience))
    }

    /// A token with other addresses, or another certificate.
    pub(crate) fn other(&self, addresses: Vec<Address>, client: &Credentials) -> Token {
        Token::new(addresses, files(&self.server, client), PATIENCE)
    }

    pub(crate) fn connect(&self) -> Box<dyn Custodian> {
        self.token.connect().unwrap()
    }

    pub(crate) fn smith(&self) -> Box<dyn Keysmith> {
        self.token.keysmith().unwrap()
    }

    pub(crate) fn make(&self, name: &str, kind: KeyKind) -> Made {
        self.smith().create(&named(name), kind).unwrap()
    }
}

pub(crate) fn address(server: &Pykmip) -> Address {
    server.address().parse().unwrap()
}

pub(crate) fn files(server: &Pykmip, client: &Credentials) -> Files {
    Files {
        ca: server.authority().certificate().to_owned(),
        cert: client.certificate.clone(),
        key: client.key.clone(),
    }
}

pub(crate) fn named(name: &str) -> KeyUri {
    format!("kmip:server=kms-1;name={name}").parse().unwrap()
}

pub(crate) fn identified(id: &str) -> KeyUri {
    format!("kmip:server=kms-1;id={id}").parse().unwrap()
}

/// A file of a test key, which is public.
pub(crate) fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors/keys").join(name)
}

/// An RSA key of 2048 bits from outside.
pub(crate) fn rsa_key() -> PrivateKey {
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    openssl.args(["rsa", "-traditional", "-outform", "DER", "-in"]).arg(vector("rsa2048.pem"));
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let key = pkcs1::RsaPrivateKey::from_der(&output.stdout).unwrap();
    let number = |number: pkcs1::UintRef<'_>| Secret::copy_of(number.as_bytes());
    PrivateKey::Rsa(Box::new(RsaPrivateKey {
        public: PublicKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes()).unwrap(),
        private_exponent: number(key.private_exponent),
        prime1: number(key.prime1),
        prime2: number(key.prime2),
        exponent1: number(key.exponent1),
        exponent2: number(key.exponent2),
        coefficient: number(key.coefficient),
    }))
}
