use super::{SoftHsm, Token};
use crate::{Error, program};

/// A key on a token, as `pkcs11-tool --list-objects` states it after login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// CKA_CLASS.
    pub kind: ObjectKind,
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
    /// What it may do: `decrypt`, `sign`, `unwrap`, `derive` and so on.
    pub usage: Vec<String>,
    /// How it is kept: `sensitive`, `always sensitive`, `extractable`, `never extractable`, `local`.
    pub access: Vec<String>,
    /// CKA_EC_PARAMS and CKA_EC_POINT in DER; empty where there are none.
    pub(super) ec_params: Vec<u8>,
    pub(super) ec_point: Vec<u8>,
}

/// CKA_CLASS, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// CKO_PRIVATE_KEY
    PrivateKey,
    /// CKO_SECRET_KEY
    SecretKey,
    /// CKO_PUBLIC_KEY
    PublicKey,
    /// Any other.
    Other,
}

impl Object {
    /// Whether the token states that the key was made there, and never could and cannot leave it:
    /// sensitive, always sensitive, never extractable, local, and not extractable.
    pub fn is_guarded(&self) -> bool {
        let states = |attribute: &str| self.access.iter().any(|stated| stated == attribute);
        ["sensitive", "always sensitive", "never extractable", "local"].into_iter().all(states)
            && !states("extractable")
    }
}

impl SoftHsm {
    /// What is on the token.
    pub fn objects(&self, token: &Token) -> Result<Vec<Object>, Error> {
        let mut list = self.pkcs11_tool(token)?;
        list.arg("--list-objects");
        let listing = program::run(list, "pkcs11-tool --list-objects")?;
        Ok(parse(&String::from_utf8_lossy(&listing)))
    }
}

/// An object is a line at the margin and the indented lines after it. Labels hold no line breaks: what
/// this crate makes is checked for that.
fn parse(listing: &str) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for line in listing.lines() {
        if !line.starts_with(' ') {
            objects.push(Object {
                kind: match line.split(" Object").next() {
                    Some("Private Key") => ObjectKind::PrivateKey,
                    Some("Secret Key") => ObjectKind::SecretKey,
                    Some("Public Key") => ObjectKind::PublicKey,
                    _ => ObjectKind::Other,
                },
                label: String::new(),
                id: Vec::new(),
                usage: Vec::new(),
                access: Vec::new(),
                ec_params: Vec::new(),
                ec_point: Vec::new(),
            });
            continue;
        }
        let (Some(object), Some((name, value))) = (objects.last_mut(), line.split_once(':')) else {
            continue;
        };
        let value = value.trim_start();
        let words = || value.split(", ").map(|word| word.trim().to_owned()).collect();
        match name.trim() {
            "label" => object.label = value.to_owned(),
            "ID" => object.id = from_hex(value),
            "EC_PARAMS" => object.ec_params = from_hex(value),
            "EC_POINT" => object.ec_point = from_hex(value),
            "Usage" => object.usage = words(),
            "Access" => object.access = words(),
            _ => {}
        }
    }
    objects
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_of_opensc_0_23_is_understood() {
        let objects = parse(
            "Private Key Object; RSA 
  label:      images: 2026
  ID:         01ff
  Usage:      decrypt, sign, unwrap
  Access:     sensitive, always sensitive, never extractable, local
Public Key Object; EC  EC_POINT 256 bits
  EC_POINT:   0441
  label:      ec
  ID:         02
  Usage:      encrypt, verify, wrap, derive
  Access:     none
Secret Key Object; AES length 32
  label:      aes
  ID:         03
  Usage:      encrypt, decrypt, verify, wrap, unwrap
  Access:     sensitive, always sensitive, never extractable, local
",
        );
        assert_eq!(objects.len(), 3);
        assert_eq!(objects[0].label, "images: 2026");
        assert_eq!(objects[0].id, [1, 255]);
        assert!(objects[0].is_guarded());
        assert_eq!(objects[1].ec_point, [4, 0x41]);
        assert_eq!(objects[1].kind, ObjectKind::PublicKey);
        assert_eq!(objects[1].usage, ["encrypt", "verify", "wrap", "derive"]);
        assert!(!objects[1].is_guarded());
        assert_eq!(objects[2].kind, ObjectKind::SecretKey);
        assert!(objects[2].is_guarded());
    }
}
