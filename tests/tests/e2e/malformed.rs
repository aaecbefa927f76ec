//! Requests that are not what they should be: one clear line each, and the daemon goes on.

use holdfast_e2e::house::House;
use holdfast_e2e::rpc;
use hsm_sim::KeyKind;
use tonic::{Code, Status};

#[tokio::test(flavor = "multi_thread")]
async fn each_is_an_error_of_one_line_and_the_next_request_is_served() {
    let house = House::new().key("images", KeyKind::EcP256);
    let daemon = house.start();
    let good = rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.unwrap();
    let bodies: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "the request ends too early"),
        ("not json", b"hello".to_vec(), "the request is not JSON"),
        ("half json", br#"{"op":"keyunwrap""#.to_vec(), "the request ends too early"),
        ("another op", br#"{"op":"keywrap"}"#.to_vec(), "op in the request is not \"keyunwrap\""),
        ("no annotation", br#"{"op":"keyunwrap"}"#.to_vec(), "no annotation to unwrap"),
        (
            "not base64",
            br#"{"keyunwrapparams":{"annotation":"%%%"}}"#.to_vec(),
            "does not have the expected form",
        ),
        (
            "unpadded base64",
            br#"{"keyunwrapparams":{"annotation":"AQI"}}"#.to_vec(),
            "does not have the expected form",
        ),
        ("deep", format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)).into_bytes(), "the request"),
        ("not a packet", rpc::unwrap_body(b"hello", "null"), "malformed request"),
        ("an empty object", rpc::unwrap_body(b"{}", "null"), "malformed request"),
        ("half a packet", rpc::unwrap_body(&good[..good.len() / 2], "null"), "malformed request"),
    ];
    for (name, body, says) in bodies {
        let status = rpc::send_unwrap(rpc::connect(&house.socket()).await, body).await.unwrap_err();
        one_line(name, &status, says);
        assert_eq!(
            rpc::unwrap_key(&house.socket(), &good).await.unwrap(),
            rpc::optsdata().raw().expose(),
            "after {name}"
        );
    }
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_recipients_are_refused_before_any_token_sees_one() {
    let house = House::new().key("images", KeyKind::Rsa2048);
    let _daemon = house.start();
    let recipient = format!(r#"{{"header":{{"alg":"RSA-OAEP"}},"encrypted_key":"{}"}}"#, "A".repeat(16));
    let recipients = vec![recipient; 10_000].join(",");
    let packet = format!(
        r#"{{"protected":"eyJlbmMiOiJBMjU2R0NNIn0","recipients":[{recipients}],"iv":"AAAAAAAAAAAAAAAA","ciphertext":"AA","tag":"AAAAAAAAAAAAAAAAAAAAAA"}}"#
    );
    let status = rpc::unwrap_key(&house.socket(), packet.as_bytes()).await.unwrap_err();
    one_line("10,000 recipients", &status, "malformed request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_sixteen_mebibytes_is_refused_and_the_next_is_served() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    let limit = holdfast_wire::grpc::MAX_MESSAGE_LEN;
    let status =
        rpc::send_unwrap(rpc::connect(&house.socket()).await, vec![b' '; limit + 1]).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    // One byte less than the limit, the protobuf's own framing counted, is read and is malformed.
    let status =
        rpc::send_unwrap(rpc::connect(&house.socket()).await, vec![b' '; limit - 16]).await.unwrap_err();
    one_line("16 MiB of spaces", &status, "the request ends too early");
    assert!(rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_protobuf_or_not_http2_is_an_error_and_the_next_is_served() {
    use std::io::{Read as _, Write as _};
    let house = House::new().key("images", KeyKind::EcP256);
    let daemon = house.start();
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x00\x01\x02\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage"]
    {
        let mut stream = std::os::unix::net::UnixStream::connect(house.socket()).unwrap();
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    // A field of wire type 7, which protobuf does not have.
    let mut client = tonic::client::Grpc::new(rpc::connect(&house.socket()).await);
    client.ready().await.unwrap();
    let path = "/keyprovider.KeyProviderService/UnWrapKey".parse().unwrap();
    let answer = client.unary(tonic::Request::new(vec![0x0f, 0xff, 0xff]), path, Raw).await;
    assert_eq!(answer.unwrap_err().code(), Code::Internal);
    assert!(rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.is_ok());
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

fn one_line(name: &str, status: &Status, says: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status:?}");
    assert!(status.message().contains(says), "{name}: {}", status.message());
    assert!(!status.message().contains('\n') && status.message().len() < 400, "{name}: {}", status.message());
}

/// Bytes as they are, in place of a protobuf message.
#[derive(Clone, Copy)]
struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl tonic::codec::Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        use bytes::BufMut as _;
        out.put_slice(&item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, input: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use bytes::Buf as _;
        let len = input.remaining();
        Ok(Some(input.copy_to_bytes(len).to_vec()))
    }
}
