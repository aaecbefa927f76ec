//! Calls to the daemon as its peers make them: a new connection for each.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::grpc::MAX_MESSAGE_LEN;
use holdfast_wire::grpc::keyprovider::KeyProviderKeyWrapProtocolInput as Input;
use holdfast_wire::grpc::keyprovider::key_provider_service_client::KeyProviderServiceClient;
use holdfast_wire::grpc::v1;
use holdfast_wire::grpc::v1::holdfast_client::HoldfastClient;
use holdfast_wire::{OptsData, Secret};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// A connection to the socket.
pub async fn connect(socket: &Path) -> Channel {
    let uri = format!("unix://{}", socket.display());
    let endpoint = Endpoint::try_from(uri).expect("a socket's URI").timeout(Duration::from_secs(60));
    endpoint.connect().await.expect("a connection")
}

/// A layer's key as ocicrypt would have it wrapped.
pub fn optsdata() -> OptsData {
    OptsData::new(Secret::new(vec![3; 32]), [4; 16], &format!("sha256:{}", "a".repeat(64))).expect("optsdata")
}

/// UnWrapKey with this packet, in the bytes that ocicrypt's Go code sends.
pub async fn unwrap_key(socket: &Path, packet: &[u8]) -> Result<Vec<u8>, Status> {
    unwrap_on(connect(socket).await, packet).await
}

/// The same over a connection that is there.
pub async fn unwrap_on(channel: Channel, packet: &[u8]) -> Result<Vec<u8>, Status> {
    send_unwrap(channel, unwrap_body(packet, r#"{"Parameters":{}}"#)).await
}

/// UnWrapKey with any body.
pub async fn send_unwrap(channel: Channel, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = KeyProviderServiceClient::new(channel).max_encoding_message_size(2 * MAX_MESSAGE_LEN);
    let answer = client.un_wrap_key(Input { key_provider_key_wrap_protocol_input: body }).await?;
    Ok(result(&answer.into_inner().key_provider_key_wrap_protocol_output, "keyunwrapresults", "optsdata"))
}

/// WrapKey with these parameters under the provider's name.
pub async fn wrap_key(socket: &Path, parameters: &[&str], optsdata: &[u8]) -> Result<Vec<u8>, Status> {
    wrap_on(connect(socket).await, parameters, optsdata).await
}

/// The same over a connection that is there.
pub async fn wrap_on(channel: Channel, parameters: &[&str], optsdata: &[u8]) -> Result<Vec<u8>, Status> {
    let parameters: Vec<String> =
        parameters.iter().map(|one| format!("\"{}\"", STANDARD.encode(one))).collect();
    let body = format!(
        r#"{{"op":"keywrap","keywrapparams":{{"ec":{{"Parameters":{{"holdfast":[{}]}},"DecryptConfig":{{"Parameters":{{}}}}}},"optsdata":"{}"}},"keyunwrapparams":{{"dc":null,"annotation":null}}}}"#,
        parameters.join(","),
        STANDARD.encode(optsdata)
    );
    send_wrap(channel, body.into_bytes()).await
}

/// WrapKey with any body.
pub async fn send_wrap(channel: Channel, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = KeyProviderServiceClient::new(channel).max_encoding_message_size(2 * MAX_MESSAGE_LEN);
    let answer = client.wrap_key(Input { key_provider_key_wrap_protocol_input: body }).await?;
    Ok(result(&answer.into_inner().key_provider_key_wrap_protocol_output, "keywrapresults", "annotation"))
}

/// The body of an UnWrapKey call.
pub fn unwrap_body(packet: &[u8], dc: &str) -> Vec<u8> {
    format!(
        r#"{{"op":"keyunwrap","keywrapparams":{{"ec":null,"optsdata":null}},"keyunwrapparams":{{"dc":{dc},"annotation":"{}"}}}}"#,
        STANDARD.encode(packet)
    )
    .into_bytes()
}

/// Holdfast's own service.
pub async fn native(socket: &Path) -> HoldfastClient<Channel> {
    HoldfastClient::new(connect(socket).await).max_encoding_message_size(2 * MAX_MESSAGE_LEN)
}

/// OpenPacket with one JWE.
pub async fn open(socket: &Path, packet: &[u8]) -> Result<v1::OpenPacketResponse, Status> {
    open_of(socket, "jwe", packet).await
}

/// OpenPacket with one packet of any scheme.
pub async fn open_of(socket: &Path, scheme: &str, packet: &[u8]) -> Result<v1::OpenPacketResponse, Status> {
    let packets = vec![v1::Packet { scheme: scheme.into(), data: packet.to_vec() }];
    let answer = native(socket)
        .await
        .open_packet(v1::OpenPacketRequest { packets, ..v1::OpenPacketRequest::default() })
        .await?;
    Ok(answer.into_inner())
}

fn result(answer: &[u8], half: &str, member: &str) -> Vec<u8> {
    let json: serde_json::Value = serde_json::from_slice(answer).expect("a JSON answer");
    let bytes = json[half][member].as_array().expect("bytes as an array").iter();
    bytes.map(|byte| u8::try_from(byte.as_u64().expect("a number")).expect("a byte")).collect()
}
