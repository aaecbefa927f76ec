//! Servers that go away and come back, and several addresses of one cluster.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use holdfast_custody::KeyKind;
use holdfast_kmip::{Address, Token};
use holdfast_wire::Secret;
use hsm_sim::{KmipInterposer, KmipOperation, KmipThen};
use rustix::net::{AddressFamily, SocketType};

use super::support::{PATIENCE, Scene, address, files, named};
use super::unavailable;

#[test]
fn a_server_that_was_killed_and_is_back_serves_again() {
    let mut scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let mut token = scene.connect();
    let secret = Secret::new(vec![7; 32]);
    let sealed = token.seal(&named("images"), &secret).unwrap();
    scene.server.kill().unwrap();
    unavailable(token.open(&named("images"), &sealed));
    let why = unavailable(scene.token.connect());
    assert!(why.contains("connecting") && why.contains("refused"), "{why}");
    scene.server.restart().unwrap();
    assert!(unavailable(token.open(&named("images"), &sealed)).contains("has failed before"));
    assert_eq!(scene.connect().open(&named("images"), &sealed).unwrap().expose(), secret.expose());
}

#[test]
fn a_server_that_hangs_costs_its_patience_and_serves_again_when_it_goes_on() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let impatient = Token::new(
        vec![address(&scene.server)],
        files(&scene.server, scene.server.client()),
        Duration::from_millis(1500),
    );
    let mut token = impatient.connect().unwrap();
    token.describe(&named("images")).unwrap();
    scene.server.hang().unwrap();
    assert!(unavailable(token.probe()).contains("did not answer in time"));
    assert!(unavailable(impatient.connect()).contains("TLS handshake: the server did not answer in time"));
    scene.server.go_on().unwrap();
    scene.connect().describe(&named("images")).unwrap();
}

#[test]
fn the_next_address_is_taken_when_the_first_refuses() {
    let scene = Scene::new();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let addresses = vec![Address::from_socket(free), address(&scene.server)];
    let mut token = scene.other(addresses, scene.server.client()).connect().unwrap();
    assert!(token.probe().unwrap().token.ends_with(&scene.server.address()));
}

#[test]
fn the_next_address_is_taken_when_the_first_is_a_black_hole() {
    let scene = Scene::new();
    let (hole, _full) = black_hole();
    let addresses = vec![Address::from_socket(hole), address(&scene.server)];
    let files = files(&scene.server, scene.server.client());
    let token = Token::new(addresses, files, Duration::from_secs(6));
    for _ in 0..3 {
        token.connect().unwrap().probe().unwrap();
    }
}

#[test]
fn an_address_that_answers_nothing_is_asked_once() {
    let (wire, _) = Scene::new().interposed(PATIENCE);
    let token = both(&wire);
    wire.on(KmipOperation::DISCOVER_VERSIONS, 100, KmipThen::Raw(Vec::new()));
    for _ in 0..5 {
        token.connect().unwrap().probe().unwrap();
    }
    assert_eq!(wire.calls(KmipOperation::DISCOVER_VERSIONS), 1);
}

#[test]
fn the_first_of_two_good_addresses_is_asked_alone() {
    let (wire, _) = Scene::new().interposed(PATIENCE);
    let token = both(&wire);
    for _ in 0..3 {
        token.connect().unwrap().probe().unwrap();
    }
    assert_eq!(wire.calls(KmipOperation::DISCOVER_VERSIONS), 3);
}

#[test]
fn a_server_that_dies_in_the_midst_of_a_request_is_replaced_by_the_next_address() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let sealed = scene.connect().seal(&named("images"), &Secret::new(vec![7; 32])).unwrap();
    let (wire, _) = scene.interposed(PATIENCE);
    let token = both(&wire);
    let mut first = token.connect().unwrap();
    first.describe(&named("images")).unwrap();
    wire.on(KmipOperation::DECRYPT, 1, KmipThen::cut_off(0));
    unavailable(first.open(&named("images"), &sealed));
    wire.on(KmipOperation::DISCOVER_VERSIONS, 100, KmipThen::Raw(Vec::new()));
    token.connect().unwrap().open(&named("images"), &sealed).unwrap();
}

#[test]
fn a_connection_that_was_closed_while_idle_is_told_at_its_next_use() {
    let (wire, token) = Scene::new().interposed(PATIENCE);
    let mut kept = token.connect().unwrap();
    kept.probe().unwrap();
    wire.hang_up();
    unavailable(kept.probe());
    token.connect().unwrap().probe().unwrap();
}

/// One server by two ways, of which the first can be spoiled.
fn both(wire: &KmipInterposer) -> Token {
    let server = wire.server();
    let addresses = vec![wire.address().parse().unwrap(), address(&server)];
    Token::new(addresses, files(&server, server.client()), PATIENCE)
}

trait FromSocket {
    fn from_socket(address: SocketAddr) -> Address;
}

impl FromSocket for Address {
    fn from_socket(address: SocketAddr) -> Address {
        address.to_string().parse().unwrap()
    }
}

/// A listener that takes nobody in and whose queue is full: the kernel drops every SYN.
fn black_hole() -> (SocketAddr, impl Sized) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(waiting) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queue.push(waiting);
        assert!(queue.len() < 100, "its queue is never full");
    }
    (address, (listener, queue))
}
