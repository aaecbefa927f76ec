//! What the library promises about the network before a KMIP server, met by a TLS client that verifies it.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests; these helpers belong to them")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm_sim::{Authority, KmipInterposer, KmipOperation, KmipThen, Leaf, Pykmip};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};
use serde_json::json;

const SOON: Duration = Duration::from_secs(60);
const SHORTLY: Duration = Duration::from_millis(200);
/// A request of KMIP 1.2 with one batch item, Discover Versions.
const DISCOVER: &str = "420078010000006042007701000000384200690100000020\
    42006a0200000004000000010000000042006b02000000040000000200000000\
    42000d0200000004000000010000000042000f010000001842005c05000000040000001e000000004200790100000000";

type Connection = StreamOwned<ClientConnection, TcpStream>;

fn interposer() -> KmipInterposer {
    KmipInterposer::before(Pykmip::start().unwrap()).unwrap()
}

fn connect_speaking(
    interposer: &KmipInterposer,
    version: &'static rustls::SupportedProtocolVersion,
) -> io::Result<Connection> {
    let (authority, client) = {
        let server = interposer.server();
        (server.authority().certificate().to_owned(), server.client().clone())
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(client.certificate).unwrap()],
            PrivateKeyDer::from_pem_file(client.key).unwrap(),
        )
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(interposer.address())?;
    tcp.set_read_timeout(Some(SOON))?;
    let mut connection = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp);
    connection.conn.complete_io(&mut connection.sock)?;
    Ok(connection)
}

fn connect(interposer: &KmipInterposer) -> Connection {
    connect_speaking(interposer, &TLS13).unwrap()
}

fn discover() -> Vec<u8> {
    let digits = DISCOVER.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// One request, and the answer as long as it says that it is.
fn ask(connection: &mut Connection) -> io::Result<Vec<u8>> {
    connection.write_all(&discover())?;
    let mut answer = vec![0; 8];
    connection.read_exact(&mut answer)?;
    let len = u32::from_be_bytes(*answer.last_chunk().unwrap());
    answer.resize(8 + len as usize, 0);
    connection.read_exact(&mut answer[8..])?;
    Ok(answer)
}

fn has_ended(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

#[test]
fn without_orders_the_server_is_the_one_behind_it_and_its_requests_are_counted() {
    let interposer = interposer();
    assert_ne!(interposer.address(), interposer.server().address());
    let secret = [0x5a; 32];
    let id = interposer.server().register_aes("images", &secret).unwrap();
    let got = interposer.ask(&[json!({"do": "get", "id": id}), json!({"do": "locate", "name": "images"})]);
    assert_eq!(got.unwrap(), [json!("5a".repeat(32)), json!([id])]);
    assert_eq!(interposer.requests(), [[KmipOperation::GET], [KmipOperation::LOCATE]]);
    assert_eq!(interposer.carriers_of(&secret), [[KmipOperation::GET]]);
    // What the server itself was asked on its own port.
    assert_eq!(interposer.calls(KmipOperation(3)), 0);
    assert_eq!(
        format!("{:?}, {:?}", KmipOperation::GET_ATTRIBUTES, KmipOperation(3)),
        "Get Attributes, KMIP operation 0x3"
    );
}

#[test]
fn it_speaks_both_versions_of_tls_to_clients_that_verify_it() {
    let interposer = interposer();
    for version in [&TLS12, &TLS13] {
        ask(&mut connect_speaking(&interposer, version).unwrap()).unwrap();
    }
    assert_eq!(interposer.handshakes(), [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]);
    let another = interposer.server().authority().issue("another", &Leaf::server("DNS:kms.example")).unwrap();
    interposer.present(&another).unwrap();
    let error = connect_speaking(&interposer, &TLS13).unwrap_err().to_string();
    assert!(error.contains("not valid for name \"localhost\""), "{error}");
    let foreign = Authority::new(interposer.server().dir(), "foreign").unwrap();
    interposer.present(&foreign.issue("server", &Leaf::server("DNS:localhost")).unwrap()).unwrap();
    let error = connect_speaking(&interposer, &TLS13).unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
}

#[test]
fn an_order_is_carried_out_as_often_as_was_said_and_whole_answers_keep_the_connection() {
    let interposer = interposer();
    let mut connection = connect(&interposer);
    let good = ask(&mut connection).unwrap();
    let of = KmipOperation::DISCOVER_VERSIONS;
    let nested = KmipThen::nested(1000);
    interposer.on(KmipOperation::DECRYPT, 1, KmipThen::Kill);
    interposer.on(of, 1, nested);
    interposer.on(of, 1, KmipThen::change(|answer| *answer.last_mut().unwrap() ^= 0xff));
    let deep = ask(&mut connection).unwrap();
    assert_eq!((deep.len(), &deep[7992..]), (8000, &[0x42, 0x00, 0x7b, 1, 0, 0, 0, 0][..]));
    assert_eq!(deep[..8], [0x42, 0x00, 0x7b, 1, 0, 0, 0x1f, 0x38]);
    let changed = ask(&mut connection).unwrap();
    assert_eq!(changed[..changed.len() - 1], good[..good.len() - 1]);
    assert_ne!(changed, good);
    interposer.on(of, 5, KmipThen::Raw(Vec::new()));
    interposer.behave();
    assert_eq!(ask(&mut connection).unwrap(), good);
    assert_eq!(interposer.calls(of), 4);
}

#[test]
fn what_is_no_whole_answer_ends_the_connection() {
    let interposer = interposer();
    for then in [
        KmipThen::Raw(Vec::new()),
        KmipThen::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        KmipThen::cut_off(9),
        KmipThen::cut_off(0),
    ] {
        interposer.on(KmipOperation::DISCOVER_VERSIONS, 1, then.clone());
        let mut connection = connect(&interposer);
        connection.write_all(&discover()).unwrap();
        let mut answer = Vec::new();
        let ended = connection.read_to_end(&mut answer);
        assert!(ended.as_ref().err().is_none_or(has_ended), "{then:?}: {ended:?}");
        assert!(answer.len() < 30, "{then:?}: {answer:?}");
        ask(&mut connect(&interposer)).unwrap();
    }
}

#[test]
fn an_answer_may_come_late_or_never_or_without_end() {
    let interposer = interposer();
    let of = KmipOperation::DISCOVER_VERSIONS;
    for then in [KmipThen::Halves(SHORTLY), KmipThen::Delay(SHORTLY)] {
        interposer.on(of, 1, then);
        let mut connection = connect(&interposer);
        let begun = Instant::now();
        ask(&mut connection).unwrap();
        assert!(begun.elapsed() >= SHORTLY);
    }
    interposer.on(of, 1, KmipThen::Never);
    let mut connection = connect(&interposer);
    connection.sock.set_read_timeout(Some(SHORTLY)).unwrap();
    assert_eq!(ask(&mut connection).unwrap_err().kind(), ErrorKind::WouldBlock);
    interposer.on(of, 1, KmipThen::Endless);
    let mut connection = connect(&interposer);
    connection.write_all(&discover()).unwrap();
    let mut answer = vec![0; 3 << 20];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..8], [0x42, 0x00, 0x7b, 1, 0x80, 0, 0, 0]);
}

#[test]
fn connections_are_hung_up_and_servers_killed_and_both_come_back() {
    let interposer = interposer();
    let mut connection = connect(&interposer);
    ask(&mut connection).unwrap();
    interposer.hang_up();
    assert!(has_ended(&ask(&mut connection).unwrap_err()));
    let mut connection = connect(&interposer);
    ask(&mut connection).unwrap();
    interposer.on(KmipOperation::DISCOVER_VERSIONS, 1, KmipThen::Kill);
    assert!(has_ended(&ask(&mut connection).unwrap_err()));
    assert!(connect(&interposer).read(&mut [0]).is_err_and(|error| has_ended(&error)), "it is down");
    interposer.server().restart().unwrap();
    let renamed = KmipThen::first(|server| drop(server.create_aes("images").unwrap()));
    interposer.on(KmipOperation::LOCATE, 1, renamed);
    let found = interposer.ask(&[json!({"do": "locate", "name": "images"})]).unwrap();
    assert_eq!(found, [json!(["1"])]);
}

#[test]
fn dropping_it_ends_it_whoever_waits() {
    let interposer = interposer();
    interposer.on(KmipOperation::DISCOVER_VERSIONS, 1, KmipThen::Never);
    let mut connection = connect(&interposer);
    connection.write_all(&discover()).unwrap();
    let address = interposer.address();
    drop(interposer);
    assert!(connection.read(&mut [0]).is_err_and(|error| has_ended(&error)));
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
