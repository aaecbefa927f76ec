//! From optsdata to a packet for every alias that was named.

use std::sync::Arc;

use holdfast_envelope::SealError;
use holdfast_envelope::jwe::{Sealing, To};
use holdfast_wire::keyprovider::WrapRequest;
use holdfast_wire::{Algorithm, Labels, Malformed, Secret};

use super::{Engine, PROVIDER, Trail};
use crate::config::Action;
use crate::keyring::Facts;
use crate::policy::Grant;
use crate::request::Request;
use crate::status::Failure;

/// Best first.
const PREFERENCE: [Algorithm; 4] =
    [Algorithm::EcdhEsA256Kw, Algorithm::RsaOaep256, Algorithm::RsaOaep, Algorithm::A256GcmKw];

/// The key of an alias that new packets are sealed to.
struct Chosen {
    index: usize,
    facts: Arc<Facts>,
    algorithm: Algorithm,
}

impl Engine {
    pub(super) async fn seal_to_all(
        &self,
        request: &Request,
        asked: &WrapRequest,
        trail: &mut Trail,
    ) -> Result<Vec<u8>, Failure> {
        let recipients = asked.recipients(&self.wrap.provider).map_err(Failure::Malformed)?;
        let aliases = match recipients.aliases {
            aliases if aliases.is_empty() => vec![self.default_alias()?],
            aliases => aliases,
        };
        trail.labels = recipients.labels;
        trail.schemes = vec![PROVIDER];
        trail.aliases = aliases;
        self.audit.ready().await.map_err(|_| Failure::AuditDown)?;
        // Every key is there and granted before the first token seals anything.
        let mut keys: Vec<Chosen> = Vec::new();
        for alias in &trail.aliases {
            let chosen = self.key_for(request, alias, &trail.labels).await?;
            trail.kids.push(chosen.facts.kid.clone());
            keys.push(chosen);
        }
        let failed = |error: SealError| {
            tracing::error!(request = %request.id, %error, "sealing failed");
            Failure::Internal
        };
        let labels = trail.labels.clone();
        let mut sealing = Sealing::begin(&asked.optsdata, &labels).map_err(failed)?;
        for (place, Chosen { index, facts, algorithm }) in keys.iter().enumerate() {
            if let Some(key) = &facts.public {
                sealing.add_public_key(&To { key, algorithm: *algorithm }).map_err(failed)?;
                continue;
            }
            let alias = &trail.aliases[place];
            let grant = self.grant(request, *index, alias, &labels)?;
            trail.token_calls += 1;
            let cek = Secret::copy_of(sealing.cek().expose());
            let sealed = self.keyring.seal(grant, cek, request.deadline).await;
            let sealed = sealed.map_err(|error| Failure::Custody { alias: alias.clone(), error })?;
            sealing.add_sealed(&facts.kid, sealed).map_err(failed)?;
        }
        sealing.finish().map_err(failed)
    }

    async fn key_for(&self, request: &Request, alias: &str, labels: &Labels) -> Result<Chosen, Failure> {
        // Denied and unknown look the same, and whether an alias is retired is told only to those
        // who may wrap with it.
        let first = self.keyring.keys_of(alias).next().ok_or(Failure::Denied)?.0;
        self.grant(request, first, alias, labels)?;
        let (index, _) = self
            .keyring
            .keys_of(alias)
            .find(|(_, key)| key.wraps)
            .ok_or_else(|| Failure::Retired { alias: alias.to_owned() })?;
        let grant = self.grant(request, index, alias, labels)?;
        let failed = |error| Failure::Custody { alias: alias.to_owned(), error };
        let facts = self.keyring.wrapping_key(grant, request.deadline).await.map_err(failed)?;
        let algorithm = PREFERENCE.into_iter().find(|algorithm| facts.algorithms.contains(algorithm));
        let none = holdfast_custody::Error::Unsupported("any algorithm that wraps");
        Ok(Chosen { index, facts, algorithm: algorithm.ok_or_else(|| failed(none))? })
    }

    fn grant(&self, request: &Request, key: usize, alias: &str, labels: &Labels) -> Result<Grant, Failure> {
        self.policy.admit(request.caller(), Action::Wrap, (key, alias), labels).ok_or(Failure::Denied)
    }

    fn default_alias(&self) -> Result<String, Failure> {
        if let Some(alias) = &self.wrap.default {
            return Ok(alias.clone());
        }
        match self.keyring.aliases().as_slice() {
            [only] => Ok((*only).to_owned()),
            _ => Err(Failure::Malformed(Malformed::new(format!(
                "no alias given and no default set; write provider:{}:ALIAS, or set [wrap] default",
                self.wrap.provider
            )))),
        }
    }
}
