//! The way of one request: policy, custodian, finish, audit.
//!
//! From the policy to the audit record it outlives its caller: one who hangs up in the middle leaves no
//! token operation unrecorded.

use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::Labels;
use holdfast_wire::keyprovider::WrapRequest;
use tonic::Status;

use crate::audit::{Audit, Record, Released};
use crate::config;
use crate::keyring::Keyring;
use crate::outlive::{Panicked, outlive};
use crate::policy::Policy;
use crate::request::{Request, RequestId};
use crate::status::Failure;

mod open;
mod wrap;

/// What the audit log calls the schemes of key providers, whose names their users choose.
const PROVIDER: &str = "provider";

pub use open::Wrapped;

/// Everything a request needs.
pub struct Engine {
    /// Who may do what.
    pub policy: Policy,
    /// The keys.
    pub keyring: Keyring,
    /// The record of it.
    pub audit: Audit,
    wrap: config::Wrap,
    timeout: Duration,
}

/// An opened packet, and what opened it.
pub struct Unwrapped {
    /// What was wrapped; a record of it is on disk.
    pub released: Released,
    /// The alias of the key that opened it.
    pub alias: String,
    /// That key's id.
    pub kid: String,
    /// Which of the packets it was.
    pub packet: usize,
    /// As which of that packet's recipients.
    pub recipient: usize,
    /// The labels under that packet's seal.
    pub labels: Labels,
}

/// What became known of a request on its way, for its record.
#[derive(Default)]
struct Trail {
    aliases: Vec<String>,
    kids: Vec<String>,
    schemes: Vec<&'static str>,
    labels: Labels,
    token_calls: usize,
    /// Which packet is being opened and, once one is, as which of its recipients.
    packet: usize,
    recipient: usize,
}

impl Trail {
    fn record<'a>(&'a self, event: &'static str, outcome: &str, layer: Option<&'a str>) -> Record<'a> {
        Record {
            event,
            outcome: outcome.to_ascii_lowercase(),
            aliases: self.aliases.iter().map(String::as_str).collect(),
            kids: self.kids.iter().map(String::as_str).collect(),
            layer: layer.filter(|layer| !layer.is_empty()),
            schemes: &self.schemes,
            labels: &self.labels,
            token_calls: self.token_calls,
        }
    }
}

impl Engine {
    /// Puts the parts together.
    pub fn new(config: &config::Config, keyring: Keyring, audit: Audit) -> Engine {
        Engine {
            policy: Policy::new(config.rules.clone()),
            keyring,
            audit,
            wrap: config.wrap.clone(),
            timeout: config.listen.timeout,
        }
    }

    /// How long a request may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Opens one of `packets`, which hold the same key.
    pub async fn unwrap(
        self: Arc<Self>,
        request: Request,
        packets: Vec<Wrapped>,
    ) -> Result<Unwrapped, Status> {
        let id = request.id;
        let work = outlive(async move {
            let _under_way = self.audit.begin();
            let mut trail = Trail::default();
            match self.open_first(&request, &packets, &mut trail).await {
                Ok(opened) => {
                    let record = trail.record("unwrap", "released", Some(opened.layer()));
                    match self.audit.append(&request, &record).await {
                        Ok(receipt) => {
                            let alias = trail.aliases.pop().unwrap_or_default();
                            let kid = trail.kids.pop().unwrap_or_default();
                            tracing::debug!(request = %request.id, caller = %request.caller(), alias, "unwrapped");
                            Ok(Unwrapped {
                                released: receipt.release(opened),
                                alias,
                                kid,
                                packet: trail.packet,
                                recipient: trail.recipient,
                                labels: trail.labels,
                            })
                        }
                        Err(_) => Err(Failure::AuditDown),
                    }
                }
                Err(failure) => Err(self.record_failure(&request, "unwrap", &trail, failure).await),
            }
        });
        finish(id, work.await)
    }

    /// Wraps optsdata to the keys that its parameters name.
    pub async fn wrap(self: Arc<Self>, request: Request, asked: WrapRequest) -> Result<Vec<u8>, Status> {
        let id = request.id;
        let work = outlive(async move {
            let mut trail = Trail::default();
            match self.seal_to_all(&request, &asked, &mut trail).await {
                Ok(packet) => {
                    let record = trail.record("wrap", "wrapped", Some(asked.optsdata.digest()));
                    let _recorded =
                        self.audit.append(&request, &record).await.map_err(|_| Failure::AuditDown)?;
                    tracing::debug!(request = %request.id, caller = %request.caller(), aliases = ?trail.aliases, "wrapped");
                    Ok(packet)
                }
                Err(failure) => Err(self.record_failure(&request, "wrap", &trail, failure).await),
            }
        });
        finish(id, work.await)
    }

    /// Records a request that was refused before it was understood.
    pub fn refuse(&self, request: &Request, event: &'static str, failure: Failure) -> Status {
        self.audit.note_refusal(request, &Trail::default().record(event, failure.reason(), None));
        tracing::info!(request = %request.id, caller = %request.caller(), reason = failure.reason(), "{event} refused");
        failure.into_status(request.id)
    }

    async fn record_failure(
        &self,
        request: &Request,
        event: &'static str,
        trail: &Trail,
        failure: Failure,
    ) -> Failure {
        let record = trail.record(event, failure.reason(), None);
        if trail.token_calls == 0 {
            self.audit.note_refusal(request, &record);
        } else if self.audit.append(request, &record).await.is_err() {
            tracing::error!(request = %request.id, "a token was used and the audit log could not be written");
        }
        let detail = match &failure {
            Failure::Custody { alias, error } => Some(format!("{alias}: {error}")),
            Failure::Malformed(what) | Failure::NotSupported(what) => Some(what.to_string()),
            _ => None,
        };
        tracing::warn!(
            request = %request.id, caller = %request.caller(), reason = failure.reason(), detail, "{event} failed"
        );
        failure
    }
}

fn finish<T>(id: RequestId, result: Result<Result<T, Failure>, Panicked>) -> Result<T, Status> {
    result.unwrap_or(Err(Failure::Internal)).map_err(|failure| failure.into_status(id))
}

#[cfg(test)]
mod tests;
