//! containerd's configuration.

use super::node::{DROP_IN, MAIN, Node};

#[test]
fn a_node_that_is_set_up_is_well() {
    Node::ours().is_healthy();
    Node::stock().is_healthy();
    Node::ours().with_containerd_1().has_one(
        "fault",
        "containerd-config",
        "/etc/containerd/config.toml",
        "version 3",
    );
    // Where there is no containerd, nothing is wrong with it.
    let none = Node::bare();
    std::fs::remove_file(none.path("usr/bin/containerd")).unwrap();
    std::fs::remove_file(none.path(MAIN)).unwrap();
    none.is_healthy();
}

#[test]
fn a_table_says_what_is_where_and_what_to_do() {
    let node = Node::ours();
    node.append(MAIN, "[plugins.'io.containerd.ocicrypt.v1']\nkey_model = 'node'\n");
    let ran = node.printed();
    assert_eq!((ran.code, ran.err.as_str()), (Some(3), ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines.contains(&"ok       containerd         2.1 or later (/usr/bin/containerd)"), "{}", ran.out);
    let at = lines.iter().position(|line| line.starts_with("warning  plugin-key ")).unwrap();
    assert!(lines[at].ends_with("reads past it (/etc/containerd/config.toml)"), "{}", ran.out);
    assert!(lines[at + 1].trim_start().starts_with("do: take it out; "), "{}", ran.out);
    assert_eq!(*lines.last().unwrap(), "0 faults, 1 warning, 0 checks could not be made");
}

#[test]
fn plugins_and_keys_that_there_are_not() {
    for (text, says) in [
        ("[plugins.'io.containerd.ocicrypt.v1']\nkey_model = 'node'\n", "no such plugin"),
        ("[plugins.'io.containerd.imgcrypt.v1']\n", "no such plugin"),
        ("[plugins.'io.containerd.grpc.v1.cri'.image_encryption]\nkey_model = 'node'\n", "image_encryption"),
        ("[plugins.'io.containerd.grpc.v1.cri']\nuse_local_image_pull = true\n", "does nothing"),
    ] {
        let node = Node::ours();
        node.append(MAIN, text);
        node.has_one("warning", "plugin-key", "/etc/containerd/config.toml", says);
    }
}

#[test]
fn a_key_model_that_decrypts_nothing() {
    for plugin in ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"] {
        let node = Node::ours();
        node.append(MAIN, &format!("[plugins.'{plugin}'.image_decryption]\nkey_model = 'pod'\n"));
        node.has_one("fault", "key-model", "/etc/containerd/config.toml", "\"pod\"");
        node.replace(MAIN, "'pod'", "'node'");
        node.is_healthy();
    }
}

#[test]
fn a_file_that_is_no_toml_or_has_no_version() {
    let node = Node::ours();
    node.append(MAIN, "[x\n");
    let told = node.doctor(&[]);
    let what = told.wrong()[0]["what"].as_str().unwrap();
    assert!(what.contains("line 5: "), "{what}");
    assert_eq!((told.code, told.wrong()[0]["check"].as_str()), (4, Some("containerd-config")));

    let node = Node::ours();
    node.write(MAIN, "imports = ['conf.d/*.toml']\n");
    let told = node.doctor(&[]);
    assert!(told.troubles().contains(&("warning", "containerd-config")), "{told:?}");
    assert!(told.document.to_string().contains("read as version 1"));
}

#[test]
fn a_version_that_containerd_1_does_not_know() {
    let node = Node::ours().with_containerd_1();
    node.has_one("fault", "containerd-config", "/etc/containerd/config.toml", "version 3");
}

#[test]
fn a_version_that_no_containerd_knows() {
    let node = Node::ours();
    node.replace(MAIN, "version = 3", "version = 9");
    node.has_one("warning", "containerd-config", "/etc/containerd/config.toml", "version 9");
    node.replace(MAIN, "version = 9", "version = '3'");
    let told = node.doctor(&[]);
    let wrong = &told.wrong()[0];
    assert_eq!((&wrong["state"], &wrong["check"]), (&"fault".into(), &"containerd-config".into()));
    assert!(wrong["what"].as_str().unwrap().contains("version is no number"), "{wrong}");
}

#[test]
fn a_configuration_that_is_no_file_is_not_a_matter_of_being_root() {
    let node = Node::ours();
    std::fs::remove_file(node.path(MAIN)).unwrap();
    std::fs::create_dir(node.path(MAIN)).unwrap();
    let told = node.doctor(&[]);
    let wrong = &told.wrong()[0];
    assert_eq!((&wrong["state"], &wrong["check"]), (&"unknown".into(), &"containerd-config".into()));
    assert_eq!(wrong["do"], "see what is there in its place");
}

#[test]
fn an_import_that_is_not_there() {
    let node = Node::ours();
    node.write(MAIN, "version = 3\nimports = ['conf.d/*.toml', '/etc/gone.toml']\n");
    node.has_one(
        "warning",
        "containerd-config",
        "/etc/containerd/config.toml",
        "imports after it are not read",
    );
    let node = node.with_containerd_1();
    node.write(MAIN, "version = 2\nimports = ['conf.d/*.toml', '/etc/gone.toml']\n");
    node.replace(DROP_IN, "version = 3", "version = 2");
    node.has_one("fault", "containerd-config", "/etc/containerd/config.toml", "1.x does not start");
}

#[test]
fn a_drop_in_of_a_newer_version_than_the_main_file() {
    let node = Node::ours();
    node.replace(MAIN, "version = 3", "version = 2");
    node.has_one(
        "warning",
        "containerd-config",
        "/etc/containerd/conf.d/holdfast.toml",
        "newer containerds refuse",
    );
}

#[test]
fn a_drop_in_that_takes_the_place_of_the_main_files_plugin() {
    let node = Node::ours().with_containerd_1();
    let cri = "[plugins.'io.containerd.grpc.v1.cri']\n";
    node.write(MAIN, &format!("version = 2\nimports = ['conf.d/*.toml']\n{cri}sandbox_image = 'mine'\n"));
    node.replace(DROP_IN, "version = 3", "version = 2");
    node.is_healthy();
    node.append(DROP_IN, &format!("{cri}enable_selinux = true\n"));
    node.has_one("warning", "plugin-replaced", "/etc/containerd/conf.d/holdfast.toml", "the whole table");
    // From 2.0 on, both are there.
    node.program("usr/bin/containerd", "github.com/containerd/containerd/v2");
    node.is_healthy();
}

#[test]
fn cri_switched_off_as_docker_ships_it() {
    let node = Node::ours();
    node.replace(MAIN, "version = 3\n", "version = 3\ndisabled_plugins = ['cri']\n");
    node.has_one("warning", "cri-disabled", "/etc/containerd/config.toml", "no Kubernetes");
}

#[test]
fn the_configuration_is_the_one_that_the_unit_names() {
    let node = Node::ours();
    node.write("etc/other.toml", "version = 3\n[plugins.'io.containerd.imgcrypt.v1']\n");
    let unit = "[Service]\nExecStart=/usr/bin/containerd --config /etc/other.toml\n";
    node.write("usr/lib/systemd/system/containerd.service", unit);
    let told = node.doctor(&[]);
    assert!(told.troubles().contains(&("warning", "plugin-key")), "{told:?}");
    let told = node.doctor(&["--containerd-config", "/etc/containerd/config.toml"]);
    assert_eq!((told.code, told.troubles()), (0, vec![]));
}
