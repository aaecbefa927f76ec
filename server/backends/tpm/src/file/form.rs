//! The ASN.1 of key files, both forms of it, before it is asked what of it is taken.

use der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier, OctetStringRef, Utf8StringRef};
use der::{Any, Decode, Encode, Reader, SliceReader, Tag, TagMode, TagNumber, Tagged};

use super::{AuthPolicy, PolicyCommand};

pub(super) const LOADABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");
pub(super) const IMPORTABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.4");
pub(super) const SEALED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.5");

/// Policies have a handful of commands.
pub(super) const MAX_COMMANDS: usize = 16;
/// One for each kernel that may still boot, and more.
pub(super) const MAX_SIGNED: usize = 64;

pub(super) const DAMAGED: &str = "not a TSS2 PRIVATE KEY file, or a damaged one";
pub(super) const RSA_PARENT: &str = "the key's parent is the RSA key that is made from the hierarchy's own template, which this version does not make; make that key persistent (tpm2_evictcontrol), and the key anew under its handle";

/// MSO of permanent handles: TPM_HT_PERMANENT.
const PERMANENT: u32 = 0x40;

pub(super) struct Form {
    pub(super) oid: ObjectIdentifier,
    pub(super) empty_auth: bool,
    pub(super) policy: Vec<PolicyCommand>,
    pub(super) secret: Option<Vec<u8>>,
    pub(super) auth_policy: Vec<AuthPolicy>,
    pub(super) description: Option<String>,
    pub(super) parent: u32,
    pub(super) public: Vec<u8>,
    pub(super) private: Vec<u8>,
}

impl Form {
    pub(super) fn read(der: &[u8]) -> Result<Form, &'static str> {
        let (form, rsa_parent) = parse(der).map_err(|_| DAMAGED)?;
        // Under a persistent handle the key is what it is.
        if rsa_parent && form.parent >> 24 == PERMANENT {
            return Err(RSA_PARENT);
        }
        Ok(form)
    }

    pub(super) fn to_der(&self) -> der::Result<Vec<u8>> {
        let mut body = self.oid.to_der()?;
        if self.empty_auth {
            body.extend(tagged(TagNumber::N0, true.to_der()?)?);
        }
        if !self.policy.is_empty() {
            body.extend(tagged(TagNumber::N1, commands_to_der(&self.policy)?)?);
        }
        if let Some(secret) = &self.secret {
            body.extend(tagged(TagNumber::N2, OctetStringRef::new(secret)?.to_der()?)?);
        }
        if !self.auth_policy.is_empty() {
            let mut signed = Vec::new();
            for AuthPolicy { name, policy } in &self.auth_policy {
                let mut one = match name {
                    Some(name) => tagged(TagNumber::N0, Utf8StringRef::new(name)?.to_der()?)?,
                    None => Vec::new(),
                };
                one.extend(tagged(TagNumber::N1, commands_to_der(policy)?)?);
                signed.extend(sequence(one)?);
            }
            body.extend(tagged(TagNumber::N3, sequence(signed)?)?);
        }
        if let Some(description) = &self.description {
            body.extend(tagged(TagNumber::N4, Utf8StringRef::new(description)?.to_der()?)?);
        }
        body.extend(self.parent.to_der()?);
        body.extend(OctetStringRef::new(&self.public)?.to_der()?);
        body.extend(OctetStringRef::new(&self.private)?.to_der()?);
        sequence(body)
    }
}

/// The form, and rsaParent.
fn parse(der: &[u8]) -> der::Result<(Form, bool)> {
    let mut reader = SliceReader::new(der)?;
    let form = reader.sequence(|reader| {
        let oid = reader.decode()?;
        let empty_auth = explicit(reader, TagNumber::N0)?.map(truth).transpose()?.unwrap_or(false);
        let policy = explicit(reader, TagNumber::N1)?.map(commands).transpose()?.unwrap_or_default();
        let secret = explicit(reader, TagNumber::N2)?.map(octets).transpose()?;
        let auth_policy = explicit(reader, TagNumber::N3)?.map(signed).transpose()?.unwrap_or_default();
        let description = explicit(reader, TagNumber::N4)?.map(text).transpose()?;
        let rsa_parent = explicit(reader, TagNumber::N5)?.map(truth).transpose()?.unwrap_or(false);
        let parent = reader.decode()?;
        let public = reader.decode::<OctetStringRef<'_>>()?.as_bytes().to_vec();
        let private = reader.decode::<OctetStringRef<'_>>()?.as_bytes().to_vec();
        let form =
            Form { oid, empty_auth, policy, secret, auth_policy, description, parent, public, private };
        Ok((form, rsa_parent))
    })?;
    reader.finish(form)
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

fn octets(any: AnyRef<'_>) -> der::Result<Vec<u8>> {
    Ok(any.decode_as::<OctetStringRef<'_>>()?.as_bytes().to_vec())
}

fn text(any: AnyRef<'_>) -> der::Result<String> {
    Ok(any.decode_as::<Utf8StringRef<'_>>()?.as_str().to_owned())
}

fn commands(any: AnyRef<'_>) -> der::Result<Vec<PolicyCommand>> {
    each(any, MAX_COMMANDS, |reader| {
        let code = explicit(reader, TagNumber::N0)?.ok_or(Tag::Integer.value_error())?;
        let parameters = explicit(reader, TagNumber::N1)?.ok_or(Tag::OctetString.value_error())?;
        Ok(PolicyCommand { code: code.decode_as()?, parameters: octets(parameters)? })
    })
}

fn signed(any: AnyRef<'_>) -> der::Result<Vec<AuthPolicy>> {
    each(any, MAX_SIGNED, |reader| {
        let name = explicit(reader, TagNumber::N0)?.map(text).transpose()?;
        let policy = explicit(reader, TagNumber::N1)?.ok_or(Tag::Sequence.value_error())?;
        Ok(AuthPolicy { name, policy: commands(policy)? })
    })
}

/// SEQUENCE OF SEQUENCE, of at most so many.
fn each<'a, T>(
    any: AnyRef<'a>,
    most: usize,
    read: impl Fn(&mut SliceReader<'a>) -> der::Result<T>,
) -> der::Result<Vec<T>> {
    any.sequence(|reader| {
        let mut all = Vec::new();
        while !reader.is_finished() {
            if all.len() == most {
                return Err(Tag::Sequence.length_error());
            }
            all.push(reader.decode::<AnyRef<'a>>()?.sequence(&read)?);
        }
        Ok(all)
    })
}

fn commands_to_der(commands: &[PolicyCommand]) -> der::Result<Vec<u8>> {
    let mut all = Vec::new();
    for command in commands {
        let code = tagged(TagNumber::N0, command.code.to_der()?)?;
        let parameters = tagged(TagNumber::N1, OctetStringRef::new(&command.parameters)?.to_der()?)?;
        all.extend(sequence([code, parameters].concat())?);
    }
    sequence(all)
}

pub(super) fn sequence(body: Vec<u8>) -> der::Result<Vec<u8>> {
    Any::new(Tag::Sequence, body)?.to_der()
}

pub(super) fn tagged(tag_number: TagNumber, inner: Vec<u8>) -> der::Result<Vec<u8>> {
    let value = Any::from_der(&inner)?;
    ContextSpecific { tag_number, tag_mode: TagMode::Explicit, value }.to_der()
}
