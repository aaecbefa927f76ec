//! The daemon's life: start, serve, stop.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_wire::grpc::MAX_MESSAGE_LEN;
use holdfast_wire::grpc::keyprovider::key_provider_service_server::KeyProviderServiceServer;
use holdfast_wire::grpc::v1::holdfast_server::HoldfastServer;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::audit::Audit;
use crate::config::Config;
use crate::engine::Engine;
use crate::keyring::Keyring;
use crate::service::{KeyProvider, Native, identify};
use crate::{backends, listen};

/// How often each token is asked whether it answers.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How long tokens may take to end their sessions when the daemon stops.
const CLOSING: Duration = Duration::from_secs(2);
/// Requests at once on one connection.
const STREAMS_PER_CONNECTION: u32 = 256;

/// Serves until a signal says stop. An error here is one line for the operator: only configuration
/// faults end the daemon; a token that is down does not.
pub async fn run(config: &Config) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    backends::make_state_dir(&config.state_dir).map_err(|error| {
        told(&error, &format!("cannot make the state directory {}", config.state_dir.display()))
    })?;
    let audit = Audit::open(&config.audit_file).map_err(|error| {
        told(&error, &format!("cannot open the audit log {}", config.audit_file.display()))
    })?;
    let keyring = Keyring::start(config, |token| backends::connector(token, &config.state_dir))?;
    let engine = Arc::new(Engine::new(config, keyring, audit));
    let (listener, socket) = listen::bind(&config.listen).await?;

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", ServingStatus::NotServing).await;
    let mut watchers = tokio::task::JoinSet::new();
    for token in 0..engine.keyring.tokens().len() {
        watchers.spawn(watch(engine.clone(), token, health.clone()));
    }

    let provider = KeyProviderServiceServer::new(KeyProvider(engine.clone()))
        .max_decoding_message_size(MAX_MESSAGE_LEN)
        .max_encoding_message_size(MAX_MESSAGE_LEN);
    let native = HoldfastServer::new(Native(engine.clone()))
        .max_decoding_message_size(MAX_MESSAGE_LEN)
        .max_encoding_message_size(MAX_MESSAGE_LEN);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut serving = tokio::spawn(
        Server::builder()
            // The engine keeps the deadline; this one is for bodies that never end.
            .timeout(config.listen.timeout + Duration::from_secs(1))
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .add_service(InterceptedService::new(provider, identify))
            .add_service(InterceptedService::new(native, identify))
            .add_service(health_service)
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
                let _ = stopped.await;
            }),
    );
    tracing::info!(socket = %config.listen.unix.display(), version = env!("CARGO_PKG_VERSION"), "serving");
    notify(&[sd_notify::NotifyState::Ready]);

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                tracing::warn!("this version does not reload its configuration on SIGHUP; restart it instead");
            }
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
    let _ = stop.send(());
    // A token that hangs must not keep the daemon from stopping.
    let patience = config.listen.timeout + Duration::from_secs(1);
    if tokio::time::timeout(patience, serving).await.is_err() {
        tracing::warn!("some requests did not end in time and were abandoned");
    }
    watchers.shutdown().await;
    engine.keyring.close(CLOSING);
    tracing::info!("stopped");
    Ok(())
}

/// Asks one token again and again, and tells gRPC health what follows for its keys.
async fn watch(engine: Arc<Engine>, token: usize, health: HealthReporter) {
    let patience = engine.timeout();
    let mut tick = tokio::time::interval(CHECK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        engine.keyring.refresh(token, || Instant::now() + patience).await;
        tell_health(&engine, &health).await;
    }
}

/// "" and both services serve while any key can be used; `key/ALIAS` while one of that alias can.
async fn tell_health(engine: &Engine, health: &HealthReporter) {
    let status = |serving| {
        if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
    };
    let usable = |key: &crate::keyring::Key| {
        key.known().is_some()
            && engine.keyring.tokens().get(key.token()).is_some_and(|token| token.trouble().is_none())
    };
    let audited = !engine.audit.is_down();
    let mut any = false;
    for alias in engine.keyring.aliases() {
        let serving = audited && engine.keyring.keys_of(alias).any(|(_, key)| usable(key));
        any |= serving;
        health.set_service_status(format!("key/{alias}"), status(serving)).await;
    }
    for service in ["", "keyprovider.KeyProviderService", "holdfast.v1.Holdfast"] {
        health.set_service_status(service, status(any)).await;
    }
}

fn told(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
