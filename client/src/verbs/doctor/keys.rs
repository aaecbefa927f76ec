//! The directory that ctd-decoder and CRI-O read private keys from: one wrong file in it, and no layer
//! opens, also of images that need none of these keys.

use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Node, Report};

const CHECK: &str = "keys-directory";
/// Longest key file that is looked at, in bytes.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// What a file is to ocicrypt.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Usable,
    /// Read past in silence: SEC1 and encrypted PKCS#8.
    PassedOver,
    /// Refused, with all others.
    Junk,
}

/// Whether the directory holds a key.
pub(super) fn check(node: &Node, directory: &Path, report: &mut Report) -> bool {
    match node.root.metadata(directory) {
        Ok(metadata) if metadata.is_dir() => {}
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            report.unread(CHECK, format!("cannot be looked at: {error}"), error.kind(), directory);
            return false;
        }
        _ => {
            report.fault(
                CHECK,
                "is no directory: ctd-decoder fails (\"wrong diff id\")",
                directory,
                &format!("mkdir -p {}; it may be empty", directory.display()),
            );
            return false;
        }
    }
    let mut files = Vec::new();
    walk(node, directory, &mut files);
    let mut keys = 0;
    for file in &files {
        let shown = directory.join(file);
        let Ok(place) = node.root.place(directory).map(|at| at.join(file)) else { continue };
        let bytes = match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_symlink() => {
                report.fault(
                    CHECK,
                    "is a link, which ctd-decoder refuses with all else in there (Kubernetes mounts secrets as links)",
                    shown,
                    "copy the file there instead",
                );
                continue;
            }
            // A pipe or a device may never end.
            Ok(metadata) if !metadata.is_file() || metadata.len() > MAX_FILE_LEN => Ok(Vec::new()),
            _ => fs::read(&place),
        };
        match bytes.map(|bytes| kind(&Zeroizing::new(bytes))) {
            Err(error) => report.unread(CHECK, format!("cannot be read: {error}"), error.kind(), shown),
            Ok(Key::Usable) => keys += 1,
            Ok(Key::PassedOver) => report.warning(
                CHECK,
                "is SEC1 or encrypted, which ocicrypt reads past in silence",
                shown,
                "openssl pkcs8 -topk8 -nocrypt, if it is needed at all",
            ),
            Ok(Key::Junk) => report.fault(
                CHECK,
                "is no private key, and ctd-decoder then refuses all of them",
                shown,
                "move it away",
            ),
        }
    }
    if keys > 0 {
        report.warning(
            CHECK,
            format!("holds private keys ({keys}), which also go to every provider with each call"),
            directory,
            "bring them into the HSM and take them away",
        );
    } else if files.is_empty() {
        report.ok(CHECK, "is there and empty", directory);
    }
    keys > 0
}

/// Files and links below a directory, relative to it.
fn walk(node: &Node, directory: &Path, files: &mut Vec<std::path::PathBuf>) {
    let mut waiting = vec![std::path::PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for name in node.root.names(&directory.join(&below)) {
            let path = below.join(name);
            let place = node.root.place(directory).map(|at| at.join(&path));
            match place.and_then(fs::symlink_metadata) {
                Ok(metadata) if metadata.is_dir() => waiting.push(path),
                _ => files.push(path),
            }
        }
    }
    files.sort_unstable();
}

/// By what stands in it, as ocicrypt tells them apart.
fn kind(bytes: &[u8]) -> Key {
    let holds = |mark: &str| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
    let passed_over = ["BEGIN EC PRIVATE KEY", "BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
    let usable = ["BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY", "BEGIN PGP PRIVATE KEY"];
    if passed_over.into_iter().any(holds) {
        Key::PassedOver
    } else if usable.into_iter().any(holds)
        // A JSON Web Key, a PKCS#11 key's YAML, DER, a binary OpenPGP secret key (tag 5).
        || (bytes.trim_ascii_start().starts_with(b"{") && holds("\"kty\""))
        || bytes.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_end() == b"pkcs11:")
        || matches!(bytes.first(), Some(0x30 | 0x94 | 0x95 | 0xc5))
    {
        Key::Usable
    } else {
        Key::Junk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_ocicrypt_takes_them_for() {
        for (text, is) in [
            ("-----BEGIN PRIVATE KEY-----\nx", Key::Usable),
            ("{\"kty\": \"RSA\"}", Key::Usable),
            ("pkcs11:\n  uri: x\n", Key::Usable),
            ("\u{30}\u{1}", Key::Usable),
            ("-----BEGIN EC PRIVATE KEY-----", Key::PassedOver),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----", Key::PassedOver),
            ("-----BEGIN CERTIFICATE-----", Key::Junk),
            ("read me", Key::Junk),
            ("", Key::Junk),
        ] {
            assert_eq!(kind(text.as_bytes()), is, "{text}");
        }
    }
}
