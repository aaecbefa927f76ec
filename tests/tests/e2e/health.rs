//! gRPC health says what can be used.

use holdfast_e2e::house::{House, me};
use holdfast_e2e::{eventually, rpc};
use hsm_sim::KeyKind;
use tonic_health::pb::HealthCheckRequest;
pub(crate) use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn status(house: &House, service: &str) -> ServingStatus {
    let mut client = HealthClient::new(rpc::connect(&house.socket()).await);
    let request = HealthCheckRequest { service: service.into() };
    match client.check(request).await {
        Ok(answer) => answer.into_inner().status(),
        Err(status) if status.code() == tonic::Code::NotFound => ServingStatus::ServiceUnknown,
        Err(status) => panic!("{status:?}"),
    }
}

pub(crate) async fn becomes(house: &House, service: &str, wanted: ServingStatus) {
    eventually(service, async || status(house, service).await == wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_with_a_usable_key_serves() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    for service in ["", "keyprovider.KeyProviderService", "holdfast.v1.Holdfast", "key/images"] {
        becomes(&house, service, ServingStatus::Serving).await;
    }
    assert_eq!(status(&house, "key/nothing").await, ServingStatus::ServiceUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_there_does_not_serve_and_the_other_does() {
    let mut house = House::new().key("images", KeyKind::EcP256);
    house.configure("missing", "no-such-object", "");
    house.allow(&format!("user = {}\nto = [\"unwrap\"]\nkeys = [\"missing\"]", me()));
    let _daemon = house.start();
    becomes(&house, "key/images", ServingStatus::Serving).await;
    becomes(&house, "key/missing", ServingStatus::NotServing).await;
    becomes(&house, "", ServingStatus::Serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_its_token_answers_and_does_not_serve() {
    let house = House::new().key("images", KeyKind::EcP256).module("/nonexistent.so".into());
    let _daemon = house.start();
    becomes(&house, "key/images", ServingStatus::NotServing).await;
    becomes(&house, "", ServingStatus::NotServing).await;
}
