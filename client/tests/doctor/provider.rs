//! ocicrypt's configuration, as the stock decoder reads it.

use std::fs;

use super::node::{DROP_IN, Node, PROVIDERS};

const FILE: &str = "/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf";

fn node(entry: &str) -> Node {
    let node = Node::stock();
    node.write(PROVIDERS, &format!(r#"{{"key-providers":{{"holdfast":{entry}}}}}"#));
    node
}

#[test]
fn a_file_that_is_missing_or_names_no_provider() {
    let stock = Node::stock();
    fs::remove_file(stock.path(PROVIDERS)).unwrap();
    stock.has_one("fault", "provider-file", FILE, "is not there");
    for (text, says) in [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ("{}", "has no key-providers"),
        (r#"{"key-providers":{}}"#, "names no provider"),
    ] {
        stock.write(PROVIDERS, text);
        stock.has_one("fault", "provider-file", FILE, says);
    }
    stock.replace(DROP_IN, &format!("\"OCICRYPT_KEYPROVIDER_CONFIG={FILE}\""), "");
    let told = stock.doctor(&[]);
    assert!(told.document.to_string().contains("started without OCICRYPT_KEYPROVIDER_CONFIG"), "{told:?}");
}

#[test]
fn the_first_example_of_ocicrypts_documentation() {
    node(r#"{"path":"/usr/bin/kp","args":[]}"#).has_one("fault", "provider", FILE, "directly under it");
    node("{}").has_one("fault", "provider", FILE, "neither grpc nor cmd");
}

#[test]
fn cmd_and_grpc_at_once() {
    let node = node(r#"{"cmd":{"path":"/usr/bin/kp"},"grpc":"unix:///run/x"}"#);
    node.program("usr/bin/kp", "");
    node.has_one("warning", "provider", FILE, "cmd is used");
}

#[test]
fn a_command_that_is_not_there_or_cannot_be_started() {
    let node = node(r#"{"cmd":{"path":"kp"}}"#);
    node.has_one("fault", "provider", FILE, "no program \"kp\"");
    node.write("usr/bin/kp", "");
    node.has_one("fault", "provider", FILE, "cannot be started");
    node.program("usr/bin/kp", "");
    node.is_healthy();
}

#[test]
fn addresses_that_do_not_work() {
    for address in [
        "unix://run/x",
        "/run/x",
        "@x",
        "http://127.0.0.1:1",
        "tcp://127.0.0.1:1",
        "ipv4:127.0.0.1:1",
        "vsock:2:1",
        "localhost",
        "passthrough:///unix:///run/x",
    ] {
        node(&format!(r#"{{"grpc":"{address}"}}"#)).has_one(
            "fault",
            "provider",
            FILE,
            &format!("{address:?} does not work"),
        );
    }
    for address in ["unix:/run/x", "unix:///run/x", "unix-abstract:x", "127.0.0.1:1", "localhost:1", ":1"] {
        node(&format!(r#"{{"grpc":"{address}"}}"#)).is_healthy();
    }
    node(r#"{"grpc":"kp.example:50051"}"#).has_one("warning", "provider", FILE, "in plaintext");
}

#[test]
fn tls_that_the_program_reads_past() {
    let node = node(r#"{"grpc":"kp.example:50051","grpc-tls":{"root-ca-file":"/ca.pem"}}"#);
    node.has_one("fault", "grpc-tls", FILE, "speaks plaintext");
    node.program("usr/bin/ctd-decoder", "keyprovider.KeyProviderService json:\"grpc-tls\"");
    node.is_healthy();
}

#[test]
fn a_proxy_in_the_way() {
    let node = node(r#"{"grpc":"kp.example:50051","grpc-tls":{}}"#);
    node.program("usr/bin/ctd-decoder", "keyprovider.KeyProviderService grpc-tls");
    node.write("usr/lib/systemd/system/containerd.service", "[Service]\nExecStart=/usr/bin/containerd\n");
    let drop_in = "etc/systemd/system/containerd.service.d/proxy.conf";
    node.write(drop_in, "[Service]\nEnvironment=\"HTTPS_PROXY=http://u:secret@proxy:3128\"\n");
    node.has_one("fault", "proxy", FILE, "through the proxy http://proxy:3128");
    assert!(!node.printed().out.contains("secret"));
    node.append(drop_in, "Environment=NO_PROXY=localhost,kp.example\n");
    node.is_healthy();
}
