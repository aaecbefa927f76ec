//! Stream processors and the programs that they start.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::node::{DROP_IN, KEYS, MAIN, Node};

#[test]
fn containerds_own_defaults_and_no_zstd() {
    let node = Node::stock().with_containerd_1();
    node.write(MAIN, "version = 2\n");
    node.has_one("warning", "layers-zstd", "/etc/containerd/config.toml", "tar+zstd+encrypted");
}

#[test]
fn the_stock_decoder_under_the_transfer_service() {
    let node = Node::stock();
    node.replace(DROP_IN, "use_local_image_pull = true", "use_local_image_pull = false");
    node.has_one(
        "fault",
        "transfer-pull",
        "/etc/containerd/config.toml",
        "read configFd: bad file descriptor",
    );
    // Another option that containerd does not leave to the transfer service.
    node.append(MAIN, "[plugins.'io.containerd.cri.v1.images']\ndiscard_unpacked_layers = true\n");
    node.is_healthy();
    // Our decoder does not need it.
    let ours = Node::ours();
    assert!(!fs::read_to_string(ours.path(DROP_IN)).unwrap().contains("use_local_image_pull"));
    ours.is_healthy();
}

#[test]
fn zstd_for_the_stock_decoder_under_an_id_that_gets_no_payload() {
    let node = Node::stock();
    node.replace(DROP_IN, ", \"application/vnd.oci.image.layer.v1.tar+zstd+encrypted\"", "");
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    node.append(
        DROP_IN,
        &format!(
            "[stream_processors.'io.containerd.ocicrypt.decoder.v1.tar.zstd']\naccepts = ['{zstd}+encrypted']\n\
             returns = '{zstd}'\npath = 'ctd-decoder'\nargs = ['--decryption-keys-path', '/{KEYS}']\n\
             env = ['OCICRYPT_KEYPROVIDER_CONFIG=/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf']\n"
        ),
    );
    node.has_one("fault", "payload", "/etc/containerd/conf.d/holdfast.toml", "tar.zstd is no ID");
}

#[test]
fn two_processors_for_the_same_layers() {
    let node = Node::ours();
    node.append(
        MAIN,
        "[stream_processors.old]\naccepts = ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted']\n\
         path = '/usr/bin/holdfast'\nargs = ['decode', '--socket', '/run/holdfast/keyprovider.sock']\n",
    );
    node.has_one("warning", "layers-gzip", "/etc/containerd/config.toml", "which one does is chance");
    node.replace(MAIN, "'--socket', '/run/holdfast/keyprovider.sock'", "'--verbose'");
    node.has_one("fault", "layers-gzip", "/etc/containerd/config.toml", "which one does is chance");
}

#[test]
fn a_processor_beside_containerds_own_in_place_of_it() {
    let node = Node::ours();
    let name = "io.containerd.ocicrypt.decoder.v1.tar.gzip";
    node.replace(DROP_IN, name, "holdfast.tar.gzip");
    let told = node.doctor(&[]);
    let wrong = told.wrong();
    let two = wrong.iter().find(|one| one["check"] == "layers-gzip").unwrap();
    assert_eq!(two["state"], "fault", "{two}");
    assert!(
        two["do"].as_str().unwrap().starts_with(&format!("rename holdfast.tar.gzip to {name}, ")),
        "{two}"
    );
}

#[test]
fn a_decoder_that_is_not_there_or_cannot_be_started() {
    for (node, program) in [(Node::ours(), "usr/bin/holdfast"), (Node::stock(), "usr/bin/ctd-decoder")] {
        fs::set_permissions(node.path(program), Permissions::from_mode(0o644)).unwrap();
        node.has_one("fault", "decoder", &format!("/{program}"), "no program that can be started");
        fs::remove_file(node.path(program)).unwrap();
        node.has_one("fault", "decoder", "/etc/containerd/conf.d/holdfast.toml", "not in containerd's PATH");
        // Where containerd looks first, and where its unit tells it to look.
        if program.ends_with("ctd-decoder") {
            node.program("opt/containerd/bin/ctd-decoder", "keyprovider.KeyProviderService");
            node.is_healthy();
            fs::remove_file(node.path("opt/containerd/bin/ctd-decoder")).unwrap();
            node.program("srv/ctd-decoder", "keyprovider.KeyProviderService");
            node.write(
                "etc/systemd/system/containerd.service.d/x.conf",
                "[Service]\nEnvironment=PATH=/srv\n",
            );
            node.write(
                "usr/lib/systemd/system/containerd.service",
                "[Service]\nExecStart=/usr/bin/containerd\n",
            );
            node.is_healthy();
        }
    }
}

#[test]
fn a_decoder_without_key_providers() {
    let node = Node::stock();
    node.program("usr/bin/ctd-decoder", "an old one");
    node.has_one("fault", "decoder", "/usr/bin/ctd-decoder", "knows no key providers");
}

#[test]
fn holdfast_without_its_verb_and_with_another_socket() {
    let node = Node::ours();
    node.replace(DROP_IN, "\"decode\", ", "");
    let told = node.doctor(&[]);
    assert!(told.troubles().contains(&("fault", "decoder")), "{told:?}");
    let node = Node::ours();
    node.replace(DROP_IN, "/run/holdfast/keyprovider.sock", "/run/other.sock");
    node.has_one("warning", "decoder", "/etc/containerd/conf.d/holdfast.toml", "asks at /run/other.sock");
}

#[test]
fn a_directory_of_keys_that_is_missing_or_holds_what_is_no_key() {
    let node = Node::stock();
    fs::remove_dir(node.path(KEYS)).unwrap();
    node.has_one("fault", "keys-directory", "/etc/containerd/ocicrypt/keys", "is no directory");

    let node = Node::stock();
    node.write("etc/containerd/ocicrypt/keys/README", "put keys here\n");
    node.has_one("fault", "keys-directory", "/etc/containerd/ocicrypt/keys/README", "is no private key");
    // A pipe is not waited for.
    let readme = node.path("etc/containerd/ocicrypt/keys/README");
    fs::remove_file(&readme).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&readme).status().unwrap().success());
    node.has_one("fault", "keys-directory", "/etc/containerd/ocicrypt/keys/README", "is no private key");

    let node = Node::stock();
    symlink("..data/key.pem", node.path(KEYS).join("key.pem")).unwrap();
    node.has_one("fault", "keys-directory", "/etc/containerd/ocicrypt/keys/key.pem", "is a link");

    let node = Node::stock();
    node.write("etc/containerd/ocicrypt/keys/ec.pem", "-----BEGIN EC PRIVATE KEY-----\n");
    node.has_one("warning", "keys-directory", "/etc/containerd/ocicrypt/keys/ec.pem", "in silence");

    let node = Node::stock();
    node.write("etc/containerd/ocicrypt/keys/key.pem", "-----BEGIN PRIVATE KEY-----\n");
    node.has_one("warning", "keys-directory", "/etc/containerd/ocicrypt/keys", "every provider");
}
