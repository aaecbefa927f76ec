//! The messages of the Rust client (ocicrypt-rs, in Confidential Containers), by structures like its
//! own: bytes in answers are arrays and nothing else, halves of a message may be missing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_e2e::house::House;
use holdfast_e2e::rpc;
use holdfast_wire::grpc::keyprovider::KeyProviderKeyWrapProtocolInput as Input;
use holdfast_wire::grpc::keyprovider::key_provider_service_client::KeyProviderServiceClient;
use holdfast_wire::{OptsData, Secret};
use hsm_sim::KeyKind;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

#[derive(Deserialize)]
struct Output {
    keywrapresults: Option<WrapResults>,
    keyunwrapresults: Option<UnwrapResults>,
}

#[derive(Deserialize)]
struct WrapResults {
    annotation: Vec<u8>,
}

#[derive(Deserialize)]
struct UnwrapResults {
    optsdata: Vec<u8>,
}

async fn call(channel: Channel, body: Value) -> Output {
    let mut client = KeyProviderServiceClient::new(channel);
    let wraps = body["op"] == "keywrap";
    let input = Input { key_provider_key_wrap_protocol_input: body.to_string().into_bytes() };
    let answer = if wraps { client.wrap_key(input).await } else { client.un_wrap_key(input).await };
    let answer = answer.unwrap().into_inner().key_provider_key_wrap_protocol_output;
    serde_json::from_slice(&answer).unwrap()
}

fn optsdata() -> OptsData {
    OptsData::new(Secret::new(vec![3; 32]), [4; 16], &format!("sha256:{}", "a".repeat(64))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_requests_are_understood_and_its_structures_take_the_answers() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    understands_every_form(async || rpc::connect(&house.socket()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_plaintext_tcp_with_http_before_the_configured_address() {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::EcP256).unwrap();
    house.configure("images", "images", "");
    house.allow("loopback = true\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"images\"]");
    let house = house.section("[listen.tcp]\naddress = \"127.0.0.1:0\"\nplaintext = true\n");
    let daemon = house.start();
    let configured = daemon.tcp_address();
    understands_every_form(async || dial(&configured).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_its_own_doing_it_does_not_get_to_a_unix_socket() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    let socket = house.socket();
    for configured in [format!("unix://{}", socket.display()), format!("unix:{}", socket.display())] {
        dial(&configured).await.unwrap_err();
    }
}

/// As it does with the `grpc` entry of its configuration, whatever stands there.
async fn dial(configured: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{configured}"))?.connect().await
}

async fn understands_every_form(channel: impl AsyncFn() -> Channel) {
    let given = optsdata();
    let text = std::str::from_utf8(given.raw().expose()).unwrap();
    let parameter = STANDARD.encode("images");
    // The text itself is what it sends; arrays and base64 are what its structures would take too.
    for optsdata in [json!(text), json!(given.raw().expose()), json!(STANDARD.encode(text))] {
        let answer = call(
            channel().await,
            json!({
                "op": "keywrap",
                "keywrapparams": {
                    "ec": {"Parameters": {"holdfast": [parameter]}, "DecryptConfig": null},
                    "optsdata": optsdata,
                },
                "keyunwrapparams": {"dc": null, "annotation": null},
            }),
        )
        .await;
        assert!(answer.keyunwrapresults.is_none());
        let packet = answer.keywrapresults.unwrap().annotation;
        for annotation in [json!(STANDARD.encode(&packet)), json!(packet)] {
            for dc in [json!(null), json!({"Parameters": {}}), json!({"Parameters": {"holdfast": ["eA=="]}})]
            {
                let answer = call(
                    channel().await,
                    json!({
                        "op": "keyunwrap",
                        "keywrapparams": {"ec": null, "optsdata": null},
                        "keyunwrapparams": {"dc": dc, "annotation": annotation},
                    }),
                )
                .await;
                assert!(answer.keywrapresults.is_none());
                assert_eq!(answer.keyunwrapresults.unwrap().optsdata, given.raw().expose());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_that_is_missing_is_no_error() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    let given = optsdata();
    let answer = call(
        rpc::connect(&house.socket()).await,
        json!({
            "op": "keywrap",
            "keywrapparams": {"ec": {"Parameters": {"holdfast": [b"images"]}}, "optsdata": given.raw().expose()},
        }),
    )
    .await;
    let packet = answer.keywrapresults.unwrap().annotation;
    let answer = call(
        rpc::connect(&house.socket()).await,
        json!({"op": "keyunwrap", "keyunwrapparams": {"annotation": packet}}),
    )
    .await;
    assert_eq!(answer.keyunwrapresults.unwrap().optsdata, given.raw().expose());
}
