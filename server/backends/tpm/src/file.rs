//! TSS2 PRIVATE KEY files: keys that only one TPM can load (ASN.1 Specification for TPM 2.0 Key Files,
//! draft-bottomley-tpm2-keys; what tpm2-openssl, tpm2-tools and openssl_tpm2_engine read and write).
//!
//! ```text
//! TPMKey ::= SEQUENCE {
//!     type        OBJECT IDENTIFIER,                               -- 2.23.133.10.1.3, loadable
//!     emptyAuth   [0] EXPLICIT BOOLEAN OPTIONAL,                   -- true: no password
//!     policy      [1] EXPLICIT SEQUENCE OF TPMPolicy OPTIONAL,     -- the commands of its policy
//!     secret      [2] EXPLICIT OCTET STRING OPTIONAL,              -- importable keys
//!     authPolicy  [3] EXPLICIT SEQUENCE OF TPMAuthPolicy OPTIONAL, -- signed policies
//!     description [4] EXPLICIT UTF8String OPTIONAL,
//!     rsaParent   [5] EXPLICIT BOOLEAN OPTIONAL,
//!     parent      INTEGER,                                         -- a handle
//!     pubkey      OCTET STRING,                                    -- TPM2B_PUBLIC
//!     privkey     OCTET STRING }                                   -- TPM2B_PRIVATE
//! TPMPolicy ::= SEQUENCE { CommandCode [0] EXPLICIT INTEGER, CommandPolicy [1] EXPLICIT OCTET STRING }
//! ```
//!
//! Nothing in such a file is secret, but for those who hold the TPM. What the file says is not believed: the
//! TPM checks private against public half, and the policy against the digest in the public half.

use der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier, OctetStringRef, Utf8StringRef};
use der::pem::LineEnding;
use der::{Any, Decode, Encode, Reader, SliceReader, Tag, TagMode, TagNumber, Tagged};

/// Bytes. An RSA-4096 key with a policy has 4 KiB in PEM.
pub const MAX_LEN: usize = 64 * 1024;

const LABEL: &str = "TSS2 PRIVATE KEY";
const LOADABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");
const IMPORTABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.4");
const SEALED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.5");
/// Policies have a handful of commands.
const MAX_COMMANDS: usize = 16;

const DAMAGED: &str = "not a TSS2 PRIVATE KEY file, or a damaged one";

/// A key as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Whether the key is used without a password.
    pub empty_auth: bool,
    /// The commands that make up its policy, in their order.
    pub policy: Vec<PolicyCommand>,
    /// The handle of the storage key above it: a persistent one, or [`KeyFile::OWNER`].
    pub parent: u32,
    /// TPM2B_PUBLIC (TPM 2.0 Library Part 2, section 12.2.5).
    pub public: Vec<u8>,
    /// TPM2B_PRIVATE (section 12.3.7).
    pub private: Vec<u8>,
}

/// One command of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCommand {
    /// TPM_CC.
    pub code: u32,
    /// What it is given, as it is hashed into the policy.
    pub parameters: Vec<u8>,
}

impl KeyFile {
    /// TPM_RH_OWNER: the key's parent is the primary key of the owner hierarchy, made anew when needed.
    pub const OWNER: u32 = 0x4000_0001;

    /// Reads a PEM file. The error says what is wrong and what to do, and quotes nothing.
    pub fn from_pem(text: &[u8]) -> Result<KeyFile, &'static str> {
        if text.len() > MAX_LEN {
            return Err("more than 64 KiB, which no key file has");
        }
        match der::pem::decode_vec(text) {
            Ok((LABEL, der)) => KeyFile::from_der(&der),
            Ok(("PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY", _)) => Err(
                "a plain private key and no TSS2 PRIVATE KEY: it is in no TPM; destroy it and make a key with holdfastd key create",
            ),
            _ => Err(DAMAGED),
        }
    }

    /// As [`KeyFile::from_pem`], without the PEM armour.
    pub fn from_der(der: &[u8]) -> Result<KeyFile, &'static str> {
        let raw = Raw::read(der).map_err(|_| DAMAGED)?;
        match raw.oid {
            LOADABLE => {}
            IMPORTABLE => {
                return Err("an importable key, which this version does not import; make one in this TPM");
            }
            SEALED => return Err("sealed data and no key"),
            _ => return Err(DAMAGED),
        }
        if raw.has_secret {
            return Err(DAMAGED);
        }
        if raw.has_signed_policy {
            return Err(
                "a key with a signed policy, which this version does not use; make one with exact PCR values",
            );
        }
        Ok(raw.key)
    }

    /// Writes a PEM file.
    pub fn to_pem(&self) -> Result<String, der::Error> {
        der::pem::encode_string(LABEL, LineEnding::LF, &self.to_der()?).map_err(der::Error::from)
    }

    fn to_der(&self) -> der::Result<Vec<u8>> {
        let mut body = LOADABLE.to_der()?;
        if self.empty_auth {
            body.extend(tagged(TagNumber::N0, true.to_der()?)?);
        }
        if !self.policy.is_empty() {
            let mut commands = Vec::new();
            for command in &self.policy {
                let code = tagged(TagNumber::N0, command.code.to_der()?)?;
                let parameters = tagged(TagNumber::N1, OctetStringRef::new(&command.parameters)?.to_der()?)?;
                commands.extend(sequence([code, parameters].concat())?);
            }
            body.extend(tagged(TagNumber::N1, sequence(commands)?)?);
        }
        body.extend(self.parent.to_der()?);
        body.extend(OctetStringRef::new(&self.public)?.to_der()?);
        body.extend(OctetStringRef::new(&self.private)?.to_der()?);
        sequence(body)
    }
}

fn sequence(body: Vec<u8>) -> der::Result<Vec<u8>> {
    Any::new(Tag::Sequence, body)?.to_der()
}

fn tagged(tag_number: TagNumber, inner: Vec<u8>) -> der::Result<Vec<u8>> {
    let value = Any::from_der(&inner)?;
    ContextSpecific { tag_number, tag_mode: TagMode::Explicit, value }.to_der()
}

/// The form, before it is asked what of it is taken.
struct Raw {
    oid: ObjectIdentifier,
    has_secret: bool,
    has_signed_policy: bool,
    key: KeyFile,
}

impl Raw {
    fn read(der: &[u8]) -> der::Result<Raw> {
        let mut reader = SliceReader::new(der)?;
        let raw = reader.sequence(|reader| {
            let oid = reader.decode()?;
            let empty_auth = explicit(reader, TagNumber::N0)?.map(truth).transpose()?.unwrap_or(false);
            let policy = explicit(reader, TagNumber::N1)?.map(commands).transpose()?.unwrap_or_default();
            let has_secret = explicit(reader, TagNumber::N2)?.is_some();
            let has_signed_policy = explicit(reader, TagNumber::N3)?.is_some();
            explicit(reader, TagNumber::N4)?.map(|any| any.decode_as::<Utf8StringRef<'_>>()).transpose()?;
            explicit(reader, TagNumber::N5)?.map(truth).transpose()?;
            let key = KeyFile {
                empty_auth,
                policy,
                parent: reader.decode()?,
                public: reader.decode::<OctetStringRef<'_>>()?.as_bytes().to_vec(),
                private: reader.decode::<OctetStringRef<'_>>()?.as_bytes().to_vec(),
            };
            Ok(Raw { oid, has_secret, has_signed_policy, key })
        })?;
        reader.finish(raw)
    }
}

fn explicit<'a, R: Reader<'a>>(reader: &mut R, number: TagNumber) -> der::Result<Option<AnyRef<'a>>> {
    Ok(ContextSpecific::<AnyRef<'a>>::decode_explicit(reader, number)?.map(|field| field.value))
}

/// DER has 0xFF for true; tpm2-openssl writes 0x01, as BER may.
fn truth(any: AnyRef<'_>) -> der::Result<bool> {
    match (any.tag(), any.value()) {
        (Tag::Boolean, [byte]) => Ok(*byte != 0),
        _ => Err(Tag::Boolean.value_error()),
    }
}

fn commands(any: AnyRef<'_>) -> der::Result<Vec<PolicyCommand>> {
    any.sequence(|reader| {
        let mut commands = Vec::new();
        while !reader.is_finished() {
            if commands.len() == MAX_COMMANDS {
                return Err(Tag::Sequence.length_error());
            }
            commands.push(reader.sequence(|reader| {
                let field = |any: Option<AnyRef<'_>>| any.map(|any| (any.tag(), any.value().to_vec()));
                let code = explicit(reader, TagNumber::N0)?.ok_or(Tag::Integer.value_error())?;
                let parameters = field(explicit(reader, TagNumber::N1)?);
                match parameters {
                    Some((Tag::OctetString, parameters)) => {
                        Ok(PolicyCommand { code: code.decode_as()?, parameters })
                    }
                    _ => Err(Tag::OctetString.value_error()),
                }
            })?);
        }
        Ok(commands)
    })
}

#[cfg(test)]
mod tests;
