//! A packet of any scheme, read and finished the same way.

use holdfast_wire::{Algorithm, Labels, Malformed, OptsData, Secret};

use crate::cms::EnvelopedData;
use crate::jwe::Jwe;
use crate::pgp::{Pgp, RecipientKey};
use crate::pkcs11::Pkcs11;
use crate::{FinishError, Recipient};

/// A parsed packet. Nothing of it is authenticated until [`Packet::finish`] succeeds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Packet {
    /// Scheme `jwe`, and every `provider.NAME` of ours: [`jwe`](crate::jwe). The content is under a content
    /// encryption key (CEK), and that is sealed to each recipient by RSA-OAEP, ECDH-ES or A256GCMKW.
    Jwe(Jwe),
    /// Scheme `pkcs7`: [`cms`](crate::cms), an EnvelopedData. The content is under a CEK by AES-GCM, and that is
    /// sealed to each recipient's certificate by RSA PKCS#1 v1.5.
    Pkcs7(EnvelopedData),
    /// Scheme `pgp`: [`pgp`](crate::pgp), an OpenPGP message. The content is under a session key, and that is
    /// sealed to each recipient by RSA PKCS#1 v1.5 or OpenPGP's ECDH.
    Pgp(Pgp),
    /// Scheme `pkcs11`: [`pkcs11`](crate::pkcs11), JSON of ocicrypt's own. There is no CEK: the optsdata itself is
    /// sealed to each recipient by RSA-OAEP.
    Pkcs11(Pkcs11),
}

/// A packet could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A scheme that there is no reader for.
    #[error("this version opens packets of the schemes {}; encrypt with one of them", Packet::SCHEMES)]
    UnknownScheme,
    /// The packet does not have the form that its scheme has.
    #[error("{0}")]
    Malformed(Malformed),
}

impl Packet {
    /// The schemes that [`Packet::parse`] knows, for people.
    pub const SCHEMES: &str = "jwe, pkcs7, pgp, pkcs11 and provider";

    /// Reads a packet. `scheme` is the last part of the annotation's name, "jwe" or "provider.holdfast".
    pub fn parse(scheme: &str, bytes: &[u8]) -> Result<Packet, ParseError> {
        let packet = match scheme {
            "jwe" => Jwe::parse(bytes).map(Packet::Jwe),
            "pkcs7" => EnvelopedData::parse(bytes).map(Packet::Pkcs7),
            "pgp" => Pgp::parse(bytes).map(Packet::Pgp),
            "pkcs11" => Pkcs11::parse(bytes).map(Packet::Pkcs11),
            provider if provider.starts_with("provider.") => Jwe::parse(bytes).map(Packet::Jwe),
            _ => return Err(ParseError::UnknownScheme),
        };
        packet.map_err(ParseError::Malformed)
    }

    /// Its scheme: "jwe" for that of a key provider too.
    pub fn scheme(&self) -> &'static str {
        match self {
            Packet::Jwe(_) => "jwe",
            Packet::Pkcs7(_) => "pkcs7",
            Packet::Pgp(_) => "pgp",
            Packet::Pkcs11(_) => "pkcs11",
        }
    }

    /// The recipients in the packet's order; at least one.
    pub fn recipients(&self) -> &[Recipient] {
        match self {
            Packet::Jwe(packet) => packet.recipients(),
            Packet::Pkcs7(packet) => packet.recipients(),
            Packet::Pgp(packet) => packet.recipients(),
            Packet::Pkcs11(packet) => packet.recipients(),
        }
    }

    /// The labels, authentic once [`Packet::finish`] has succeeded. Only a JWE has a place for some.
    pub fn labels(&self) -> &Labels {
        static NONE: std::sync::LazyLock<Labels> = std::sync::LazyLock::new(Labels::default);
        match self {
            Packet::Jwe(packet) => packet.labels(),
            Packet::Pkcs7(_) | Packet::Pgp(_) | Packet::Pkcs11(_) => &NONE,
        }
    }

    /// The algorithms by which this version opens packets of this scheme.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        match self {
            Packet::Jwe(_) => Algorithm::ALL.into_iter().filter(|known| known.in_jwe()).collect(),
            Packet::Pkcs7(_) => vec![Algorithm::Rsa1_5],
            Packet::Pgp(_) => vec![Algorithm::Rsa1_5, Algorithm::OpenPgpEcdh],
            Packet::Pkcs11(_) => vec![Algorithm::RsaOaep, Algorithm::RsaOaep256],
        }
    }

    /// Finishes what a token began. `opened` is what it gave for `recipients()[index].sealed()`. Whatever does
    /// not lead to the content is [`FinishError::Rejected`], a recipient that does not exist or that has no known
    /// algorithm too.
    ///
    /// For RSA PKCS#1 v1.5, something of the wrong length takes the same way as something of the right one: it is
    /// replaced by a [decoy](Packet::decoy), which opens nothing.
    ///
    /// An OpenPGP recipient with [`Algorithm::OpenPgpEcdh`] needs [`Packet::finish_certified`].
    pub fn finish(&self, index: usize, opened: Secret) -> Result<OptsData, FinishError> {
        self.finish_certified(index, opened, None)
    }

    /// The same with what the OpenPGP certificate of the key that was used says of it, where there is one. Without it
    /// nothing opens that was sealed by [`Algorithm::OpenPgpEcdh`]; nothing else looks at it.
    pub fn finish_certified(
        &self,
        index: usize,
        opened: Secret,
        certified: Option<&RecipientKey>,
    ) -> Result<OptsData, FinishError> {
        match self {
            Packet::Jwe(packet) => packet.finish(index, opened),
            Packet::Pkcs7(packet) => packet.finish(index, opened),
            Packet::Pgp(packet) => packet.finish(index, opened, certified),
            Packet::Pkcs11(packet) => packet.finish(index, opened),
        }
    }

    /// What to finish with when a token refused a recipient whose [algorithm](Recipient::algorithm) is
    /// [`Algorithm::Rsa1_5`]: fresh random bytes of the form that the token would have opened. Whoever asks then
    /// cannot tell a bad padding from a wrong key (RFC 3218 section 2.3.2). None for every other recipient: their
    /// paddings and tags tell nothing.
    pub fn decoy(&self, index: usize) -> Option<Secret> {
        if self.recipients().get(index)?.algorithm()? != Algorithm::Rsa1_5 {
            return None;
        }
        match self {
            Packet::Pkcs7(packet) => packet.decoy(),
            Packet::Pgp(packet) => packet.decoy(),
            Packet::Jwe(_) | Packet::Pkcs11(_) => None,
        }
    }
}
