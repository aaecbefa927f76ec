//! From a packet to what it holds: which keys are tried, in which order, and what a failure means.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use holdfast_custody::Error as CustodyError;
use holdfast_envelope::{FinishError, Hint, Packet, ParseError, Recipient};
use holdfast_wire::{Algorithm, Malformed, PublicKey, Sealed};

use super::{Engine, PROVIDER, Trail};
use crate::audit::Opened;
use crate::config::Action;
use crate::keyring::Facts;
use crate::request::Request;
use crate::status::Failure;

/// How often a token is asked to open something for one request.
const MAX_TOKEN_CALLS: usize = 8;

/// One wrapped form of a layer's key, not yet read.
pub struct Wrapped {
    /// "jwe", "pkcs7", "pgp", "pkcs11", or "provider.NAME" for what this daemon wrote itself.
    pub scheme: String,
    /// The annotation's bytes.
    pub data: Vec<u8>,
}

/// A key that the caller may unwrap with.
struct Admitted<'a> {
    key: usize,
    alias: &'a str,
    facts: Arc<Facts>,
}

/// Recipients by their `kid`, while it is not known of every key: whose `kid` nobody has yet is tried with
/// everybody only when all have been asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kids {
    /// All recipients.
    Any,
    /// Without a `kid`, or with one that a key has.
    Own,
    /// The others.
    Foreign,
}

/// A key and a recipient that may fit.
struct Candidate<'a> {
    key: usize,
    alias: &'a str,
    facts: Arc<Facts>,
    recipient: usize,
    sealed: Sealed,
}

/// Collects what went wrong with each candidate, and in the end says which of it counts.
#[derive(Default)]
struct Failures(Vec<Failure>);

impl Failures {
    /// An operator learns of each key that could not be asked, also where another one opened the packet: it is
    /// missed on the day that the other one is away too.
    fn tell(&self, request: &Request) {
        for failure in &self.0 {
            if let Failure::Custody { alias, error } = failure
                && failure.is_of_the_key()
            {
                tracing::warn!(request = %request.id, alias, %error, "a key of this packet could not be used");
            }
        }
    }

    /// What may pass by itself comes first, then what an operator can mend, then "wrong key".
    fn verdict(self) -> Failure {
        let rank = |failure: &Failure| match failure {
            failure if failure.is_transient() => 0,
            Failure::Custody { .. } => 1,
            Failure::TooManyRecipients => 2,
            Failure::Rejected => 3,
            Failure::Malformed(_) | Failure::NotSupported(_) => 4,
            _ => 5,
        };
        self.0.into_iter().min_by_key(rank).unwrap_or(Failure::Denied)
    }
}

impl Engine {
    pub(super) async fn open_first(
        &self,
        request: &Request,
        packets: &[Wrapped],
        trail: &mut Trail,
    ) -> Result<Opened, Failure> {
        self.audit.ready().await.map_err(|_| Failure::AuditDown)?;
        let mut failures = Failures::default();
        for (index, packet) in packets.iter().enumerate() {
            trail.packet = index;
            match parse(packet) {
                Ok((scheme, packet)) => {
                    match self.open_packet(request, (scheme, &packet), trail, &mut failures).await {
                        Some(opened) => {
                            trail.schemes = vec![scheme];
                            failures.tell(request);
                            return Ok(opened);
                        }
                        None => continue,
                    }
                }
                Err(failure) => failures.0.push(failure),
            }
        }
        if failures.0.len() > 1 {
            failures.tell(request);
        }
        Err(failures.verdict())
    }

    async fn open_packet(
        &self,
        request: &Request,
        (scheme, packet): (&'static str, &Packet),
        trail: &mut Trail,
        failures: &mut Failures,
    ) -> Option<Opened> {
        trail.labels = packet.labels().clone();
        if !trail.schemes.contains(&scheme) {
            trail.schemes.push(scheme);
        }
        let admitted = self.keyring.keys().filter(|(index, key)| {
            let named = (*index, key.alias.as_str());
            self.policy.admit(request.caller(), Action::Unwrap, named, packet.labels()).is_some()
        });
        let (mut known, mut unknown) = (Vec::new(), FuturesUnordered::new());
        for (index, key) in admitted {
            let alias = key.alias.as_str();
            match key.known() {
                Some(facts) => known.push(Admitted { key: index, alias, facts }),
                None => unknown.push(async move {
                    let facts = self.keyring.facts(index, request.deadline).await;
                    facts.map(|facts| Admitted { key: index, alias, facts }).map_err(|error| (alias, error))
                }),
            }
        }
        // What is known is tried first, and then each key as its token describes it: a token that hangs
        // keeps nobody from another one.
        let mut news = 0..known.len();
        let mut kids = if unknown.is_empty() { Kids::Any } else { Kids::Own };
        let mut unusable = Vec::new();
        loop {
            for candidate in candidates(packet, &known, news, kids, failures) {
                // What is wrong with a key or its token is so for every recipient: asking again would cost the
                // calls that other keys are left with, and the time.
                if unusable.contains(&candidate.key) {
                    continue;
                }
                let failure = match self.try_candidate(request, packet, &candidate, trail).await {
                    Ok(opened) => return Some(opened),
                    Err(failure) => failure,
                };
                if failure.is_of_the_key() {
                    unusable.push(candidate.key);
                }
                let enough = matches!(failure, Failure::TooManyRecipients);
                failures.0.push(failure);
                if enough {
                    return None;
                }
            }
            news = known.len()..known.len();
            while news.is_empty() {
                match unknown.next().await {
                    Some(Ok(described)) => known.push(described),
                    Some(Err((alias, error))) => {
                        failures.0.push(Failure::Custody { alias: alias.to_owned(), error });
                    }
                    None if kids == Kids::Own => (news, kids) = (0..0, Kids::Foreign),
                    None => return None,
                }
                news.end = known.len();
            }
        }
    }

    /// Asks the token once, and once more when it was not all there the first time: a session that somebody
    /// logged out in that moment refuses a good ciphertext like a bad one, and by the time of the probe
    /// another worker may have logged in again.
    async fn try_candidate(
        &self,
        request: &Request,
        packet: &Packet,
        candidate: &Candidate<'_>,
        trail: &mut Trail,
    ) -> Result<Opened, Failure> {
        let (key, alias) = (candidate.key, candidate.alias);
        let custody = |error| Failure::Custody { alias: alias.to_owned(), error };
        let mut again = false;
        loop {
            if trail.token_calls == MAX_TOKEN_CALLS {
                return Err(Failure::TooManyRecipients);
            }
            let grant = self.policy.admit(request.caller(), Action::Unwrap, (key, alias), packet.labels());
            let grant = grant.ok_or(Failure::Denied)?;
            trail.token_calls += 1;
            if !trail.aliases.iter().any(|known| known == alias) {
                trail.aliases.push(alias.to_owned());
            }
            let lost = self.keyring.lost_connections(key).ok();
            let opened = match self.keyring.open(grant, candidate.sealed.clone(), request.deadline).await {
                Ok(secret) => Some(secret),
                // A refused PKCS#1 v1.5 padding goes the whole way of a wrong key.
                Err(CustodyError::Rejected) => packet.decoy(candidate.recipient),
                Err(error) => return Err(custody(error)),
            };
            match opened.map(|secret| {
                packet.finish_certified(candidate.recipient, secret, candidate.facts.openpgp.as_ref())
            }) {
                Some(Ok(optsdata)) => {
                    trail.aliases = vec![alias.to_owned()];
                    trail.kids = vec![candidate.facts.kid.clone()];
                    trail.recipient = candidate.recipient;
                    return Ok(Opened::new(optsdata));
                }
                Some(Err(FinishError::Malformed(what))) => return Err(Failure::Malformed(what)),
                Some(Err(FinishError::Rejected)) | None => {}
            }
            // Every rejection, by the token or by the tag, is followed by the same probe: tokens answer a bad
            // ciphertext and broken hardware alike, and a caller must not be able to tell the two apart.
            if let Err(error) = self.keyring.probe_token_of(key, request.deadline).await {
                return Err(custody(error));
            }
            if again || self.keyring.lost_connections(key).ok() == lost {
                return Err(Failure::Rejected);
            }
            again = true;
        }
    }
}

/// What may open the packet: the keys in `news` of those that this caller may unwrap with, in the configured
/// order, and for each the recipients of its type and length.
///
/// A `kid` is a hint, and so is a key ID. One that is that of a key in this list goes to that key alone; unknown
/// or absent means trial. Keys outside the list play no part, so that a denied key looks like an unknown one.
fn candidates<'a>(
    packet: &Packet,
    admitted: &[Admitted<'a>],
    news: Range<usize>,
    kids: Kids,
    failures: &mut Failures,
) -> Vec<Candidate<'a>> {
    let meant_for = |recipient: &Recipient, facts: &Facts| {
        let is_known = |hint| admitted.iter().any(|admitted| names(hint, &admitted.facts));
        match recipient.hint().filter(|hint| **hint != Hint::HIDDEN) {
            Some(hint) if is_known(hint) => kids != Kids::Foreign && names(hint, facts),
            Some(_) => kids != Kids::Own,
            None => kids != Kids::Foreign,
        }
    };
    let mut candidates = Vec::new();
    for Admitted { key, alias, facts } in admitted.get(news).unwrap_or_default() {
        for (index, recipient) in packet.recipients().iter().enumerate() {
            let Some((algorithm, sealed)) = recipient.algorithm().zip(recipient.sealed()) else {
                continue;
            };
            let Some(sealed) = fitted(facts.public.as_ref(), sealed) else { continue };
            if !meant_for(recipient, facts) {
                continue;
            }
            if facts.algorithms.contains(&algorithm) {
                candidates.push(Candidate {
                    key: *key,
                    alias,
                    facts: facts.clone(),
                    recipient: index,
                    sealed,
                });
            } else if (algorithm == Algorithm::Rsa1_5) != (facts.algorithms == [Algorithm::Rsa1_5])
                || (algorithm == Algorithm::OpenPgpEcdh && facts.openpgp.is_none())
            {
                failures.0.push(apart(algorithm));
            } else {
                let error = CustodyError::Unsupported(algorithm.name());
                failures.0.push(Failure::Custody { alias: (*alias).to_owned(), error });
            }
        }
    }
    candidates
}

/// The packet, and its scheme for the audit log.
fn parse(wrapped: &Wrapped) -> Result<(&'static str, Packet), Failure> {
    let packet = Packet::parse(&wrapped.scheme, &wrapped.data).map_err(|error| match error {
        ParseError::UnknownScheme => Failure::NotSupported(Malformed::new(error.to_string())),
        ParseError::Malformed(what) => Failure::Malformed(what),
    })?;
    if packet.recipients().iter().all(|recipient| recipient.algorithm().is_none()) {
        let known: Vec<_> = packet.algorithms().into_iter().map(Algorithm::name).collect();
        return Err(Failure::NotSupported(Malformed::new(format!(
            "no recipient of this packet uses an algorithm that this version opens ({})",
            known.join(", ")
        ))));
    }
    let is_provider = wrapped.scheme.starts_with("provider.");
    Ok((if is_provider { PROVIDER } else { packet.scheme() }, packet))
}

/// PKCS#1 v1.5 has keys of its own, and OpenPGP's ECDH those with a certificate, so that a packet fits many by length
/// that are not meant. It is told of only where nothing else was tried.
fn apart(algorithm: Algorithm) -> Failure {
    Failure::NotSupported(Malformed::new(match algorithm {
        Algorithm::Rsa1_5 => {
            "this packet is sealed by RSA PKCS#1 v1.5, which a key opens only if its [[key]] says algorithms = [\"RSA1_5\"]"
        }
        Algorithm::OpenPgpEcdh => {
            "this packet is an OpenPGP message, which an EC key opens only if its [[key]] names its certificate: openpgp = FILE"
        }
        _ => {
            "the keys that fit this packet are for RSA PKCS#1 v1.5 alone (algorithms = [\"RSA1_5\"]), and it is not"
        }
    }))
}

/// Whether a packet's recipient is called what this key is called.
fn names(hint: &Hint, facts: &Facts) -> bool {
    match hint {
        Hint::Kid(kid) => *kid == facts.kid,
        Hint::KeyId(id) => facts.openpgp.as_ref().is_some_and(|key| key.key_id() == *id),
        _ => false,
    }
}

/// What the key's token has to open, if the recipient may be this key. By type and length alone: a ciphertext is as
/// long as its key's modulus, a point lies on its key's curve, and a key without a public half is a symmetric one.
fn fitted(public: Option<&PublicKey>, sealed: &Sealed) -> Option<Sealed> {
    match (public, sealed) {
        (Some(PublicKey::Rsa(key)), Sealed::RsaOaep { ciphertext, .. })
            if ciphertext.len() == key.modulus.len() => {}
        (Some(PublicKey::Rsa(key)), Sealed::RsaPkcs1v15 { ciphertext }) => {
            // OpenPGP writes a number without its leading zeros, and more than these few there never are.
            let zeros = key.modulus.len().checked_sub(ciphertext.len()).filter(|zeros| *zeros <= 8)?;
            let ciphertext = [&vec![0; zeros], &ciphertext[..]].concat();
            return Some(Sealed::RsaPkcs1v15 { ciphertext });
        }
        (Some(PublicKey::Ec(key)), Sealed::Ecdh { curve, .. }) if key.curve == *curve => {}
        (None, Sealed::AesGcm { .. }) => {}
        _ => return None,
    }
    Some(sealed.clone())
}
