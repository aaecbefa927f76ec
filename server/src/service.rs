//! The gRPC services: from a message to the engine and back. What may be answered is decided elsewhere.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tonic::{Request as GrpcRequest, Status};

use crate::caller::{Caller, Peer};
use crate::engine::Engine;
use crate::limits::Places;
use crate::request::{Request, RequestId};
use crate::status::Failure;

mod keyprovider;
mod native;

pub(crate) use keyprovider::KeyProvider;
pub(crate) use native::Native;

/// What every service shares: the engine of the moment, which a reload replaces as a whole, and how
/// many requests each caller has under way.
pub(crate) struct Shared {
    engine: RwLock<Arc<Engine>>,
    requests: Arc<Places<Caller>>,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(engine: Engine, requests_per_caller: usize) -> Self {
        let requests = Arc::new(Places::new(requests_per_caller));
        Shared { engine: RwLock::new(Arc::new(engine)), requests, started: Instant::now() }
    }

    /// Waits until no request is under way, not even one whose caller hung up.
    pub(crate) async fn idle(&self) {
        self.requests.all_back().await;
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The engine of the moment. Who holds it finishes with it, whatever is reloaded meanwhile.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every request that begins from here on has another engine.
    pub(crate) fn replace(&self, engine: Engine) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine);
    }

    /// Begins the request of an identified caller.
    fn begin<T>(&self, message: &GrpcRequest<T>) -> Result<Begun, Status> {
        let peer = message.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Failure::NoIdentity.into_status(RequestId::new()))?;
        let engine = self.engine();
        let request = Request::begin(peer, engine.timeout());
        match self.requests.take(request.caller().clone()) {
            Some(place) => Ok(Begun { engine, request: request.at(place) }),
            None => Err(Failure::TooMany.into_status(request.id)),
        }
    }

    /// The same for what only callers with a rule may ask; `event` is what its refusal is recorded as.
    fn begin_known<T>(&self, message: &GrpcRequest<T>, event: &'static str) -> Result<Begun, Status> {
        let begun = self.begin(message)?;
        match begun.engine.policy.knows(begun.request.caller()) {
            true => Ok(begun),
            false => Err(begun.engine.refuse(&begun.request, event, Failure::Denied)),
        }
    }
}

/// A request under way.
struct Begun {
    engine: Arc<Engine>,
    request: Request,
}

/// Refuses a connection of which nobody said whose it is, before a byte of the body is read. What the
/// services behind it take and give may be key material.
pub(crate) fn identify(message: GrpcRequest<()>) -> Result<GrpcRequest<()>, Status> {
    match message.extensions().get::<Peer>() {
        Some(peer) => {
            peer.note_request();
            Ok(message)
        }
        None => Err(Failure::NoIdentity.into_status(RequestId::new())),
    }
}
