use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;

use super::{Object, ObjectKind, SoftHsm, Token, spki};
use crate::{Error, KeyKind, program};

/// A key pair or a secret key on a token, by its label and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// CKA_LABEL, of both halves.
    pub label: String,
    /// CKA_ID, of both halves.
    pub id: Vec<u8>,
}

/// Which key: by label (`"images"`), by id (`&[2][..]`), or by both (`&key`).
#[derive(Debug, Clone, Copy)]
pub struct Which<'a> {
    label: Option<&'a str>,
    id: Option<&'a [u8]>,
}

impl<'a> From<&'a str> for Which<'a> {
    fn from(label: &'a str) -> Self {
        Which { label: Some(label), id: None }
    }
}

impl<'a> From<&'a [u8]> for Which<'a> {
    fn from(id: &'a [u8]) -> Self {
        Which { label: None, id: Some(id) }
    }
}

impl<'a> From<&'a Key> for Which<'a> {
    fn from(key: &'a Key) -> Self {
        Which { label: Some(&key.label), id: Some(&key.id) }
    }
}

impl std::fmt::Display for Which<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.label, self.id) {
            (Some(label), Some(id)) => write!(f, "{label:?} with id {}", hex(id)),
            (Some(label), None) => write!(f, "{label:?}"),
            (None, Some(id)) => write!(f, "with id {}", hex(id)),
            (None, None) => f.write_str("of any name"),
        }
    }
}

impl SoftHsm {
    /// Makes a key on the token that is sensitive, never extractable, local and private, and may decrypt
    /// (RSA), derive (EC), or encrypt and decrypt (AES); the listing is checked for it. SoftHSM lets a
    /// key sign and unwrap besides, since pkcs11-tool cannot forbid it. A second key with the same label
    /// or id is made without a word: readers must cope with that.
    pub fn generate(&self, token: &Token, label: &str, id: &[u8], kind: KeyKind) -> Result<Key, Error> {
        let key = self.generate_key(token, label, id, kind, &[])?;
        let objects = self.objects(token)?;
        let made = |object: &&Object| object.holds_a_secret() && fits(object, (&key).into());
        if objects.iter().filter(made).any(Object::is_guarded) {
            Ok(key)
        } else {
            Err(Error::Unexpected(format!(
                "key {label} was made, but the token does not state that it is sensitive, never extractable and local"
            )))
        }
    }

    /// As [`generate`](Self::generate), but with CKA_EXTRACTABLE true: a key without custody, for
    /// whoever must refuse one. (It is sensitive: neither tool can make a key pair that is not.)
    pub fn generate_extractable(
        &self,
        token: &Token,
        label: &str,
        id: &[u8],
        kind: KeyKind,
    ) -> Result<Key, Error> {
        self.generate_key(token, label, id, kind, &["--extractable"])
    }

    /// Writes an existing key pair onto the token: the private key of a PEM file (PKCS#8, PKCS#1 or
    /// SEC1, not encrypted), and its public half. Such a key is sensitive but was not always, and is not local.
    pub fn import(
        &self,
        token: &Token,
        label: &str,
        id: &[u8],
        pem: &Path,
        extractable: bool,
    ) -> Result<Key, Error> {
        let key = Key::checked(label, id)?;
        let public = self.scratch_file()?;
        let mut openssl = openssl()?;
        // The password is given, and empty, so that openssl never asks the terminal for one.
        openssl
            .args(["-passin", "pass:", "-pubout", "-outform", "DER", "-in"])
            .arg(pem)
            .arg("-out")
            .arg(public.path());
        program::run(openssl, "openssl pkey")?;
        let der = std::fs::read(public.path()).map_err(Error::io("reading", public.path()))?;
        let is_ec =
            der.windows(spki::EC_PUBLIC_KEY.len()).take(16).any(|window| window == spki::EC_PUBLIC_KEY);
        let usage = if is_ec { "--usage-derive" } else { "--usage-decrypt" };
        for (kind, file) in [("privkey", pem), ("pubkey", public.path())] {
            let mut write = self.pkcs11_tool(token)?;
            write.args(["--type", kind, usage]).arg("--write-object").arg(file);
            if extractable && kind == "privkey" {
                write.arg("--extractable");
            }
            name(&mut write, (&key).into());
            program::run(write, "pkcs11-tool --write-object")?;
        }
        Ok(key)
    }

    /// Destroys a secret key, or both halves of a key pair. Not one, or several that match, is an error.
    pub fn destroy<'a>(&self, token: &Token, which: impl Into<Which<'a>>) -> Result<(), Error> {
        let objects = self.objects(token)?;
        let key = single(&objects, Object::holds_a_secret, which.into())?.which();
        for (kind, name_of_kind) in [
            (ObjectKind::PrivateKey, "privkey"),
            (ObjectKind::PublicKey, "pubkey"),
            (ObjectKind::SecretKey, "secrkey"),
        ] {
            if !objects.iter().any(|object| object.kind == kind && fits(object, key)) {
                continue;
            }
            let mut delete = self.pkcs11_tool(token)?;
            delete.args(["--delete-object", "--type", name_of_kind]);
            name(&mut delete, key);
            program::run(delete, "pkcs11-tool --delete-object")?;
        }
        Ok(())
    }

    /// The public half as SubjectPublicKeyInfo (RFC 5280) in PEM (RFC 7468). Not one, or several that
    /// match, is an error.
    pub fn public_key_pem<'a>(&self, token: &Token, which: impl Into<Which<'a>>) -> Result<String, Error> {
        let objects = self.objects(token)?;
        let object = single(&objects, |object| object.kind == ObjectKind::PublicKey, which.into())?;
        let der = self.scratch_file()?;
        match spki::of_ec(&object.ec_params, &object.ec_point) {
            Some(bytes) => std::fs::write(der.path(), bytes).map_err(Error::io("writing", der.path()))?,
            None => {
                let mut read = self.pkcs11_tool(token)?;
                read.args(["--read-object", "--type", "pubkey", "--output-file"]).arg(der.path());
                name(&mut read, object.which());
                program::run(read, "pkcs11-tool --read-object")?;
            }
        }
        let mut openssl = openssl()?;
        openssl.args(["-pubin", "-inform", "DER", "-pubout", "-in"]).arg(der.path());
        let pem = program::run(openssl, "openssl pkey")?;
        Ok(String::from_utf8_lossy(&pem).into_owned())
    }

    fn generate_key(
        &self,
        token: &Token,
        label: &str,
        id: &[u8],
        kind: KeyKind,
        more: &[&str],
    ) -> Result<Key, Error> {
        let key = Key::checked(label, id)?;
        let mut generate = self.pkcs11_tool(token)?;
        // What is the default of a private key must be said of a secret one.
        let how: &[&str] =
            if kind.is_secret() { &["--keygen", "--sensitive", "--private"] } else { &["--keypairgen"] };
        generate.args(how).args(["--key-type", kind.pkcs11_tool_type(), kind.pkcs11_tool_usage()]).args(more);
        name(&mut generate, (&key).into());
        program::run(generate, &format!("pkcs11-tool {}", how[0]))?;
        Ok(key)
    }

    /// For public keys only.
    fn scratch_file(&self) -> Result<NamedTempFile, Error> {
        NamedTempFile::new_in(self.dir()).map_err(Error::io("writing in", self.dir()))
    }
}

impl Key {
    fn checked(label: &str, id: &[u8]) -> Result<Key, Error> {
        if label.is_empty() || label.len() > 255 || label.chars().any(char::is_control) {
            return Err(Error::Invalid(format!(
                "{label:?} is no label for a key: use 1 to 255 bytes without control characters"
            )));
        }
        if id.is_empty() || id.len() > 64 {
            return Err(Error::Invalid("a key's id has 1 to 64 bytes".to_owned()));
        }
        Ok(Key { label: label.to_owned(), id: id.to_vec() })
    }
}

impl Object {
    fn holds_a_secret(&self) -> bool {
        matches!(self.kind, ObjectKind::PrivateKey | ObjectKind::SecretKey)
    }

    fn which(&self) -> Which<'_> {
        Which { label: Some(&self.label), id: Some(&self.id) }
    }
}

fn openssl() -> Result<Command, Error> {
    let mut command = program::command("openssl", "openssl")?;
    command.arg("pkey");
    Ok(command)
}

/// Tells pkcs11-tool which object; in one argument each, since a label may begin with a dash.
fn name(command: &mut Command, which: Which<'_>) {
    if let Some(label) = which.label {
        command.arg(format!("--label={label}"));
    }
    if let Some(id) = which.id {
        command.arg(format!("--id={}", hex(id)));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fits(object: &Object, which: Which<'_>) -> bool {
    which.label.is_none_or(|label| object.label == label) && which.id.is_none_or(|id| object.id == id)
}

fn single<'a>(
    objects: &'a [Object],
    is_meant: impl Fn(&Object) -> bool,
    which: Which<'_>,
) -> Result<&'a Object, Error> {
    let mut found = objects.iter().filter(|object| is_meant(object) && fits(object, which));
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object),
        (None, _) => Err(Error::Invalid(format!(
            "there is no key {which} on the token: see pkcs11-tool --list-objects"
        ))),
        (Some(_), Some(_)) => {
            Err(Error::Invalid(format!("several keys match {which}: give both the label and the id")))
        }
    }
}
