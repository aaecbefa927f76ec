//! The key provider protocol, spoken as ocicrypt speaks it.

use holdfast_e2e::house::House;
use holdfast_e2e::rpc;
use holdfast_envelope::jwe::Jwe;
use hsm_sim::KeyKind;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrapped_unwraps_to_the_same_bytes() {
    let house = House::new().key("images", KeyKind::Rsa2048).key("spare", KeyKind::EcP384);
    let _daemon = house.start();
    let given = rpc::optsdata();
    for parameters in [&["images"][..], &["spare"], &["images+spare;env=prod"], &["images", "spare;team=a"]] {
        let packet = rpc::wrap_key(&house.socket(), parameters, given.raw().expose()).await.unwrap();
        let answer = rpc::unwrap_key(&house.socket(), &packet).await.unwrap();
        assert_eq!(answer, given.raw().expose(), "{parameters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_stand_in_the_packet_and_are_asked_for() {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::EcP256).unwrap();
    house.configure("images", "images", "");
    let me = holdfast_e2e::house::me();
    house.allow(&format!("user = {me}\nto = [\"wrap\"]\nkeys = [\"images\"]"));
    house.allow(&format!(
        "user = {me}\nto = [\"unwrap\"]\nkeys = [\"images\"]\nlabels = {{ env = \"prod\" }}"
    ));
    let _daemon = house.start();
    let given = rpc::optsdata();
    let wrap = async |parameter: &str| {
        rpc::wrap_key(&house.socket(), &[parameter], given.raw().expose()).await.unwrap()
    };
    let prod = wrap("images;env=prod").await;
    assert_eq!(Jwe::parse(&prod).unwrap().labels().get("env"), Some("prod"));
    assert!(rpc::unwrap_key(&house.socket(), &prod).await.is_ok());
    for packet in [wrap("images;env=test").await, wrap("images").await] {
        let status = rpc::unwrap_key(&house.socket(), &packet).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_alias_looks_denied() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    let status =
        rpc::wrap_key(&house.socket(), &["nothing"], rpc::optsdata().raw().expose()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("or there is no such key"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_nonces_of_the_wrong_length_are_refused_at_wrap() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (bad, says) in [
        (
            r#"{"symkey":"AQID","digest":"","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#
                .to_owned(),
            "symkey in optsdata has 3 bytes; it must have 32",
        ),
        (
            format!(r#"{{"symkey":"{key}","digest":"","cipheroptions":{{"nonce":"AAAAAAAAAAA="}}}}"#),
            "nonce in optsdata has 8 bytes; it must have 16",
        ),
        (
            format!(r#"{{"symkey":"{key}","digest":"","cipheroptions":{{}}}}"#),
            "nonce in optsdata has 0 bytes; it must have 16",
        ),
        ("not json".to_owned(), "optsdata is not JSON"),
        (String::new(), "optsdata ends too early"),
    ] {
        let status = rpc::wrap_key(&house.socket(), &["images"], bad.as_bytes()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(says), "{}", status.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_callers_at_once_are_all_answered() {
    let house = House::new().key("images", KeyKind::Rsa2048);
    let daemon = house.start();
    let given = rpc::optsdata();
    let packet = rpc::wrap_key(&house.socket(), &["images"], given.raw().expose()).await.unwrap();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (socket, packet) = (house.socket(), packet.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    rpc::unwrap_key(&socket, &packet).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(house.audit().len(), 161);
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
}
