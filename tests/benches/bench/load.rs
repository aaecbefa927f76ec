//! The callers: UnWrapKey over HTTP/2 on the daemon's socket.
//!
//! What a Go peer sends and no more, because callers and daemon share the machine's cores: each
//! microsecond spent here is one that the daemon does not get.

mod raw;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use holdfast_wire::grpc::keyprovider::KeyProviderKeyWrapProtocolOutput as Output;
use http::{HeaderMap, Request};
use prost::Message as _;
use tokio::net::UnixStream;

use crate::stock::{Call, Stock};

/// How calls use connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One for each call, as ocicrypt's peers do.
    New,
    /// One kept by all callers.
    Kept,
}

/// When callers stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After a time.
    Time(Duration),
    /// After so many calls in all.
    Calls(usize),
}

/// What came of it.
pub(crate) struct Load {
    /// From the first call's begin to the last one's end.
    pub(crate) seconds: f64,
    /// Each call, from before it connects to when its answer is whole; in order of length.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    /// Calls a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// The latency that this part of all calls kept under, in milliseconds.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let at = (self.latencies.len() as f64 * part) as usize;
        self.latencies.get(at).expect("calls were made").as_secs_f64() * 1000.0
    }
}

/// Runs `callers` callers, each of which has one call under way all the time.
pub(crate) fn drive(
    socket: &Path,
    stock: &Stock,
    callers: usize,
    connections: Connections,
    until: Until,
) -> Load {
    let begun = Instant::now();
    let quota = |number: usize| Quota {
        calls: match until {
            Until::Time(_) => usize::MAX,
            Until::Calls(calls) => calls / callers + usize::from(number < calls % callers),
        },
        deadline: match until {
            Until::Time(time) => Some(begun + time),
            Until::Calls(_) => None,
        },
    };
    let mut latencies = match connections {
        Connections::New => on_threads(socket, stock, (0..callers).map(quota)),
        Connections::Kept => on_one_connection(socket, stock, (0..callers).map(quota)),
    };
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Load { seconds, latencies }
}

/// What one caller does.
struct Quota {
    calls: usize,
    deadline: Option<Instant>,
}

impl Quota {
    fn has_more(&self, made: usize) -> bool {
        made < self.calls && self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

/// A thread for each caller, a connection for each call.
fn on_threads(socket: &Path, stock: &Stock, quotas: impl Iterator<Item = Quota>) -> Vec<Duration> {
    let caller = |quota: Quota| {
        let mut latencies = Vec::new();
        while quota.has_more(latencies.len()) {
            let call = stock.next();
            let before = Instant::now();
            let answer = raw::call(socket, &call.message).unwrap_or_else(|error| {
                panic!("an UnWrapKey call failed, the daemon's log says why: {error}")
            });
            latencies.push(before.elapsed());
            check(&answer, call);
        }
        latencies
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = quotas.map(|quota| scope.spawn(move || caller(quota))).collect();
        running.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect()
    })
}

/// All callers on one thread and one connection.
fn on_one_connection(socket: &Path, stock: &Stock, quotas: impl Iterator<Item = Quota>) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connection = keep(socket).await;
        let callers = quotas.map(|quota| {
            let connection = connection.clone();
            async move {
                let mut latencies = Vec::new();
                while quota.has_more(latencies.len()) {
                    let call = stock.next();
                    let before = Instant::now();
                    let answer = exchange(connection.clone(), call)
                        .await
                        .unwrap_or_else(|error| panic!("an UnWrapKey call failed: {error}"));
                    latencies.push(before.elapsed());
                    check(&answer, call);
                }
                latencies
            }
        });
        futures_util::future::join_all(callers).await.concat()
    })
}

/// A connection that lives as long as its senders.
async fn keep(socket: &Path) -> SendRequest<Bytes> {
    let stream = UnixStream::connect(socket).await.expect("a connection");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move {
        connection.await.expect("a connection that stays");
    });
    sender
}

/// One gRPC call (the unary part of its HTTP/2 mapping); the answer's message with its frame.
async fn exchange(sender: SendRequest<Bytes>, call: &Call) -> Result<Vec<u8>, String> {
    let told = |error: h2::Error| error.to_string();
    let mut sender = sender.ready().await.map_err(told)?;
    let request = Request::post("http://localhost/keyprovider.KeyProviderService/UnWrapKey")
        .header("content-type", "application/grpc")
        .header("user-agent", "grpc-go/1.60.1")
        .header("te", "trailers")
        .body(())
        .map_err(|error| error.to_string())?;
    let (response, mut stream) = sender.send_request(request, false).map_err(told)?;
    stream.send_data(call.message.clone(), true).map_err(told)?;
    let (head, mut body) = response.await.map_err(told)?.into_parts();
    let mut answer = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(told)?;
        body.flow_control().release_capacity(part.len()).map_err(told)?;
        answer.extend_from_slice(&part);
    }
    // An error without a body has its status in the head.
    let trailers = body.trailers().await.map_err(told)?.unwrap_or(head.headers);
    match text(&trailers, "grpc-status") {
        "0" => Ok(answer),
        status => Err(format!("gRPC status {status}: {}", text(&trailers, "grpc-message"))),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("(none)")
}

fn check(answer: &[u8], call: &Call) {
    const FRAME: usize = 5;
    let output = Output::decode(answer.get(FRAME..).expect("a gRPC message")).expect("the answer's message");
    let json = std::str::from_utf8(&output.key_provider_key_wrap_protocol_output).expect("JSON");
    assert!(json.contains(&call.expected), "the daemon answered another key than was wrapped");
}
