//! The life of a PKCS#11 module under the daemon: logins, sessions, the library and the token are lost,
//! and come back. The faulty module of hsm-sim plays it, before a real SoftHSM.

use holdfast_e2e::house::{Daemon, House, file};
use holdfast_e2e::{eventually, must_fail, rpc};
use hsm_sim::{Fault, FaultyModule, KeyKind, Order};
use tonic::{Code, Status};

use crate::health;

const WORKERS: usize = 8;

/// A house whose module is before SoftHSM's.
fn house(kind: KeyKind) -> (House, FaultyModule) {
    let house = House::new().key("images", kind).token_options(&format!("workers = {WORKERS}"));
    let module = FaultyModule::install(house.dir.path(), house.hsm.module()).unwrap();
    let house = house.module(module.path().to_owned());
    (house, module)
}

async fn wrap(house: &House) -> Result<Vec<u8>, Status> {
    rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await
}

/// Many requests of both kinds at once, so that every worker has its share, none of which may fail.
async fn all_answered(house: &House, packet: &[u8]) {
    let requests: Vec<_> = (0..8 * WORKERS)
        .map(|number| {
            let (socket, packet) = (house.socket(), packet.to_vec());
            tokio::spawn(async move {
                if number % 4 == 0 {
                    rpc::wrap_key(&socket, &["images"], rpc::optsdata().raw().expose()).await
                } else {
                    rpc::unwrap_key(&socket, &packet).await
                }
            })
        })
        .collect();
    for request in requests {
        request.await.unwrap().unwrap();
    }
}

/// A daemon whose workers are all connected, by one login; and a packet for it.
async fn busy(house: &House, module: &FaultyModule) -> (Daemon, Vec<u8>) {
    let daemon = house.start();
    let packet = wrap(house).await.unwrap();
    eventually("every worker is connected", async || {
        all_answered(house, &packet).await;
        // Two more were thrown away, to ask the token what it can do.
        module.calls("C_OpenSession").unwrap()
            >= WORKERS + 2 * usize::from(module.calls("C_Decrypt").unwrap() > 0)
    })
    .await;
    assert_eq!(module.calls("C_Login").unwrap(), 1, "one login whatever the number of workers");
    (daemon, packet)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_or_the_loss_of_all_sessions_costs_one_login_and_no_request() {
    for kind in [KeyKind::EcP256, KeyKind::Rsa2048] {
        let (house, module) = house(kind);
        let (_daemon, packet) = busy(&house, &module).await;
        let at = if kind == KeyKind::EcP256 { "C_DeriveKey" } else { "C_DecryptInit" };
        for (round, fault) in [Fault::LogsOut, Fault::ClosesSessions, Fault::LogsOut].into_iter().enumerate()
        {
            // In a call that is alone: SoftHSM crashes when its sessions end under those that use them.
            module.order(&[Order::at(at, fault).times(1)]).unwrap();
            rpc::unwrap_key(&house.socket(), &packet).await.unwrap();
            all_answered(&house, &packet).await;
            assert_eq!(module.calls("C_Login").unwrap(), 2 + round, "{fault:?}, {kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_finalized_behind_its_back_is_initialized_anew() {
    let (house, module) = house(KeyKind::Rsa2048);
    let (daemon, packet) = busy(&house, &module).await;
    for round in 1..=3 {
        // One call alone: PKCS#11 forbids C_Finalize while others are under way.
        module.order(&[Order::at("C_DecryptInit", Fault::Finalizes).times(1)]).unwrap();
        rpc::unwrap_key(&house.socket(), &packet).await.unwrap();
        all_answered(&house, &packet).await;
        assert_eq!(module.calls("C_Initialize").unwrap(), 1 + round);
        assert_eq!(module.calls("C_Login").unwrap(), 1 + round);
    }
    assert_eq!(module.calls("C_Finalize").unwrap(), 0, "never by us");
    let log = daemon.log();
    assert!(log.contains("another part of this process finalized the PKCS#11 module"), "{log}");
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_pulled_out_is_unavailable_and_serves_again_when_it_is_back() {
    let (house, module) = house(KeyKind::EcP256);
    let (daemon, packet) = busy(&house, &module).await;
    health::becomes(&house, "key/images", health::ServingStatus::Serving).await;
    module.remove_tokens().unwrap();
    let status = rpc::unwrap_key(&house.socket(), &packet).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().starts_with("images: its token does not answer"), "{}", status.message());
    health::becomes(&house, "key/images", health::ServingStatus::NotServing).await;
    let log = daemon.log();
    assert!(
        log.contains("no initialized token of the module matches pkcs11:token=prod; it has none"),
        "{log}"
    );
    module.behave().unwrap();
    serves_again(&house, &packet).await;
    health::becomes(&house, "key/images", health::ServingStatus::Serving).await;
    eventually("the log says it", async || daemon.log().contains("token answers again")).await;
}

async fn serves_again(house: &House, packet: &[u8]) {
    eventually("it serves again", async || rpc::unwrap_key(&house.socket(), packet).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_may_change_their_numbers_without_an_error() {
    let (house, module) = house(KeyKind::EcP256);
    let (_daemon, packet) = busy(&house, &module).await;
    for by in [1000, 2000, 0] {
        module.move_slots(by).unwrap();
        all_answered(&house, &packet).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_broken_token_answers_it_is_unavailable_and_needs_no_restart() {
    let (house, module) = house(KeyKind::Rsa2048);
    let (daemon, packet) = busy(&house, &module).await;
    for code in [
        "CKR_DEVICE_ERROR",
        "CKR_DEVICE_REMOVED",
        "CKR_TOKEN_NOT_PRESENT",
        "CKR_GENERAL_ERROR",
        "CKR_FUNCTION_FAILED",
        "CKR_HOST_MEMORY",
        "CKR_SESSION_HANDLE_INVALID",
        "CKR_USER_NOT_LOGGED_IN",
        "0x80000001",
    ] {
        module.order(&[Order::at("*", Fault::Returns(code))]).unwrap();
        for _ in 0..2 {
            let status = rpc::unwrap_key(&house.socket(), &packet).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{code}: {status:?}");
            assert!(!status.message().contains("CKR"), "the library's words: {}", status.message());
        }
        module.behave().unwrap();
        serves_again(&house, &packet).await;
    }
    assert!(daemon.log().contains("CKR_DEVICE_ERROR"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_error_makes_the_key_not_serving_until_it_passes() {
    let (house, module) = house(KeyKind::EcP256);
    module.order(&[Order::at("*", Fault::Returns("CKR_DEVICE_ERROR"))]).unwrap();
    let daemon = house.start();
    health::becomes(&house, "key/images", health::ServingStatus::NotServing).await;
    eventually("it is told", async || daemon.log().contains("CKR_DEVICE_ERROR")).await;
    module.behave().unwrap();
    health::becomes(&house, "key/images", health::ServingStatus::Serving).await;
    wrap(&house).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_decryption_is_the_tokens_fault_only_if_the_token_fails_the_probe() {
    let (house, module) = house(KeyKind::Rsa2048);
    let (_daemon, packet) = busy(&house, &module).await;
    let decrypt = Order::at("C_Decrypt", Fault::Returns("CKR_DEVICE_ERROR"));
    module.order(&[decrypt]).unwrap();
    let rejected = rpc::unwrap_key(&house.socket(), &packet).await.unwrap_err();
    assert_eq!(rejected.code(), Code::InvalidArgument, "{rejected:?}");
    module.order(&[decrypt, Order::at("C_GetTokenInfo", Fault::Returns("CKR_DEVICE_ERROR"))]).unwrap();
    let broken = rpc::unwrap_key(&house.socket(), &packet).await.unwrap_err();
    assert_eq!(broken.code(), Code::Unavailable, "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_dies_between_two_calls_costs_no_request() {
    let (house, module) = house(KeyKind::Rsa2048);
    let (_daemon, packet) = busy(&house, &module).await;
    for code in ["CKR_SESSION_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID", "CKR_SESSION_CLOSED"] {
        for at in ["C_DecryptInit", "C_Decrypt"] {
            module.order(&[Order::at(at, Fault::Returns(code)).times(1)]).unwrap();
            rpc::unwrap_key(&house.socket(), &packet).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_does_not_start_is_tried_again() {
    let (house, module) = house(KeyKind::EcP256);
    module.order(&[Order::at("C_Initialize", Fault::Returns("CKR_DEVICE_ERROR"))]).unwrap();
    let daemon = house.start();
    assert_eq!(wrap(&house).await.unwrap_err().code(), Code::Unavailable);
    let path = module.path().to_str().unwrap();
    let said = format!(
        "the PKCS#11 module {path} does not start: initializing it: C_Initialize answered CKR_DEVICE_ERROR; look at its own configuration"
    );
    eventually("the log says it", async || daemon.log().contains(&said)).await;
    let checked = must_fail(&mut house.check(&["--tokens"]));
    assert!(checked.contains(&said) && checked.contains("[TROUBLE]"), "{checked}");
    module.behave().unwrap();
    eventually("it starts", async || wrap(&house).await.is_ok()).await;
}

#[test]
fn a_module_that_crashes_takes_the_daemon_with_it_and_was_named_before() {
    let (house, module) = house(KeyKind::EcP256);
    let path = module.path().to_str().unwrap();
    for at in ["load", "C_Initialize"] {
        module.order(&[Order::at(at, Fault::Aborts)]).unwrap();
        for mut command in [house.holdfastd(), house.check(&["--tokens"])] {
            let said = must_fail(&mut command);
            let named = format!("loading the PKCS#11 module path={path}");
            assert!(said.contains(&named), "{said}");
            assert!(!said.contains("PKCS#11 module initialized"), "{said}");
        }
    }
}

#[test]
fn what_is_no_module_is_told_as_that() {
    let house = House::new().key("images", KeyKind::EcP256);
    let text = file(house.dir.path(), "module.so", "not a library\n");
    let house = house.module(text);
    let said = must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("module.so cannot be loaded: "), "{said}");
    assert!(said.contains("correct module in its [[token]], or install it anew"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_one_login_however_often_the_daemon_is_restarted() {
    let (house, module) = house(KeyKind::EcP256);
    let wrong = file(house.dir.path(), "wrong.pin", "00000000\n");
    let house = house.pin_file(wrong);
    for _ in 0..3 {
        let daemon = house.start();
        for _ in 0..WORKERS {
            assert_eq!(wrap(&house).await.unwrap_err().code(), Code::FailedPrecondition);
        }
        daemon.stop();
        assert_eq!(module.calls("C_Login").unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_right_after_a_reload_waits_for_the_workers_of_a_token_that_it_dropped() {
    let (house, module) = house(KeyKind::EcP256);
    let other = house.hsm.init_token("other").unwrap();
    house.hsm.generate(&other, "images", &[1], KeyKind::EcP256).unwrap();
    let (daemon, _) = busy(&house, &module).await;
    let path = house.write_config();
    let text = std::fs::read_to_string(&path).unwrap();
    let of_prod = house.token.pin_file().to_str().unwrap();
    let text = text.replace("token=prod", "token=other").replace(of_prod, other.pin_file().to_str().unwrap());
    std::fs::write(
        &path,
        text.replace(module.path().to_str().unwrap(), house.hsm.module().to_str().unwrap()),
    )
    .unwrap();
    daemon.hang_up();
    eventually("a reload", async || daemon.log().contains("configuration reloaded")).await;
    assert!(daemon.stop().success());
    assert_eq!(module.calls("C_CloseSession").unwrap(), module.calls("C_OpenSession").unwrap());
}
