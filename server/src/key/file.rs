//! A private key in a PEM file: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017) or SEC 1 (RFC 5915), not encrypted. Or an AES
//! key: a file of its 32 bytes and nothing else.
//!
//! What is read is wiped when it is no longer needed; the file itself is the operator's to destroy. No
//! error quotes any of it.

use std::io::ErrorKind;
use std::path::Path;

use aws_lc_rs::agreement;
use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::rsa::KeyPair;
use der::Decode as _;
use der::asn1::ObjectIdentifier;
use holdfast_custody::{PrivateKey, RegularFile, RsaPrivateKey};
use holdfast_wire::{Curve, PublicKey, Secret};

/// Bytes. An RSA-8192 key in PEM has 6 KiB.
const MAX_LEN: usize = 64 * 1024;
/// Bytes of an AES-256 key.
const SECRET_LEN: usize = 32;
const SEALED: &[u8] = b"-----BEGIN TSS2 PRIVATE KEY-----";
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

const ENCRYPTED: &str = "the key is encrypted; decrypt it into a file that only you can read (umask 077; openssl pkey -in FILE -out PLAIN), give that, and destroy it";
const OPENSSH: &str = "the key is in OpenSSH's own format; rewrite a copy of it that only you can read (ssh-keygen -p -N '' -m PKCS8 -f COPY), give that, and destroy it";
const UNREADABLE: &str = "a PEM block that is damaged or not in lines of 64 characters; if openssl pkey -in FILE reads it, give what that writes";
const NO_KEY: &str = "no PEM block with a private key (\"PRIVATE KEY\", \"RSA PRIVATE KEY\" or \"EC PRIVATE KEY\"), and not the 32 bytes of an AES-256 key";
const NOT_USABLE: &str = "the key cannot be used: only RSA with 2048 to 8192 bits and EC on P-256, P-384 and P-521 are taken, undamaged";

/// What stands in a file.
pub(super) enum Found {
    /// A key.
    Plain(PrivateKey),
    /// An AES-256 key.
    Secret(Secret),
    /// One that is sealed to a TPM: the PEM block as it is, for its TPM to judge.
    Sealed(Secret),
}

/// Reads and checks a key in plain. The error does not name the file.
#[cfg(any(test, feature = "tpm"))]
pub(crate) fn read(path: &Path) -> Result<PrivateKey, String> {
    match find(path)? {
        Found::Plain(key) => Ok(key),
        Found::Secret(_) => Err("32 bytes, an AES key; a private key is wanted".into()),
        Found::Sealed(_) => Err("a key for a TPM already (TSS2 PRIVATE KEY); a plain one is wanted".into()),
    }
}

/// Reads a key in either form. The error does not name the file.
pub(super) fn find(path: &Path) -> Result<Found, String> {
    let file = open(path)?;
    let text = file.bytes.expose();
    let found = if text.len() == SECRET_LEN {
        Found::Secret(Secret::copy_of(text))
    } else {
        match block(text)? {
            block if block.starts_with(SEALED) => Found::Sealed(Secret::copy_of(block)),
            block => Found::Plain(parse(block)?),
        }
    };
    if file.mode & 0o007 != 0 {
        tracing::warn!(file = %path.display(), "every user of this machine may read the key file, and may have");
    }
    Ok(found)
}

fn open(path: &Path) -> Result<RegularFile, String> {
    RegularFile::read(path, MAX_LEN).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => format!("{error}, which no private key has"),
        _ => error.to_string(),
    })
}

fn parse(block: &[u8]) -> Result<PrivateKey, &'static str> {
    // A format of its own in lines of its own length, which no PEM reader takes.
    if block.starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----") {
        return Err(OPENSSH);
    }
    let (label, der) = der::pem::decode_vec(block)
        .map_err(|_| if holds(block, b"Proc-Type:") { ENCRYPTED } else { UNREADABLE })?;
    let der = Secret::new(der);
    match label {
        "PRIVATE KEY" => {
            let info = pkcs8::PrivateKeyInfo::from_der(der.expose()).map_err(|_| NOT_USABLE)?;
            if info.algorithm.oid == RSA_ENCRYPTION { rsa(info.private_key) } else { ec(der.expose()) }
        }
        "RSA PRIVATE KEY" => rsa(der.expose()),
        "EC PRIVATE KEY" => ec(der.expose()),
        "ENCRYPTED PRIVATE KEY" => Err(ENCRYPTED),
        _ => Err(NO_KEY),
    }
}

/// The first PEM block whose label ends in PRIVATE KEY; openssl writes others before it.
fn block(text: &[u8]) -> Result<&[u8], &'static str> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut rest = text;
    while let Some(at) = rest.windows(BEGIN.len()).position(|window| window == BEGIN) {
        rest = &rest[at..];
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.trim_ascii_end().ends_with(b"PRIVATE KEY-----") {
            const END: &[u8] = b"-----END ";
            let end = rest.windows(END.len()).position(|window| window == END).ok_or(NO_KEY)?;
            let line = rest[end..].split(|byte| *byte == b'\n').next().unwrap_or_default();
            return Ok(&rest[..end + line.len()]);
        }
        rest = &rest[BEGIN.len()..];
    }
    Err(NO_KEY)
}

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

fn rsa(pkcs1: &[u8]) -> Result<PrivateKey, &'static str> {
    // Whether its numbers belong together is for the library to say.
    KeyPair::from_der(pkcs1).map_err(|_| NOT_USABLE)?;
    let key = pkcs1::RsaPrivateKey::from_der(pkcs1).map_err(|_| NOT_USABLE)?;
    let number = |number: pkcs1::UintRef<'_>| Secret::copy_of(number.as_bytes());
    if key.other_prime_infos.is_some() {
        return Err(NOT_USABLE);
    }
    Ok(PrivateKey::Rsa(Box::new(RsaPrivateKey {
        public: PublicKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
            .map_err(|_| NOT_USABLE)?,
        private_exponent: number(key.private_exponent),
        prime1: number(key.prime1),
        prime2: number(key.prime2),
        exponent1: number(key.exponent1),
        exponent2: number(key.exponent2),
        coefficient: number(key.coefficient),
    })))
}

/// PKCS#8 or SEC 1.
fn ec(der: &[u8]) -> Result<PrivateKey, &'static str> {
    for curve in Curve::ALL {
        let algorithm = match curve {
            Curve::P256 => &agreement::ECDH_P256,
            Curve::P384 => &agreement::ECDH_P384,
            Curve::P521 => &agreement::ECDH_P521,
        };
        let Ok(key) = agreement::PrivateKey::from_private_key_der(algorithm, der) else { continue };
        let point = key.compute_public_key().map_err(|_| NOT_USABLE)?;
        let scalar: EcPrivateKeyBin<'_> = key.as_be_bytes().map_err(|_| NOT_USABLE)?;
        return Ok(PrivateKey::Ec {
            public: PublicKey::ec(curve, point.as_ref()).map_err(|_| NOT_USABLE)?,
            curve,
            scalar: Secret::copy_of(scalar.as_ref()),
        });
    }
    Err(NOT_USABLE)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;

    use super::*;

    fn parse(text: &[u8]) -> Result<PrivateKey, &'static str> {
        super::parse(block(text)?)
    }

    fn vectors() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/keys")
    }

    #[test]
    fn each_vector_has_the_public_half_that_lies_beside_it() {
        for name in ["rsa2048", "rsa3072", "rsa4096", "ec-P-256", "ec-P-384", "ec-P-521"] {
            let key = read(&vectors().join(format!("{name}.pem"))).unwrap();
            let public = fs::read_to_string(vectors().join(format!("{name}.pub.pem"))).unwrap();
            assert_eq!(*key.public(), PublicKey::from_pem(&public).unwrap(), "{name}");
            if let PrivateKey::Ec { curve, scalar, .. } = &key {
                assert_eq!(scalar.len(), curve.coordinate_len());
            }
            assert!(!format!("{key:?}").contains('['), "{key:?}");
        }
    }

    #[test]
    fn what_cannot_be_taken_says_why_and_quotes_nothing() {
        let good = fs::read(vectors().join("ec-P-256.pem")).unwrap();
        let inner = String::from_utf8(good.clone()).unwrap().lines().nth(1).unwrap().to_owned();
        let text = |from: &str, to: &str| String::from_utf8(good.clone()).unwrap().replace(from, to);
        for (pem, says) in [
            (text("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "openssl pkey -in"),
            (text("PRIVATE KEY", "OPENSSH PRIVATE KEY"), "ssh-keygen -p"),
            (text("PRIVATE KEY", "PUBLIC KEY"), "no PEM block"),
            (text("-----END", "-----FIN"), "no PEM block"),
            (text(&inner, "!!!!"), "is damaged or"),
            (text(&inner, &format!("Proc-Type: 4,ENCRYPTED\n\n{inner}")), "openssl pkey -in"),
            (text("PRIVATE KEY", "RSA PRIVATE KEY"), "only RSA with 2048"),
            (String::new(), "no PEM block"),
        ] {
            let why = parse(pem.as_bytes()).unwrap_err();
            assert!(why.contains(says) && !why.contains(&inner), "{says}: {why}");
        }
    }

    #[test]
    fn a_key_after_other_blocks_is_found() {
        let key = fs::read_to_string(vectors().join("ec-P-384.pem")).unwrap();
        let text = format!(
            "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n{key}trailer\n"
        );
        assert_eq!(parse(text.as_bytes()).unwrap().public().type_name(), "P-384");
    }

    #[test]
    fn a_damaged_rsa_key_is_refused_before_any_token_sees_it() {
        let pem = fs::read(vectors().join("rsa2048.pem")).unwrap();
        let (_, mut der) = der::pem::decode_vec(block(&pem).unwrap()).unwrap();
        let middle = der.len() / 2;
        der[middle] ^= 1;
        let pem = der::pem::encode_string("PRIVATE KEY", der::pem::LineEnding::LF, &der).unwrap();
        assert_eq!(parse(pem.as_bytes()).unwrap_err(), NOT_USABLE);
    }

    #[test]
    fn only_a_regular_file_of_reasonable_size_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap_err().contains("is not a file"));
        assert!(read(&dir.path().join("none")).unwrap_err().contains("No such file"));
        let large = dir.path().join("large");
        File::create(&large).unwrap().set_len(MAX_LEN as u64 + 1).unwrap();
        assert!(read(&large).unwrap_err().contains("more than"));
    }

    #[test]
    fn thirty_two_bytes_are_an_aes_key_and_no_other_number_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aes");
        for len in [16, 24, 31, 33, 64] {
            fs::write(&path, vec![0xc3; len]).unwrap();
            let why = find(&path).map(drop).unwrap_err();
            assert!(why.contains("not the 32 bytes of an AES-256 key"), "{len}: {why}");
        }
        fs::write(&path, [0xc3; 32]).unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Secret(key) if key.expose() == [0xc3; 32]));
        assert!(read(&path).unwrap_err().contains("an AES key"));
    }

    #[test]
    fn a_sealed_key_is_told_from_a_plain_one_and_given_on_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node-a.tss");
        let block = "-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n-----END TSS2 PRIVATE KEY-----";
        fs::write(&path, format!("for node-a\n{block}\n")).unwrap();
        let Found::Sealed(text) = find(&path).unwrap() else { panic!("taken for a plain key") };
        assert_eq!(text.expose(), block.as_bytes());
        assert!(read(&path).unwrap_err().contains("a key for a TPM already"));
    }
}
