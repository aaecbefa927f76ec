//! SIGHUP: what changes, what stays, and that nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_e2e::house::{Daemon, House, file, me};
use holdfast_e2e::{eventually, rpc};
use hsm_sim::KeyKind;
use tonic::Code;

async fn wrap(house: &House, alias: &str) -> Result<Vec<u8>, tonic::Status> {
    rpc::wrap_key(&house.socket(), &[alias], rpc::optsdata().raw().expose()).await
}

/// Sends SIGHUP and waits until the daemon has said what came of it.
async fn reload(daemon: &Daemon) {
    let said =
        |log: &str| log.matches("configuration reloaded").count() + log.matches("NOT reloaded").count();
    let before = said(&daemon.log());
    daemon.hang_up();
    eventually("a reload", async || said(&daemon.log()) > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_one_request_fails_while_the_configuration_is_reloaded_under_load() {
    let mut house = House::new().key("images", KeyKind::EcP256);
    let daemon = house.start();
    let packet = wrap(&house, "images").await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (socket, packet, over) = (house.socket(), packet.clone(), over.clone());
            tokio::spawn(async move {
                let mut answered = 0;
                while !over.load(Ordering::Relaxed) {
                    rpc::unwrap_key(&socket, &packet).await.expect("an answer during a reload");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for round in 0..20 {
        // Every other time the token's settings change too, so that its workers are replaced.
        house.set_token_options(&format!("workers = {}", 2 + round % 2));
        house.write_config();
        reload(&daemon).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    assert!(answered > 0);
    assert_eq!(daemon.log().matches("configuration reloaded").count(), 20);
    // One for the wrap, and one for each answer.
    assert_eq!(house.audit().len(), answered + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_rules_change_and_a_bad_file_changes_nothing() {
    let mut house = House::new().key("images", KeyKind::EcP256);
    house.hsm.generate(&house.token, "late", &[9], KeyKind::EcP256).unwrap();
    let daemon = house.start();
    assert_eq!(wrap(&house, "late").await.unwrap_err().code(), Code::PermissionDenied);
    house.configure("late", "late", "");
    house.allow(&format!("user = {}\nto = [\"wrap\"]\nkeys = [\"late\"]", me()));
    let good = house.write_config();
    reload(&daemon).await;
    assert!(wrap(&house, "late").await.is_ok());

    let text = std::fs::read_to_string(&good).unwrap();
    std::fs::write(&good, format!("{text}\n[nonsense]\n")).unwrap();
    reload(&daemon).await;
    assert!(daemon.log().contains("NOT reloaded"), "{}", daemon.log());
    assert!(daemon.log().contains("unknown key \"nonsense\""), "{}", daemon.log());
    assert!(wrap(&house, "late").await.is_ok());

    std::fs::write(&good, text.replace("keys = [\"late\"]", "keys = [\"images\"]")).unwrap();
    reload(&daemon).await;
    assert_eq!(wrap(&house, "late").await.unwrap_err().code(), Code::PermissionDenied);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_audit_log_is_opened_anew() {
    let house = House::new().key("images", KeyKind::EcP256);
    let daemon = house.start();
    wrap(&house, "images").await.unwrap();
    let path = house.dir.path().join("audit.jsonl");
    let rotated = house.dir.path().join("audit.jsonl.1");
    std::fs::rename(&path, &rotated).unwrap();
    wrap(&house, "images").await.unwrap();
    reload(&daemon).await;
    wrap(&house, "images").await.unwrap();
    assert_eq!(std::fs::read_to_string(&rotated).unwrap().lines().count(), 2);
    assert_eq!(house.audit().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_has_a_refused_pin_tried_once_more() {
    let house = House::new().key("images", KeyKind::EcP256);
    let wrong = file(house.dir.path(), "wrong.pin", "00000000\n");
    let house = house.pin_file(wrong);
    let daemon = house.start();
    assert_eq!(wrap(&house, "images").await.unwrap_err().code(), Code::FailedPrecondition);
    let latch = || {
        let latches = std::fs::read_dir(house.dir.path().join("state")).unwrap();
        let files: Vec<_> = latches.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
        files.first().cloned()
    };
    let before = latch();
    assert!(before.is_some());
    assert_eq!(wrap(&house, "images").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(latch(), before, "latched, not tried");
    reload(&daemon).await;
    // It was tried and latched again: under another salt.
    eventually("another try", async || {
        assert_eq!(wrap(&house, "images").await.unwrap_err().code(), Code::FailedPrecondition);
        latch().is_some_and(|after| Some(after) != before)
    })
    .await;
}
