//! The key of a certificate that is encrypted to, chosen as gpg does: the newest subkey that is for encryption, neither
//! expired nor revoked, of a certificate that is neither itself.
//!
//! All of that stands in signatures of the primary key, and they are verified: a subkey that somebody else put into the
//! file is passed by. Whose the primary key is, nobody can see here: that is for whoever gives the file, or for gpg.

use holdfast_wire::{EcPublicKey, Malformed, PublicKey};

use super::armor;
use super::certificate::{Certificate, FINGERPRINT_LEN, RecipientKey, fingerprint};
use super::ecdh::{self, Kdf};
use super::framing::{Packets, Reader, tag};
use super::parse::ECDH;
use super::signature::{Signature, Signer, kind};

/// What stands before a point of Curve25519 (RFC 9580 section 11.2.2).
pub(super) const CURVE25519_PREFIX: u8 = 0x40;
/// Key flags (section 5.2.3.29): communications or storage may be encrypted.
const FOR_ENCRYPTION: u8 = 0x04 | 0x08;

/// A key that messages are encrypted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionKey {
    way: Way,
    fingerprint: [u8; FINGERPRINT_LEN],
}

/// How it is encrypted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Rsa(PublicKey),
    Ecdh(EcPublicKey, Kdf),
    Curve25519([u8; 32], Kdf),
}

impl EncryptionKey {
    /// Chooses a certificate's key; `now` is in seconds since 1970. In armor or in binary form.
    ///
    /// Refused: more than 1 MiB, private keys, packets whose lengths do not add up, no or several certificates, one
    /// whose primary key is not RSA, ECDSA on P-256, P-384 or P-521, or Ed25519, or is revoked or expired, or that has no
    /// valid key for encryption by RSA, or by ECDH on these curves or Curve25519. Signatures with SHA-1 do not count.
    pub fn choose(bytes: &[u8], now: u64) -> Result<EncryptionKey, Malformed> {
        if bytes.len() > Certificate::MAX_LEN {
            return Err(Malformed::new(format!(
                "it has {} bytes; at most {} are taken",
                bytes.len(),
                Certificate::MAX_LEN
            )));
        }
        Parts::read(&armor::remove(bytes)?)?.choose(now)
    }

    /// The public half; none for Curve25519, which no token here has a use for.
    pub fn public(&self) -> Option<PublicKey> {
        match &self.way {
            Way::Rsa(key) => Some(key.clone()),
            Way::Ecdh(key, _) => Some(PublicKey::Ec(key.clone())),
            Way::Curve25519(..) => None,
        }
    }

    /// "RSA-3072", "P-256" or "Curve25519".
    pub fn type_name(&self) -> String {
        self.public().map_or_else(|| "Curve25519".to_owned(), |key| key.type_name())
    }

    /// Its fingerprint: of the subkey, if it is one.
    pub fn fingerprint(&self) -> &[u8; FINGERPRINT_LEN] {
        &self.fingerprint
    }

    /// By what messages name it.
    pub fn key_id(&self) -> [u8; 8] {
        self.fingerprint.last_chunk().copied().unwrap_or_default()
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// A public key packet. None for a key that is not of version 4, or cannot be encrypted to here.
    fn parse(body: &[u8]) -> Result<Option<EncryptionKey>, Malformed> {
        let way = match RecipientKey::parse(body)? {
            Some(key) => match (key.public(), key.agreement()) {
                (PublicKey::Ec(public), Some((_, kdf))) => Some(Way::Ecdh(public.clone(), kdf)),
                (PublicKey::Rsa(_), _) => Some(Way::Rsa(key.public().clone())),
                _ => None,
            },
            None => curve25519(body)?,
        };
        let len = u16::try_from(body.len()).ok();
        Ok(way.zip(len).map(|(way, len)| EncryptionKey { way, fingerprint: fingerprint(len, body) }))
    }
}

fn curve25519(body: &[u8]) -> Result<Option<Way>, Malformed> {
    let mut reader = Reader(body);
    if reader.octet()? != 4 {
        return Ok(None);
    }
    reader.take(size_of::<u32>())?;
    if reader.octet()? != ECDH {
        return Ok(None);
    }
    let len = reader.octet()?;
    if reader.take(usize::from(len))? != ecdh::CURVE25519 {
        return Ok(None);
    }
    let point = reader.mpi()?.strip_prefix(&[CURVE25519_PREFIX]).and_then(|point| point.try_into().ok());
    Ok(point.zip(Kdf::parse(reader.0)).map(|(point, kdf)| Way::Curve25519(point, kdf)))
}

/// A certificate's packets, in their order.
struct Parts {
    primary: Part,
    users: Vec<Part>,
    subkeys: Vec<Part>,
}

/// A key or a user ID, and what is said of it.
struct Part {
    /// As signatures cover it.
    covered: Vec<u8>,
    body: Vec<u8>,
    signatures: Vec<Signature>,
}

impl Part {
    /// Section 5.2.4: what stands before a key or a user ID when it is signed.
    fn new(tag: u8, body: &[u8]) -> Part {
        let len = (body.len() as u32).to_be_bytes();
        let header = match tag {
            tag::USER_ID => [&[0xb4], &len[..]].concat(),
            tag::USER_ATTRIBUTE => [&[0xd1], &len[..]].concat(),
            _ => [&[0x99], &len[2..]].concat(),
        };
        Part { covered: [&header[..], body].concat(), body: body.to_vec(), signatures: Vec::new() }
    }

    /// When a key was made.
    fn created(&self) -> u64 {
        self.body
            .get(1..5)
            .map_or(0, |octets| octets.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet)))
    }
}

impl Parts {
    fn read(octets: &[u8]) -> Result<Parts, Malformed> {
        let mut packets = Packets::new(octets);
        let mut parts: Option<Parts> = None;
        // Of which part the signatures that come are.
        let mut last = tag::PUBLIC_KEY;
        while let Some(packet) = packets.next()? {
            match (packet.tag, &mut parts) {
                (tag::PUBLIC_KEY, None) => {
                    let primary = Part::new(packet.tag, &packet.body);
                    parts = Some(Parts { primary, users: Vec::new(), subkeys: Vec::new() });
                }
                (tag::PUBLIC_KEY, Some(_)) => {
                    return Err(Malformed::new("it holds several OpenPGP certificates; give one of them"));
                }
                (tag::SECRET_KEY | tag::SECRET_SUBKEY, _) => {
                    return Err(Malformed::new(
                        "it holds a private key; give the public part alone, as gpg --export writes it",
                    ));
                }
                (tag::USER_ID | tag::USER_ATTRIBUTE, Some(parts)) => {
                    parts.users.push(Part::new(packet.tag, &packet.body));
                }
                (tag::PUBLIC_SUBKEY, Some(parts)) => parts.subkeys.push(Part::new(packet.tag, &packet.body)),
                (tag::SIGNATURE, Some(parts)) => {
                    let part = match last {
                        tag::PUBLIC_SUBKEY => parts.subkeys.last_mut(),
                        tag::USER_ID | tag::USER_ATTRIBUTE => parts.users.last_mut(),
                        _ => None,
                    };
                    let signatures = &mut part.unwrap_or(&mut parts.primary).signatures;
                    signatures.extend(Signature::parse(&packet.body)?);
                }
                _ => {}
            }
            if packet.tag != tag::SIGNATURE {
                last = packet.tag;
            }
        }
        parts.ok_or_else(|| Malformed::new("it holds no OpenPGP certificate; give what gpg --export writes"))
    }

    fn choose(&self, now: u64) -> Result<EncryptionKey, Malformed> {
        let signer = match self.primary.body.first() {
            Some(4) => Signer::parse(&self.primary.body)?,
            _ => None,
        };
        let signer = signer.ok_or_else(|| {
            Malformed::new("its primary key is of a type whose signatures cannot be verified here")
        })?;
        let own = self.own_word(&signer, now)?;
        let mut passed = Vec::new();
        let mut found: Option<(u64, EncryptionKey)> = None;
        for subkey in &self.subkeys {
            match self.subkey(subkey, &signer, now)? {
                Ok(key) if found.as_ref().is_none_or(|(made, _)| *made < subkey.created()) => {
                    found = Some((subkey.created(), key));
                }
                Ok(_) => {}
                Err(why) => passed.push(why),
            }
        }
        if let Some((_, key)) = found {
            return Ok(key);
        }
        // A key of before OpenPGP had subkeys.
        if own.flags.is_none_or(|flags| flags & FOR_ENCRYPTION != 0)
            && let Some(key) = EncryptionKey::parse(&self.primary.body)?
        {
            return Ok(key);
        }
        passed.dedup();
        let passed = if passed.is_empty() { "it has no subkey".to_owned() } else { passed.join(", ") };
        Err(Malformed::new(format!("it has no key that can be encrypted to: {passed}")))
    }

    /// The newest signature in which the primary key speaks of itself.
    fn own_word(&self, signer: &Signer, now: u64) -> Result<&Signature, Malformed> {
        let primary = &self.primary;
        let made = |signature: &Signature, over: &[u8]| signer.made(signature, over);
        let revoked = |signature: &&Signature| signature.kind == kind::KEY_REVOCATION;
        if primary.signatures.iter().filter(revoked).any(|one| made(one, &primary.covered)) {
            return Err(Malformed::new("it is revoked"));
        }
        let direct = |signature: &&Signature| signature.kind == kind::DIRECT && signature.holds_at(now);
        let mut words: Vec<&Signature> =
            primary.signatures.iter().filter(direct).filter(|one| made(one, &primary.covered)).collect();
        for user in &self.users {
            let over = [&primary.covered[..], &user.covered].concat();
            let certified = |signature: &&Signature| {
                let kinds = [kind::CERTIFICATION_REVOCATION];
                (kind::CERTIFICATIONS.contains(&signature.kind) || kinds.contains(&signature.kind))
                    && signature.holds_at(now)
                    && made(signature, &over)
            };
            let newest = user.signatures.iter().filter(certified).max_by_key(|signature| signature.created);
            words.extend(newest.filter(|signature| signature.kind != kind::CERTIFICATION_REVOCATION));
        }
        let newest = words.into_iter().max_by_key(|signature| signature.created);
        let newest = newest.ok_or_else(|| {
            Malformed::new(
                "none of its user IDs is bound to its primary key by a signature that can be verified here",
            )
        })?;
        match is_over(primary, newest, now) {
            true => Err(Malformed::new("it has expired")),
            false => Ok(newest),
        }
    }

    /// A subkey, or why it is passed by.
    fn subkey(
        &self,
        subkey: &Part,
        signer: &Signer,
        now: u64,
    ) -> Result<Result<EncryptionKey, &'static str>, Malformed> {
        let over = [&self.primary.covered[..], &subkey.covered].concat();
        let of = |kind: u8| subkey.signatures.iter().filter(move |signature| signature.kind == kind);
        if of(kind::SUBKEY_REVOCATION).any(|signature| signer.made(signature, &over)) {
            return Ok(Err("a subkey is revoked"));
        }
        let bindings = of(kind::SUBKEY_BINDING).filter(|one| one.holds_at(now) && signer.made(one, &over));
        let Some(binding) = bindings.max_by_key(|signature| signature.created) else {
            return Ok(Err(
                "a subkey is not bound to its primary key by a signature that can be verified here",
            ));
        };
        if binding.flags.is_some_and(|flags| flags & FOR_ENCRYPTION == 0) {
            return Ok(Err("a subkey is not for encryption"));
        }
        if is_over(subkey, binding, now) {
            return Ok(Err("a subkey has expired"));
        }
        Ok(EncryptionKey::parse(&subkey.body)?.ok_or(
            "a subkey is neither RSA of 2048 to 8192 bits nor ECDH on P-256, P-384, P-521 or Curve25519",
        ))
    }
}

/// Whether a key has expired by this word of it, or is not made yet.
fn is_over(key: &Part, word: &Signature, now: u64) -> bool {
    let lasts = u64::from(word.key_lasts);
    key.created() > now || (lasts != 0 && key.created() + lasts <= now)
}
