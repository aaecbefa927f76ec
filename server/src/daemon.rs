//! The daemon's life: start, serve, reload, stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_custody::Workers;
use holdfast_wire::grpc::keyprovider::key_provider_service_server::KeyProviderServiceServer;
use holdfast_wire::grpc::v1::holdfast_server::HoldfastServer;
use holdfast_wire::grpc::{FILE_DESCRIPTOR_SET, MAX_MESSAGE_LEN};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::audit::Audit;
use crate::config::Config;
use crate::engine::Engine;
use crate::keyring::Keyring;
use crate::limits::Places;
use crate::listen::{self, Bounds, Tcp, Tls};
use crate::service::{KeyProvider, Native, Shared, identify};
use crate::watch::Watch;
use crate::{backends, reload};

/// How long tokens may take to end their sessions when the daemon stops.
const CLOSING: Duration = Duration::from_secs(2);
/// A peer that is silent this long is asked whether it is still there, and is closed when it is not.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// All headers of a request; ocicrypt's have some hundred bytes.
const MAX_HEADERS: u32 = 16 * 1024;

/// What a running daemon is made of, as far as a reload replaces it.
pub(crate) struct Running {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) shared: Arc<Shared>,
    pub(crate) audit: Audit,
    pub(crate) tls: Option<Tls>,
    pub(crate) watch: Watch,
    /// Of tokens that a reload dropped, until they have ended.
    pub(crate) dropped: Vec<Workers>,
}

/// How the daemon stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing of it is left.
    Whole,
    /// A token's library is still in a call that hangs. The process must exit without its exit handlers,
    /// which may wait for that call.
    WithCallsThatHang,
}

/// Serves until a signal says stop. An error here is one line for the operator: only configuration
/// faults end the daemon; a token that is down does not.
pub async fn run(path: &Path, config: Config) -> io::Result<Stopped> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    backends::make_state_dir(&config.state_dir).map_err(|error| {
        told(&error, &format!("cannot make the state directory {}", config.state_dir.display()))
    })?;
    let audit = Audit::open(&config.audit_file).map_err(|error| {
        told(&error, &format!("cannot open the audit log {}", config.audit_file.display()))
    })?;
    let tls = match config.listen.tcp.as_ref().and_then(|tcp| tcp.tls.as_ref()) {
        Some(files) => Some(Tls::load(files).map_err(|error| told(&error, "cannot use the TLS files"))?),
        None => None,
    };
    let keyring = Keyring::start(&config, |token| backends::connector(token, &config.state_dir), None)?;
    let shared = Arc::new(Shared::new(
        Engine::new(&config, keyring, audit.clone()),
        config.limits.requests_per_caller,
    ));
    let (unix, socket) = listen::bind(&config.listen).await?;
    let tcp = tcp(&config, tls.clone()).await?;

    let (health, health_service) = tonic_health::server::health_reporter();
    let watch = Watch::start(shared.engine(), health).await;
    let (accepting, connections) = listen::accept(unix, tcp, bounds(&config));

    let provider = KeyProviderServiceServer::new(KeyProvider(shared.clone()))
        .max_decoding_message_size(MAX_MESSAGE_LEN)
        .max_encoding_message_size(MAX_MESSAGE_LEN);
    let native = HoldfastServer::new(Native(shared.clone()))
        .max_decoding_message_size(MAX_MESSAGE_LEN)
        .max_encoding_message_size(MAX_MESSAGE_LEN);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut serving = tokio::spawn(
        Server::builder()
            // The engine keeps the deadline; this one is for bodies that never end.
            .timeout(longest(&config))
            .max_concurrent_streams(config.limits.streams_per_connection)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
            .add_service(InterceptedService::new(provider, identify))
            .add_service(InterceptedService::new(native, identify))
            .add_service(health_service)
            .add_service(reflection().build_v1().map_err(io::Error::other)?)
            .add_service(reflection().build_v1alpha().map_err(io::Error::other)?)
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), async {
                let _ = stopped.await;
            }),
    );
    tracing::info!(socket = %config.listen.unix.display(), version = env!("CARGO_PKG_VERSION"), "serving");
    notify(&[sd_notify::NotifyState::Ready]);

    let mut running =
        Running { path: path.to_owned(), config, shared, audit, tls, watch, dropped: Vec::new() };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload::reload(&mut running).await,
            ended = &mut serving => {
                return Err(io::Error::other(match ended {
                    Ok(Ok(())) => "the server ended by itself".to_owned(),
                    Ok(Err(error)) => format!("the server failed: {error}"),
                    Err(error) => format!("the server failed: {error}"),
                }));
            }
        }
    }

    tracing::info!("stopping; requests that are under way are finished");
    notify(&[sd_notify::NotifyState::Stopping]);
    drop(socket);
    drop(accepting);
    let _ = stop.send(());
    let last = async {
        let _ = serving.await;
        // A caller that hung up has no connection, but a token may still work for it: that is recorded too.
        running.shared.idle().await;
    };
    // A token that hangs must not keep the daemon from stopping.
    if tokio::time::timeout(longest(&running.config), last).await.is_err() {
        tracing::warn!("some requests did not end in time and were abandoned");
    }
    running.watch.stop().await;
    let until = Instant::now() + CLOSING;
    let mut whole = running.shared.engine().keyring.close(CLOSING);
    for workers in running.dropped {
        whole &= workers.close(until.saturating_duration_since(Instant::now()));
    }
    tracing::info!("stopped");
    Ok(if whole { Stopped::Whole } else { Stopped::WithCallsThatHang })
}

async fn tcp(config: &Config, tls: Option<Tls>) -> io::Result<Option<(TcpListener, Tcp)>> {
    let Some(tcp) = &config.listen.tcp else { return Ok(None) };
    let listener = TcpListener::bind(tcp.address).await.map_err(|error| {
        told(
            &error,
            &format!("cannot listen on {}; free it, or set another [listen.tcp] address", tcp.address),
        )
    })?;
    let way = tls.map_or(Tcp::Plain, Tcp::Tls);
    tracing::info!(address = %listener.local_addr()?, tls = matches!(way, Tcp::Tls(_)), "listening on TCP");
    Ok(Some((listener, way)))
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        connections: Arc::new(Places::new(config.limits.connections)),
        per_caller: Arc::new(Places::new(config.limits.connections_per_caller)),
        // Longer than any request: none is under way then.
        idle: longest(config) + Duration::from_secs(1),
    }
}

/// The time after which every request is over.
fn longest(config: &Config) -> Duration {
    config.listen.timeout + Duration::from_secs(1)
}

fn told(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

pub(crate) fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
