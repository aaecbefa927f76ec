//! TCP: mutual TLS, whose caller is the certificate's names, and plaintext on loopback.

use std::path::Path;

use holdfast_e2e::house::House;
use holdfast_e2e::{eventually, must_fail, rpc};
use hsm_sim::{Authority, Credentials, KeyKind, Leaf};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A house with a TLS listener on a free port, its server's authority and the clients'.
fn tls_house(rule: &str) -> (House, Authority, Authority, u16) {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::EcP256).unwrap();
    house.configure("images", "images", "");
    house.allow(&format!("{rule}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"images\"]"));
    let servers = authority(&house, "servers");
    let clients = authority(&house, "clients");
    let server = servers.issue("server", &Leaf::peer("DNS:localhost,IP:127.0.0.1")).unwrap();
    let port = free_port();
    let section = format!(
        "[listen.tcp]\naddress = \"127.0.0.1:{port}\"\ncert = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
        server.certificate.display(),
        server.key.display(),
        clients.certificate().display()
    );
    (house.section(&section), servers, clients, port)
}

fn authority(house: &House, name: &str) -> Authority {
    Authority::new(house.dir.path(), name).unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn tls(port: u16, servers: &Authority, client: Option<&Credentials>) -> Result<Channel, String> {
    let read = |path: &Path| std::fs::read(path).unwrap();
    let mut config = ClientTlsConfig::new()
        .domain_name("localhost")
        .ca_certificate(Certificate::from_pem(read(servers.certificate())));
    if let Some(client) = client {
        config = config.identity(Identity::from_pem(read(&client.certificate), read(&client.key)));
    }
    let endpoint =
        Endpoint::try_from(format!("https://127.0.0.1:{port}")).unwrap().tls_config(config).unwrap();
    endpoint.connect().await.map_err(|error| format!("{error:?}"))
}

async fn wrap(channel: Channel) -> Result<Vec<u8>, tonic::Status> {
    rpc::wrap_on(channel, &["images"], rpc::optsdata().raw().expose()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_the_names_in_its_certificate() {
    let (house, servers, clients, port) = tls_house("tls = \"spiffe://holdfast/node-1\"");
    let node =
        clients.issue("node-1", &Leaf::peer("DNS:node-1.example,URI:spiffe://holdfast/node-1")).unwrap();
    let other = clients.issue("node-2", &Leaf::peer("DNS:node-2.example")).unwrap();
    let _daemon = house.start();
    let packet = wrap(tls(port, &servers, Some(&node)).await.unwrap()).await.unwrap();
    let answer = rpc::unwrap_on(tls(port, &servers, Some(&node)).await.unwrap(), &packet).await.unwrap();
    assert_eq!(answer, rpc::optsdata().raw().expose());
    let status = wrap(tls(port, &servers, Some(&other)).await.unwrap()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let records = house.audit();
    assert_eq!(records[0]["tls"], serde_json::json!(["node-1.example", "spiffe://holdfast/node-1"]));
    assert!(records[0]["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    eventually("a record of the refusal", async || {
        house.audit().last().is_some_and(|record| record["tls"][0] == "node-2.example")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_certificate_of_our_authority_is_not_let_in() {
    let (house, servers, clients, port) = tls_house("tls = \"node-1.example\"");
    let foreign = authority(&house, "foreign").issue("node-1", &Leaf::peer("DNS:node-1.example")).unwrap();
    let nameless = clients.issue("node-1", &Leaf::plain()).unwrap();
    let daemon = house.start();
    for client in [None, Some(&foreign), Some(&nameless)] {
        // TLS 1.3 tells a client of its bad certificate with the first answer, not in the handshake.
        if let Ok(channel) = tls(port, &servers, client).await {
            assert!(wrap(channel).await.is_err());
        }
    }
    assert!(house.audit().is_empty());
    eventually("three refusals", async || daemon.log().matches("TLS handshake failed").count() >= 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_certificates_are_used_for_the_next_connection() {
    let (house, servers, clients, port) = tls_house("tls = \"node-1.example\"");
    let node = clients.issue("node-1", &Leaf::peer("DNS:node-1.example")).unwrap();
    let _daemon = house.start();
    let kept = tls(port, &servers, Some(&node)).await.unwrap();
    wrap(kept.clone()).await.unwrap();
    let renewed = authority(&house, "renewed");
    let fresh = renewed.issue("server", &Leaf::peer("DNS:localhost")).unwrap();
    // A half-written pair must not take the service down.
    std::fs::copy(&fresh.certificate, servers.dir().join("server.pem")).unwrap();
    assert!(tls(port, &servers, Some(&node)).await.is_ok(), "the old pair stays in use");
    std::fs::copy(&fresh.key, servers.dir().join("server.key")).unwrap();
    assert!(tls(port, &servers, Some(&node)).await.is_err(), "the old authority");
    wrap(tls(port, &renewed, Some(&node)).await.unwrap()).await.unwrap();
    wrap(kept).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_on_loopback_matches_only_a_rule_that_names_it() {
    for (rule, let_in) in [("loopback = true", true), ("user = 0", false)] {
        let mut house = House::new();
        house.hsm.generate(&house.token, "images", &[1], KeyKind::EcP256).unwrap();
        house.configure("images", "images", "");
        house.allow(&format!("{rule}\nto = [\"wrap\"]\nkeys = [\"images\"]"));
        let port = free_port();
        let house =
            house.section(&format!("[listen.tcp]\naddress = \"127.0.0.1:{port}\"\nplaintext = true\n"));
        let _daemon = house.start();
        let endpoint = Endpoint::try_from(format!("http://127.0.0.1:{port}")).unwrap();
        let answer = wrap(endpoint.connect().await.unwrap()).await;
        assert_eq!(answer.is_ok(), let_in, "{rule}: {answer:?}");
        if let_in {
            assert_eq!(house.audit()[0]["loopback"], true);
        }
    }
}

#[test]
fn an_address_that_is_taken_and_tls_files_that_are_not_there_are_told() {
    let (house, servers, _clients, port) = tls_house("tls = \"x\"");
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let said = must_fail(&mut house.holdfastd());
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{said}");
    drop(taken);
    std::fs::remove_file(servers.dir().join("server.key")).unwrap();
    let said = must_fail(&mut house.holdfastd());
    assert!(said.contains("server.key"), "{said}");
}
