//! The ways in: a unix socket, and TCP with mutual TLS (or, on loopback only, without).
//!
//! Every accepted connection becomes a [`Connection`] that knows its peer; one gRPC server serves them
//! all. Identity is settled here, and so are the bounds that hold before a request is read: connections
//! in all and per caller, the time a TLS handshake may take, the time until the first byte, and how
//! long a connection is kept that asks for nothing more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::caller::{Caller, Peer};
use crate::limits::Places;

mod connection;
mod tls;
mod unix;

pub(crate) use connection::Connection;
pub(crate) use tls::Tls;
pub use tls::TlsFiles;
pub(crate) use unix::bind;

use connection::Stream;

/// How long a TLS handshake may take, and then how long the first byte may be awaited.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once: they cost before anyone is known.
const HANDSHAKES: usize = 256;
/// How long to wait when the process has no file descriptor for the next connection.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Bounds on connections.
#[derive(Clone)]
pub(crate) struct Bounds {
    /// In all.
    pub(crate) connections: Arc<Places<()>>,
    /// Per caller.
    pub(crate) per_caller: Arc<Places<Caller>>,
    /// How long after its last request a connection is closed.
    pub(crate) idle: Duration,
}

/// How a TCP connection is to be taken.
#[derive(Clone)]
pub(crate) enum Tcp {
    /// Mutual TLS, with what is configured at the moment.
    Tls(Tls),
    /// Plaintext, which the configuration allows on loopback only.
    Plain,
}

/// Accepts until the set is dropped or shut down; connections come out of the channel.
pub(crate) fn accept(
    unix: UnixListener,
    tcp: Option<(TcpListener, Tcp)>,
    bounds: Bounds,
) -> (JoinSet<()>, mpsc::Receiver<io::Result<Connection>>) {
    let (out, connections) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept_unix(unix, bounds.clone(), out.clone()));
    if let Some((listener, way)) = tcp {
        tasks.spawn(accept_tcp(listener, way, bounds, out));
    }
    (tasks, connections)
}

async fn accept_unix(listener: UnixListener, bounds: Bounds, out: mpsc::Sender<io::Result<Connection>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let Ok(credentials) = stream.peer_cred() else {
            tracing::warn!("a connection without peer credentials was closed");
            continue;
        };
        let caller = Caller::Unix { uid: credentials.uid(), gid: credentials.gid() };
        let peer = Peer::new(caller, credentials.pid(), None);
        if let Some(connection) = admit(Stream::Unix(stream), peer, &bounds) {
            let _ = out.send(Ok(connection)).await;
        }
    }
}

async fn accept_tcp(
    listener: TcpListener,
    way: Tcp,
    bounds: Bounds,
    out: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Places::new(HANDSHAKES));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        match &way {
            Tcp::Plain => {
                let peer = Peer::new(Caller::Loopback, None, Some(address));
                if let Some(connection) = admit(Stream::Plain(stream), peer, &bounds) {
                    let _ = out.send(Ok(connection)).await;
                }
            }
            Tcp::Tls(tls) => {
                let Some(place) = handshakes.take(()) else {
                    tracing::debug!(%address, "too many TLS handshakes at once; a connection was closed");
                    continue;
                };
                let (tls, bounds, out) = (tls.clone(), bounds.clone(), out.clone());
                tokio::spawn(async move {
                    let shaken = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
                    drop(place);
                    match shaken {
                        Ok(Ok((stream, names))) => {
                            let caller = Caller::Tls { names: names.into() };
                            let peer = Peer::new(caller, None, Some(address));
                            if let Some(connection) = admit(Stream::Tls(Box::new(stream)), peer, &bounds) {
                                let _ = out.send(Ok(connection)).await;
                            }
                        }
                        Ok(Err(error)) => tracing::info!(%address, %error, "TLS handshake failed"),
                        Err(_) => tracing::info!(%address, "TLS handshake took too long"),
                    }
                });
            }
        }
    }
}

fn admit(stream: Stream, peer: Peer, bounds: &Bounds) -> Option<Connection> {
    let whole = bounds.connections.take(());
    let own = bounds.per_caller.take(peer.caller.clone());
    match (whole, own) {
        (Some(whole), Some(own)) => {
            Some(Connection::new(stream, peer, (HANDSHAKE, bounds.idle), (whole, own)))
        }
        _ => {
            tracing::warn!(caller = %peer.caller, "too many connections; one was closed");
            None
        }
    }
}

/// Without a file descriptor to accept with, asking again at once would only burn the processor.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(EXHAUSTED).await;
}
