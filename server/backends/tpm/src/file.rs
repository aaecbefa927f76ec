//! TSS2 PRIVATE KEY files: keys that only one TPM can load (ASN.1 Specification for TPM 2.0 Key Files,
//! draft-bottomley-tpm2-keys; what tpm2-openssl, tpm2-tools and openssl_tpm2_engine read and write).
//!
//! ```text
//! TPMKey ::= SEQUENCE {
//!     type        OBJECT IDENTIFIER,                               -- 2.23.133.10.1.3 loadable, .4 importable
//!     emptyAuth   [0] EXPLICIT BOOLEAN OPTIONAL,                   -- true: no password
//!     policy      [1] EXPLICIT SEQUENCE OF TPMPolicy OPTIONAL,     -- the commands of its policy
//!     secret      [2] EXPLICIT OCTET STRING OPTIONAL,              -- TPM2B_ENCRYPTED_SECRET, importable keys
//!     authPolicy  [3] EXPLICIT SEQUENCE OF TPMAuthPolicy OPTIONAL, -- signed policies
//!     description [4] EXPLICIT UTF8String OPTIONAL,
//!     rsaParent   [5] EXPLICIT BOOLEAN OPTIONAL,                   -- of permanent handles: not the P-256 key
//!     parent      INTEGER,                                         -- a handle
//!     pubkey      OCTET STRING,                                    -- TPM2B_PUBLIC
//!     privkey     OCTET STRING }                                   -- TPM2B_PRIVATE
//! TPMPolicy     ::= SEQUENCE { CommandCode [0] EXPLICIT INTEGER, CommandPolicy [1] EXPLICIT OCTET STRING }
//! TPMAuthPolicy ::= SEQUENCE { name [0] EXPLICIT UTF8String OPTIONAL, policy [1] EXPLICIT SEQUENCE OF TPMPolicy }
//! ```
//!
//! There are two forms, each a type of its own: what is to be loaded cannot be what is still to be imported.
//! A [`KeyFile`] is encrypted by its storage key's own seed, and of use in that TPM alone. An
//! [`ImportableFile`] was encrypted to the public half of the storage key, by anybody; whoever controls that
//! TPM has the key from it in plain (TPM2_Rewrap).
//!
//! What a file says is not believed: the TPM checks private against public half, and the policy against the
//! digest in the public half.

mod form;

use form::{DAMAGED, Form, IMPORTABLE, LOADABLE, SEALED};

/// Bytes. An RSA-4096 key with a policy has 4 KiB in PEM.
pub const MAX_LEN: usize = 64 * 1024;

const LABEL: &str = "TSS2 PRIVATE KEY";

/// A key that a TPM loads (TPM2_Load).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Whether the key is used without a password.
    pub empty_auth: bool,
    /// The commands that make up its policy, in their order.
    pub policy: Vec<PolicyCommand>,
    /// Signed policies, of which any one will do, where `policy` begins with TPM2_PolicyAuthorize.
    pub auth_policy: Vec<AuthPolicy>,
    /// The handle of the storage key above it: a persistent one, or [`KeyFile::OWNER`].
    pub parent: u32,
    /// TPM2B_PUBLIC (TPM 2.0 Library Part 2, section 12.2.5).
    pub public: Vec<u8>,
    /// TPM2B_PRIVATE (section 12.3.7).
    pub private: Vec<u8>,
}

/// A key that a TPM imports (TPM2_Import) before it loads it. It has no inner wrapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportableFile {
    /// As in [`KeyFile`].
    pub empty_auth: bool,
    /// As in [`KeyFile`].
    pub policy: Vec<PolicyCommand>,
    /// As in [`KeyFile`].
    pub auth_policy: Vec<AuthPolicy>,
    /// A line for people: what it was sealed to.
    pub description: Option<String>,
    /// Where the storage key is that it was sealed to, as far as who sealed it knew.
    pub parent: u32,
    /// TPM2B_PUBLIC.
    pub public: Vec<u8>,
    /// TPM2B_PRIVATE: the `duplicate` of TPM2_Import.
    pub duplicate: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET (section 11.4.33): the `inSymSeed` of TPM2_Import.
    pub secret: Vec<u8>,
}

/// One command of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCommand {
    /// TPM_CC.
    pub code: u32,
    /// What it is given, as it is hashed into the policy.
    pub parameters: Vec<u8>,
}

/// A policy that somebody signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthPolicy {
    /// For people.
    pub name: Option<String>,
    /// Its commands; the last one, TPM2_PolicyAuthorize, holds the signature.
    pub policy: Vec<PolicyCommand>,
}

impl KeyFile {
    /// TPM_RH_OWNER: the key's parent is the primary key of the owner hierarchy, made anew when needed.
    pub const OWNER: u32 = 0x4000_0001;

    /// Reads a PEM file. The error says what is wrong and what to do, and quotes nothing.
    pub fn from_pem(text: &[u8]) -> Result<KeyFile, &'static str> {
        let der = armoured(text)?.ok_or(
            "a plain private key and no TSS2 PRIVATE KEY: it is in no TPM; destroy it and make a key with holdfastd key create",
        )?;
        KeyFile::from_der(&der)
    }

    /// As [`KeyFile::from_pem`], without the PEM armour.
    pub fn from_der(der: &[u8]) -> Result<KeyFile, &'static str> {
        let form = Form::read(der)?;
        match (form.oid, form.secret) {
            (LOADABLE, None) => Ok(KeyFile {
                empty_auth: form.empty_auth,
                policy: form.policy,
                auth_policy: form.auth_policy,
                parent: form.parent,
                public: form.public,
                private: form.private,
            }),
            (IMPORTABLE, Some(_)) => Err(
                "a sealed key, which its TPM has yet to import: holdfastd key import tpm:file=NEW.tss --from THIS",
            ),
            (SEALED, _) => Err("sealed data and no key"),
            _ => Err(DAMAGED),
        }
    }

    /// Writes a PEM file.
    pub fn to_pem(&self) -> Result<String, der::Error> {
        armour(self.form())
    }

    fn form(&self) -> Form {
        Form {
            oid: LOADABLE,
            empty_auth: self.empty_auth,
            policy: self.policy.clone(),
            secret: None,
            auth_policy: self.auth_policy.clone(),
            description: None,
            parent: self.parent,
            public: self.public.clone(),
            private: self.private.clone(),
        }
    }
}

impl ImportableFile {
    /// Reads a PEM file, as [`KeyFile::from_pem`].
    pub fn from_pem(text: &[u8]) -> Result<ImportableFile, &'static str> {
        let der = armoured(text)?.ok_or("a plain private key and no sealed one")?;
        ImportableFile::from_der(&der)
    }

    /// As [`ImportableFile::from_pem`], without the PEM armour.
    pub fn from_der(der: &[u8]) -> Result<ImportableFile, &'static str> {
        let form = Form::read(der)?;
        match (form.oid, form.secret) {
            (IMPORTABLE, Some(secret)) => Ok(ImportableFile {
                empty_auth: form.empty_auth,
                policy: form.policy,
                auth_policy: form.auth_policy,
                description: form.description,
                parent: form.parent,
                public: form.public,
                duplicate: form.private,
                secret,
            }),
            (LOADABLE, None) => Err(
                "a key that is in its TPM already: there is nothing to import; name this file in the key's uri, tpm:file=",
            ),
            (SEALED, _) => Err("sealed data and no key"),
            _ => Err(DAMAGED),
        }
    }

    /// Writes a PEM file.
    pub fn to_pem(&self) -> Result<String, der::Error> {
        armour(self.form())
    }

    fn form(&self) -> Form {
        Form {
            oid: IMPORTABLE,
            empty_auth: self.empty_auth,
            policy: self.policy.clone(),
            secret: Some(self.secret.clone()),
            auth_policy: self.auth_policy.clone(),
            description: self.description.clone(),
            parent: self.parent,
            public: self.public.clone(),
            private: self.duplicate.clone(),
        }
    }
}

/// The DER of a key file; none of a plain private key.
fn armoured(text: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if text.len() > MAX_LEN {
        return Err("more than 64 KiB, which no key file has");
    }
    match der::pem::decode_vec(text) {
        Ok((LABEL, der)) => Ok(Some(der)),
        Ok(("PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY", _)) => Ok(None),
        _ => Err(DAMAGED),
    }
}

fn armour(form: Form) -> Result<String, der::Error> {
    der::pem::encode_string(LABEL, der::pem::LineEnding::LF, &form.to_der()?).map_err(der::Error::from)
}

#[cfg(test)]
mod tests;
