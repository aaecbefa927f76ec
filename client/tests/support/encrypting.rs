//! An image to encrypt, keys to encrypt it to, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_envelope::jwe::{self, Jwe, To};
use holdfast_image::inspect;
use holdfast_wire::keyprovider::wrap_response;
use holdfast_wire::{Algorithm, Labels, OptsData, PublicKey, Secret};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::images::{TestImage, TestLayout, files, oci};
use super::{Ran, image, run};

/// A test key of the project's vectors.
pub fn key(name: &str) -> String {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/keys");
    keys.join(name).to_str().unwrap().to_owned()
}

pub fn jwe(name: &str) -> String {
    format!("jwe:{}", key(name))
}

/// A plain image in a directory of its own, and no daemon.
pub struct Scene {
    pub dir: TempDir,
    pub socket: PathBuf,
}

impl Scene {
    pub fn new() -> Scene {
        let dir = tempdir().unwrap();
        TestImage::plain().write(&dir.path().join("plain"));
        Scene { socket: dir.path().join("no.sock"), dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `image encrypt` of `plain` to `sealed`.
    pub fn encrypt(&self, args: &[&str]) -> Ran {
        let (from, to) = (image(&self.path("plain")), image(&self.path("sealed")));
        run(&self.socket, [&["image", "encrypt", &from, &to], args].concat())
    }

    /// Encrypts, which must fail, with exit code 1 and this at the end of its one line, and leave nothing.
    pub fn refused(&self, args: &[&str], end: &str) {
        let before = files(self.dir.path());
        let ran = self.encrypt(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{args:?}");
        assert!(ran.err.ends_with(&format!("{end}\n")), "{args:?}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(files(self.dir.path()) == before, "something stayed");
    }

    /// The packets of each layer: by scheme.
    pub fn packets(&self, scheme: &str) -> Vec<Jwe> {
        let sealed = TestLayout(self.path("sealed"));
        let digest = inspect(&oci(&sealed.0, Some("v1"))).unwrap().digest;
        let manifest: Value = serde_json::from_slice(&fs::read(sealed.blob(digest.hex())).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let name = format!("org.opencontainers.image.enc.keys.{scheme}");
        let packets = layers.filter_map(|layer| layer["annotations"][&name].as_str());
        packets.map(|text| Jwe::parse(&STANDARD.decode(text).unwrap()).unwrap()).collect()
    }
}

/// What a daemon would answer: a packet, sealed to a key of the vectors.
pub fn wrapped() -> String {
    let key = PublicKey::from_pem(&fs::read_to_string(key("ec-P-256.pub.pem")).unwrap()).unwrap();
    let optsdata = OptsData::new(Secret::new(vec![1; 32]), [2; 16], "").unwrap();
    let to = [To { key: &key, algorithm: Algorithm::EcdhEsA256Kw }];
    String::from_utf8(wrap_response(&jwe::seal(&optsdata, &to, &Labels::default()).unwrap())).unwrap()
}
