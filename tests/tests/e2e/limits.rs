//! What one caller may have at once, and callers that say nothing.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use holdfast_e2e::house::House;
use holdfast_e2e::{eventually, rpc};
use hsm_sim::KeyKind;
use tonic::Code;

async fn wrap(house: &House) -> Vec<u8> {
    rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_at_once_are_all_answered() {
    let house = House::new().key("images", KeyKind::EcP256);
    let daemon = house.start();
    let packet = wrap(&house).await;
    let mut connections = Vec::new();
    for _ in 0..1000 {
        connections.push(rpc::connect(&house.socket()).await);
    }
    let calls: Vec<_> = connections
        .into_iter()
        .map(|channel| {
            let packet = packet.clone();
            tokio::spawn(async move { rpc::unwrap_on(channel, &packet).await.map(drop) })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(house.audit().len(), 1001);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_a_caller_may_have_are_refused_and_the_others_answered() {
    let house = House::new().key("images", KeyKind::Rsa4096).section("[limits]\nrequests_per_caller = 2\n");
    let _daemon = house.start();
    let packet = wrap(&house).await;
    let channel = rpc::connect(&house.socket()).await;
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let (channel, packet) = (channel.clone(), packet.clone());
            tokio::spawn(async move { rpc::unwrap_on(channel, &packet).await.map(drop) })
        })
        .collect();
    let mut answered = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => answered += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted);
                assert!(status.message().contains("too many requests under way"), "{}", status.message());
            }
        }
    }
    assert!((2..32).contains(&answered), "{answered} answered");
    assert!(rpc::unwrap_on(channel, &packet).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_and_its_place_comes_back() {
    let house = House::new().key("images", KeyKind::EcP256).section("[limits]\nconnections_per_caller = 3\n");
    let _daemon = house.start();
    let mut connections: Vec<UnixStream> =
        (0..8).map(|_| UnixStream::connect(house.socket()).unwrap()).collect();
    // HTTP/2 greets whom it lets in. The harness's own first connection may still hold one of the places.
    let greeted = connections.iter_mut().filter_map(|connection| {
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (connection.read(&mut [0; 1]).unwrap() == 1).then_some(())
    });
    let greeted = greeted.count();
    assert!((2..=3).contains(&greeted), "{greeted} of 8 were let in");
    connections.clear();
    // The places come back when the daemon has seen the ends.
    eventually("a free place", async || {
        match tonic::transport::Endpoint::try_from(format!("unix://{}", house.socket().display())) {
            Ok(endpoint) => match endpoint.connect().await {
                Ok(channel) => {
                    rpc::wrap_on(channel, &["images"], rpc::optsdata().raw().expose()).await.is_ok()
                }
                Err(_) => false,
            },
            Err(error) => panic!("{error}"),
        }
    })
    .await;
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    let mut silent = UnixStream::connect(house.socket()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut seen = Vec::new();
    silent.read_to_end(&mut seen).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_cut_off_and_others_are_served_meanwhile() {
    use std::io::Write as _;
    let house = House::new().key("images", KeyKind::EcP256).listen_options("timeout = \"1s\"");
    let _daemon = house.start();
    // Preface, SETTINGS, and the HEADERS of an UnWrapKey whose body does not come (RFC 9113; the header
    // block is literal fields without indexing, RFC 7541 section 6.2.2).
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/keyprovider.KeyProviderService/UnWrapKey"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut stream = UnixStream::connect(house.socket()).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").unwrap();
    let len = u8::try_from(block.len()).unwrap();
    stream.write_all(&[0, 0, len, 1, 4, 0, 0, 0, 1]).unwrap();
    stream.write_all(&block).unwrap();
    assert!(rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.is_ok());
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut seen = Vec::new();
    let mut byte = [0; 256];
    // The answer is HEADERS (or trailers) on stream 1 that end it: type 1, flags with END_STREAM.
    while !seen.windows(9).any(|frame| frame[3] == 1 && frame[4] & 1 == 1 && frame[8] == 1) {
        let read = stream.read(&mut byte).unwrap();
        assert!(read > 0, "closed without an answer");
        seen.extend_from_slice(&byte[..read]);
    }
}
