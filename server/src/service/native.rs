//! Holdfast's own service, which the `holdfast` client speaks.

use std::sync::Arc;

use holdfast_wire::grpc::v1;
use holdfast_wire::grpc::v1::holdfast_server::Holdfast;
use holdfast_wire::{MAX_PACKETS, Malformed};
use tonic::{Request, Response, Status};

use super::{Begun, Shared};
use crate::config::Action;
use crate::engine::{Engine, Wrapped};
use crate::keyring::Key;
use crate::status::{self, Failure};

pub(crate) struct Native(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Holdfast for Native {
    async fn open_packet(
        &self,
        message: Request<v1::OpenPacketRequest>,
    ) -> Result<Response<v1::OpenPacketResponse>, Status> {
        let Begun { engine, mut request } = self.0.begin_known(&message, "unwrap")?;
        let v1::OpenPacketRequest { packets, manifest } = message.into_inner();
        if let Err(what) = request.name_manifest(manifest) {
            return Err(engine.refuse(&request, "unwrap", Failure::Malformed(what)));
        }
        if packets.is_empty() || packets.len() > MAX_PACKETS {
            let what = Malformed::new(format!("{} packets; 1 to {MAX_PACKETS} are taken", packets.len()));
            return Err(engine.refuse(&request, "unwrap", Failure::Malformed(what)));
        }
        let packets =
            packets.into_iter().map(|packet| Wrapped { scheme: packet.scheme, data: packet.data }).collect();
        let id = request.id;
        let unwrapped = engine.unwrap(request, packets).await?;
        Ok(Response::new(v1::OpenPacketResponse {
            optsdata: unwrapped.released.optsdata().raw().expose().to_vec(),
            alias: unwrapped.alias,
            request_id: id.to_string(),
            kid: unwrapped.kid,
            packet: u32::try_from(unwrapped.packet).unwrap_or(u32::MAX),
            recipient: u32::try_from(unwrapped.recipient).unwrap_or(u32::MAX),
            labels: unwrapped
                .labels
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }))
    }

    async fn list_keys(
        &self,
        message: Request<v1::ListKeysRequest>,
    ) -> Result<Response<v1::ListKeysResponse>, Status> {
        let Begun { engine, request } = self.0.begin(&message)?;
        let mut keys = Vec::new();
        for (index, key) in engine.keyring.keys() {
            let permissions = engine.policy.permissions(request.caller(), &key.alias);
            if !permissions.is_empty() {
                keys.push(describe(&engine, &request, (index, key), &permissions).await);
            }
        }
        Ok(Response::new(v1::ListKeysResponse { keys }))
    }

    async fn get_status(
        &self,
        message: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let Begun { engine, request } = self.0.begin(&message)?;
        let mut answer = v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.0.uptime().as_secs(),
            caller: request.caller().with_name(),
            known: engine.policy.knows(request.caller()),
            ..v1::GetStatusResponse::default()
        };
        if answer.known {
            answer.tokens = tokens(&engine, &request);
            answer.audit_trouble = match engine.audit.is_down() {
                true => "the audit log cannot be written, so no key is used".into(),
                false => String::new(),
            };
        }
        Ok(Response::new(answer))
    }
}

async fn describe(
    engine: &Engine,
    request: &crate::request::Request,
    (index, key): (usize, &Key),
    permissions: &[Action],
) -> v1::Key {
    let mut answer = v1::Key {
        alias: key.alias.clone(),
        wraps: key.wraps,
        permissions: permissions.iter().map(|action| action.name().to_owned()).collect(),
        ..v1::Key::default()
    };
    match engine.keyring.facts(index, request.deadline).await {
        Ok(facts) => {
            answer.kid = facts.kid.clone();
            answer.r#type = facts.type_name();
            answer.algorithms =
                facts.algorithms.iter().map(|algorithm| algorithm.name().to_owned()).collect();
            let public = facts.public.as_ref().and_then(|public| public.to_der().ok());
            answer.public_key = public.unwrap_or_default();
            answer.custody = facts.custody.summary();
            let evidence = facts.custody.evidence.iter();
            answer.evidence = evidence
                .map(|(name, value)| v1::Evidence { name: name.clone(), value: value.clone() })
                .collect();
        }
        Err(error) => answer.trouble = status::explain(&error).1.into_owned(),
    }
    answer
}

/// The tokens that hold a key the caller has any permission on. Their names are those of their keys'
/// aliases: where a key lies is told to nobody who cannot read the configuration.
fn tokens(engine: &Engine, request: &crate::request::Request) -> Vec<v1::Token> {
    let tokens = engine.keyring.tokens().iter().enumerate();
    tokens
        .filter_map(|(index, token)| {
            let mut aliases: Vec<&str> = engine
                .keyring
                .keys()
                .filter(|(_, key)| key.token() == index)
                .filter(|(_, key)| !engine.policy.permissions(request.caller(), &key.alias).is_empty())
                .map(|(_, key)| key.alias.as_str())
                .collect();
            aliases.dedup();
            if aliases.is_empty() {
                return None;
            }
            let trouble = token.trouble();
            let usage = token.usage();
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            Some(v1::Token {
                name: format!("{} token of {}", token.uri().scheme().name(), aliases.join(", ")),
                serving: trouble.is_none(),
                trouble: trouble.map_or_else(String::new, |error| status::explain(&error).1.into_owned()),
                workers: count(usage.workers),
                places_taken: count(usage.taken),
                places: count(usage.places),
            })
        })
        .collect()
}
