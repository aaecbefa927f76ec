//! podman, skopeo and CRI-O.

use super::node::Node;

#[test]
fn programs_without_key_providers() {
    for name in ["podman", "buildah", "skopeo"] {
        let node = Node::ours();
        node.program(&format!("usr/bin/{name}"), "ocicrypt 1.0");
        node.has_one("warning", name, &format!("/usr/bin/{name}"), "Provided protocol not recognized");
        node.program(&format!("usr/bin/{name}"), "keyprovider.KeyProviderService");
        node.is_healthy();
    }
}

#[test]
fn the_variable_in_containers_conf() {
    let node = Node::ours();
    node.program("usr/bin/podman", "keyprovider.KeyProviderService");
    let conf = "etc/containers/containers.conf.d/x.conf";
    node.write(conf, "[engine]\n#env = [\"OCICRYPT_KEYPROVIDER_CONFIG=/x\"]\n");
    node.is_healthy();
    node.append(conf, "env = [\"OCICRYPT_KEYPROVIDER_CONFIG=/x\"]\n");
    node.has_one("warning", "containers-conf", &format!("/{conf}"), "too late");
}

#[test]
fn crio_needs_the_variable_in_its_unit() {
    let node = Node::ours();
    node.program("usr/bin/crio", "keyprovider.KeyProviderService");
    node.write("usr/lib/systemd/system/crio.service", "[Service]\nExecStart=/usr/bin/crio\n");
    node.has_one("warning", "crio", "/usr/bin/crio", "it has no provider");
    node.setup(&["crio", "--write"]);
    node.is_healthy();
    node.write("etc/crio/ocicrypt_keyprovider.conf", "{}");
    node.has_one("fault", "provider-file", "/etc/crio/ocicrypt_keyprovider.conf", "crio has no provider");
}
