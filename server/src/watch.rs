//! Asking the tokens again and again, and telling gRPC health what follows for their keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::engine::Engine;
use crate::keyring::Key;

/// How often each token is asked whether it answers.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// The tasks that watch the tokens of one engine.
pub(crate) struct Watch {
    tasks: JoinSet<()>,
    health: HealthReporter,
    aliases: Vec<String>,
}

impl Watch {
    pub(crate) async fn start(engine: Arc<Engine>, health: HealthReporter) -> Watch {
        let mut watch = Watch { tasks: JoinSet::new(), health, aliases: Vec::new() };
        watch.health.set_service_status("", ServingStatus::NotServing).await;
        watch.begin(engine);
        watch
    }

    /// Watches another engine from now on; aliases that it has not are unknown again.
    pub(crate) async fn change(&mut self, engine: Arc<Engine>) {
        self.stop().await;
        for alias in self.aliases.drain(..) {
            self.health.clear_service_status(&service_of(&alias)).await;
        }
        self.begin(engine);
    }

    pub(crate) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    fn begin(&mut self, engine: Arc<Engine>) {
        self.aliases = engine.keyring.aliases().into_iter().map(str::to_owned).collect();
        for token in 0..engine.keyring.tokens().len() {
            self.tasks.spawn(watch(engine.clone(), token, self.health.clone()));
        }
    }
}

async fn watch(engine: Arc<Engine>, token: usize, health: HealthReporter) {
    let patience = engine.timeout();
    let mut tick = tokio::time::interval(CHECK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        engine.keyring.refresh(token, || Instant::now() + patience).await;
        tell(&engine, &health).await;
    }
}

/// "" and both services serve while any key can be used; `key/ALIAS` while one of that alias can.
async fn tell(engine: &Engine, health: &HealthReporter) {
    let status = |serving| if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    let usable = |key: &Key| {
        key.known().is_some()
            && engine.keyring.tokens().get(key.token()).is_some_and(|token| token.trouble().is_none())
    };
    let audited = !engine.audit.is_down();
    let mut any = false;
    for alias in engine.keyring.aliases() {
        let serving = audited && engine.keyring.keys_of(alias).any(|(_, key)| usable(key));
        any |= serving;
        health.set_service_status(service_of(alias), status(serving)).await;
    }
    for service in ["", "keyprovider.KeyProviderService", "holdfast.v1.Holdfast"] {
        health.set_service_status(service, status(any)).await;
    }
}

fn service_of(alias: &str) -> String {
    format!("key/{alias}")
}
