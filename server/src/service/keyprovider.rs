//! ocicrypt's key provider protocol.

use std::sync::Arc;

use holdfast_wire::grpc::keyprovider::key_provider_service_server::KeyProviderService;
use holdfast_wire::grpc::keyprovider::{
    KeyProviderKeyWrapProtocolInput as Input, KeyProviderKeyWrapProtocolOutput as Output,
};
use holdfast_wire::keyprovider::{UnwrapRequest, WrapRequest, unwrap_response, wrap_response};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{Begun, Shared};
use crate::engine::Wrapped;
use crate::status::Failure;

pub(crate) struct KeyProvider(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl KeyProviderService for KeyProvider {
    async fn wrap_key(&self, message: Request<Input>) -> Result<Response<Output>, Status> {
        let Begun { engine, request } = self.0.begin_known(&message, "wrap")?;
        let body = Zeroizing::new(message.into_inner().key_provider_key_wrap_protocol_input);
        let asked = WrapRequest::parse(&body)
            .map_err(|what| engine.refuse(&request, "wrap", Failure::Malformed(what)))?;
        warn_of_private_values(&request, asked.private_values);
        let packet = engine.wrap(request, asked).await?;
        Ok(answer(wrap_response(&packet)))
    }

    async fn un_wrap_key(&self, message: Request<Input>) -> Result<Response<Output>, Status> {
        let Begun { engine, request } = self.0.begin_known(&message, "unwrap")?;
        let body = Zeroizing::new(message.into_inner().key_provider_key_wrap_protocol_input);
        let asked = UnwrapRequest::parse(&body)
            .map_err(|what| engine.refuse(&request, "unwrap", Failure::Malformed(what)))?;
        warn_of_private_values(&request, asked.private_values);
        // ocicrypt splits the annotation of one provider and calls once for each packet in it.
        let packet = Wrapped { scheme: "provider.".into(), data: asked.annotation };
        let unwrapped = engine.unwrap(request, vec![packet]).await?;
        Ok(answer(unwrap_response(unwrapped.released.optsdata())))
    }
}

fn answer(json: Vec<u8>) -> Response<Output> {
    Response::new(Output { key_provider_key_wrap_protocol_output: json })
}

/// By its design ocicrypt sends every private key it was given to every provider. They were counted
/// while the message was parsed, and are gone with its buffer.
fn warn_of_private_values(request: &crate::request::Request, count: usize) {
    if count > 0 {
        tracing::warn!(
            request = %request.id, caller = %request.caller(), count,
            "the caller sent private keys or passwords of its own along; they were neither used nor kept"
        );
    }
}
