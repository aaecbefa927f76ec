//! An image that skopeo wrapped through the daemon, and how a refusal must look in its callers.

use std::path::{Path, PathBuf};

use holdfast_e2e::house::{Daemon, House};
use holdfast_e2e::image;
use holdfast_e2e::peers::{Peers, decoder, fails, succeeds};

/// A three-layer image, in the clear and encrypted, beside the house whose daemon wrapped its keys.
pub(crate) struct Scene {
    pub(crate) house: House,
    pub(crate) peers: Peers,
    pub(crate) plain: PathBuf,
    pub(crate) encrypted: PathBuf,
}

/// Has skopeo encrypt an image to these recipients; the daemon is stopped again.
pub(crate) fn wrapped(house: House, recipients: &[&str]) -> Scene {
    let peers = Peers::of(&house);
    let daemon = house.start();
    let plain = image::build(house.dir.path(), 3);
    let encrypted = house.dir.path().join("encrypted");
    succeeds(peers.wrap(&plain, &encrypted, recipients));
    let ended = daemon.stop();
    assert!(ended.success(), "holdfastd ended with {ended}");
    Scene { house, peers, plain, encrypted }
}

impl Scene {
    pub(crate) fn start(&self) -> Daemon {
        self.house.start()
    }

    /// What was decrypted is the image that was encrypted.
    pub(crate) fn is_opened(&self, layout: &Path) -> bool {
        image::same_layers(&self.plain, layout)
    }

    /// Both programs that unwrap fail with this line of the daemon's, and leave nothing.
    pub(crate) fn unwrapping_is_refused(&self, line: &str) {
        self.skopeo_is_refused(line);
        self.decoder_is_refused(line);
    }

    pub(crate) fn skopeo_is_refused(&self, line: &str) {
        let opened = self.house.dir.path().join("never-opened");
        let said = fails(self.peers.unwrap(&self.encrypted, &opened, &["provider:holdfast"]));
        ends_in(&said, line);
        assert!(!opened.join("index.json").exists(), "an image was left:\n{said}");
    }

    pub(crate) fn decoder_is_refused(&self, line: &str) {
        let decoded = decoder::decode(&self.peers, &self.encrypted, 0, &[]);
        assert!(!decoded.ran.success, "ctd-decoder succeeded:\n{}", decoded.ran.err);
        ends_in(&decoded.ran.err, line);
        assert_eq!(decoded.plain.len(), 0, "something was decoded");
    }

    /// skopeo fails to encrypt to these recipients, with this line.
    pub(crate) fn wrapping_is_refused(&self, recipients: &[&str], line: &str) {
        let made = self.house.dir.path().join("never-made");
        let said = fails(self.peers.wrap(&self.plain, &made, recipients));
        ends_in(&said, line);
        assert!(!made.join("index.json").exists(), "an image was left:\n{said}");
    }
}

/// A peer's complaint ends in the daemon's line with its request id; behind it are only the line ends
/// and quotes that the peer adds. None of the peers' own ends (a panic, an empty success) comes before.
pub(crate) fn ends_in(said: &str, line: &str) {
    for symptom in ["panic:", "bad IV length", "unexpected end of JSON", "goroutine"] {
        assert!(!said.contains(symptom), "{symptom}:\n{said}");
    }
    let at = said.rfind(line).unwrap_or_else(|| panic!("{line:?} is not what was said:\n{said}"));
    let rest = &said[at + line.len()..];
    let id = rest.strip_prefix(" (request ").unwrap_or_else(|| panic!("no request id:\n{said}"));
    let (id, rest) = id.split_once(')').expect("a closing bracket");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{id}");
    let noise = rest.replace("\\n", "");
    assert!(noise.chars().all(|c| c.is_whitespace() || c == '"'), "behind the line: {rest:?}");
}
