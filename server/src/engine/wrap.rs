//! From optsdata to a packet for every alias that was named.

use std::sync::Arc;

use holdfast_envelope::jwe::{self, To};
use holdfast_wire::keyprovider::WrapRequest;
use holdfast_wire::{Algorithm, Malformed};

use super::{Engine, Trail};
use crate::config::Action;
use crate::keyring::Facts;
use crate::request::Request;
use crate::status::Failure;

/// Best first.
const PREFERENCE: [Algorithm; 3] = [Algorithm::EcdhEsA256Kw, Algorithm::RsaOaep256, Algorithm::RsaOaep];

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
        trail.aliases = aliases;
        self.audit.ready().await.map_err(|_| Failure::AuditDown)?;
        let mut keys: Vec<(Arc<Facts>, Algorithm)> = Vec::new();
        for alias in &trail.aliases {
            let (facts, algorithm) = self.key_for(request, alias, &trail.labels).await?;
            trail.kids.push(facts.kid.clone());
            keys.push((facts, algorithm));
        }
        let to: Vec<To<'_>> =
            keys.iter().map(|(facts, algorithm)| To { key: &facts.public, algorithm: *algorithm }).collect();
        jwe::seal(&asked.optsdata, &to, &trail.labels).map_err(|error| {
            tracing::error!(request = %request.id, %error, "sealing failed");
            Failure::Internal
        })
    }

    async fn key_for(
        &self,
        request: &Request,
        alias: &str,
        labels: &holdfast_wire::Labels,
    ) -> Result<(Arc<Facts>, Algorithm), Failure> {
        // Denied and unknown look the same, and whether an alias is retired is told only to those
        // who may wrap with it.
        let first = self.keyring.keys_of(alias).next().ok_or(Failure::Denied)?.0;
        self.policy.admit(request.caller(), Action::Wrap, (first, alias), labels).ok_or(Failure::Denied)?;
        let (index, _) = self
            .keyring
            .keys_of(alias)
            .find(|(_, key)| key.wraps)
            .ok_or_else(|| Failure::Retired { alias: alias.to_owned() })?;
        let grant = self
            .policy
            .admit(request.caller(), Action::Wrap, (index, alias), labels)
            .ok_or(Failure::Denied)?;
        let failed = |error| Failure::Custody { alias: alias.to_owned(), error };
        let facts = self.keyring.wrapping_key(grant, request.deadline).await.map_err(failed)?;
        let algorithm = PREFERENCE.into_iter().find(|algorithm| facts.algorithms.contains(algorithm));
        let none = holdfast_custody::Error::Unsupported("any algorithm that wraps");
        Ok((facts, algorithm.ok_or_else(|| failed(none))?))
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
