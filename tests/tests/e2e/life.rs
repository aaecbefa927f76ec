//! Starting, stopping, being killed, and the socket's path.

use std::os::unix::fs::MetadataExt as _;

use holdfast_e2e::house::{House, file};
use holdfast_e2e::{must_fail, rpc};
use hsm_sim::KeyKind;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_clean_and_takes_the_socket_away() {
    let house = House::new().key("images", KeyKind::EcP256);
    let daemon = house.start();
    let kept = rpc::connect(&house.socket()).await;
    assert!(rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.is_ok());
    assert!(daemon.stop().success());
    assert!(!house.socket().exists());
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_is_followed_by_another_on_the_same_path() {
    let house = House::new().key("images", KeyKind::EcP256);
    let daemon = house.start();
    let packet = rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.unwrap();
    daemon.kill();
    assert!(house.socket().exists());
    let before = std::fs::metadata(house.socket()).unwrap().ino();
    // The path answers nobody: readiness is the new daemon's socket.
    let daemon = house.start();
    assert_ne!(std::fs::metadata(house.socket()).unwrap().ino(), before);
    assert_eq!(rpc::unwrap_key(&house.socket(), &packet).await.unwrap(), rpc::optsdata().raw().expose());
    drop(daemon);
}

#[test]
fn a_socket_that_another_daemon_answers_on_is_left_alone() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _first = house.start();
    // Another audit log, or that would be the first thing in its way.
    let config = std::fs::read_to_string(house.write_config()).unwrap().replace("audit.jsonl", "other.jsonl");
    let config = file(house.dir.path(), "second.toml", config);
    let mut second = std::process::Command::new(holdfast_e2e::binary("holdfastd"));
    let said = must_fail(second.arg("--config").arg(config).envs(house.hsm.env()));
    assert!(
        said.contains("another program answers on it; stop or remove it, or set another [listen] unix"),
        "{said}"
    );
}

#[test]
fn two_daemons_do_not_share_an_audit_log() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _first = house.start();
    let said = must_fail(&mut house.holdfastd());
    assert!(said.contains("another process writes this audit log"), "{said}");
}

#[test]
fn a_directory_that_is_missing_is_told() {
    let house = House::new().key("images", KeyKind::EcP256).audit_file("/nonexistent/audit.jsonl".into());
    let said = must_fail(&mut house.holdfastd());
    assert!(said.contains("cannot open the audit log /nonexistent/audit.jsonl"), "{said}");
}
