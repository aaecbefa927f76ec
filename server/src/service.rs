//! The gRPC services: from a message to the engine and back. What may be answered is decided elsewhere.

use std::sync::Arc;

use tonic::transport::server::UdsConnectInfo;
use tonic::{Request as GrpcRequest, Status};

use crate::caller::Caller;
use crate::engine::Engine;
use crate::request::Request;
use crate::status::Failure;

mod keyprovider;
mod native;

pub(crate) use keyprovider::KeyProvider;
pub(crate) use native::Native;

/// Settles who is calling before a byte of the body is parsed.
pub(crate) fn identify(mut request: GrpcRequest<()>) -> Result<GrpcRequest<()>, Status> {
    match Caller::of(request.extensions().get::<UdsConnectInfo>()) {
        Some(caller) => {
            request.extensions_mut().insert(caller);
            Ok(request)
        }
        None => Err(Failure::NoIdentity.into_status(crate::request::RequestId::new())),
    }
}

/// Begins the request of an identified caller.
fn begin<T>(engine: &Arc<Engine>, request: &GrpcRequest<T>) -> Result<Request, Status> {
    let caller = request.extensions().get::<Caller>().copied();
    let caller = caller.ok_or_else(|| Failure::NoIdentity.into_status(crate::request::RequestId::new()))?;
    Ok(Request::begin(caller, engine.timeout()))
}
