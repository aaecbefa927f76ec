//! SIGHUP: keys, rules, certificates and the audit file are read anew, without dropping a request.
//!
//! What can fail is done first; a file that cannot be used changes nothing and says so. Requests under
//! way finish with the engine they began with. What the listeners are made of needs a restart, and is told.

use std::time::Duration;

use holdfast_custody::PinLatch;

use crate::backends;
use crate::config::Config;
use crate::daemon::{Running, notify};
use crate::engine::Engine;
use crate::keyring::Keyring;

/// Reads the configuration again, and replaces what runs if it is good.
pub(crate) async fn reload(running: &mut Running) {
    notify(&[sd_notify::NotifyState::Reloading]);
    match prepare(running).await {
        Ok(config) => {
            running.config = config;
            running.watch.change(running.shared.engine()).await;
            tracing::info!("configuration reloaded");
        }
        Err(why) => tracing::error!("configuration NOT reloaded, what ran before goes on: {why}"),
    }
    notify(&[sd_notify::NotifyState::Ready]);
}

async fn prepare(running: &mut Running) -> Result<Config, String> {
    let mut config = Config::load(&running.path).map_err(|error| error.to_string())?;
    let left_as_it_was = needs_a_restart(&running.config, &config);
    // The listeners end requests and connections by the timeout they began with, and latches lie where
    // the tokens that are kept put them.
    config.listen.timeout = running.config.listen.timeout;
    config.state_dir.clone_from(&running.config.state_dir);
    let engine = running.shared.engine();
    let connector = |token: &_| backends::connector(token, &config.state_dir);
    let keyring =
        Keyring::start(&config, connector, Some(&engine.keyring)).map_err(|error| error.to_string())?;
    let files = config.listen.tcp.as_ref().and_then(|tcp| tcp.tls.as_ref());
    if let (Some(tls), Some(files)) = (&running.tls, files) {
        tls.reload(files).map_err(|error| format!("TLS: {error}"))?;
    }
    running
        .audit
        .reopen(&config.audit_file)
        .await
        .map_err(|error| format!("the audit log {}: {error}", config.audit_file.display()))?;
    for what in left_as_it_was {
        tracing::warn!("{what} changed; that takes effect when holdfastd is restarted");
    }
    for token in &config.tokens {
        // An operator who asks for a reload asks for another try with the PIN.
        let latch = PinLatch::new(&config.state_dir, &token.uri.to_string());
        if let Err(error) = latch.clear() {
            tracing::warn!(file = %latch.file().display(), %error, "a PIN's latch cannot be removed");
        }
    }
    // A stop that follows at once waits for these too.
    running.dropped.retain(|workers| !workers.have_ended() || !workers.close(Duration::ZERO));
    running.dropped.extend(engine.keyring.workers_not_in(&keyring));
    running.shared.replace(Engine::new(&config, keyring, running.audit.clone()));
    Ok(config)
}

fn needs_a_restart(running: &Config, fresh: &Config) -> Vec<&'static str> {
    let (old, new) = (&running.listen, &fresh.listen);
    let way = |config: &Config| config.listen.tcp.as_ref().map(|tcp| (tcp.address, tcp.tls.is_some()));
    let changed = [
        (
            "[listen] unix, mode or group",
            (&old.unix, old.mode, old.group) != (&new.unix, new.mode, new.group),
        ),
        ("[listen] timeout", old.timeout != new.timeout),
        ("[listen.tcp] address or plaintext", way(running) != way(fresh)),
        ("[limits]", running.limits != fresh.limits),
        ("[log]", (running.log.json, &running.log.level) != (fresh.log.json, &fresh.log.level)),
        ("[state] dir", running.state_dir != fresh.state_dir),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(what, _)| what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_restart_changes_is_told() {
        let told = |before: &str, after: &str| {
            needs_a_restart(&Config::parse(before).unwrap(), &Config::parse(after).unwrap())
        };
        assert_eq!(told("", "[wrap]\nprovider = \"kp\""), Vec::<&str>::new());
        assert_eq!(told("", "[listen]\ntimeout = \"60s\""), ["[listen] timeout"]);
        assert_eq!(told("", "[listen]\nmode = \"0600\""), ["[listen] unix, mode or group"]);
        assert_eq!(told("", "[state]\ndir = \"/x\"\n[log]\nformat = \"json\""), ["[log]", "[state] dir"]);
    }
}
