//! Settings that containerd reads past in silence: of tutorials, of other versions, under other names.

use std::path::Path;

use toml::Value;

use super::{Node, Report};

/// The plugins that CRI's settings are in: of configurations before version 3, and of images since.
const CRI: &str = "io.containerd.grpc.v1.cri";
const IMAGES: &str = "io.containerd.cri.v1.images";

pub(super) fn check(node: &Node, report: &mut Report) {
    unknown_plugins(node, report);
    misplaced(node, report);
    key_model(node, report);
    disabled(node, report);
}

/// Whether containerd pulls in its own way, which hands the stock decoder its payload.
pub(super) fn pulls_locally(node: &Node) -> bool {
    let is = |name| node.config.plugin(IMAGES, &[name]).and_then(Value::as_bool) == Some(true);
    // The transfer service does not do the second one, and so is not asked.
    is("use_local_image_pull") || is("discard_unpacked_layers") || !node.features.transfers
}

fn unknown_plugins(node: &Node, report: &mut Report) {
    for file in &node.config.files {
        let plugins = file.table.get("plugins").and_then(Value::as_table);
        for plugin in plugins.into_iter().flat_map(|plugins| plugins.keys()) {
            if plugin.contains("ocicrypt") || plugin.contains("imgcrypt") {
                report.warning(
                    "plugin-key",
                    format!("[plugins.\"{plugin}\"]: containerd has no such plugin and reads past it"),
                    &file.path,
                    "take it out; layers are decrypted by [stream_processors]: holdfast setup containerd --write",
                );
            }
        }
    }
}

fn misplaced(node: &Node, report: &mut Report) {
    for plugin in [CRI, IMAGES] {
        if let Some(file) = node.config.file_with(plugin, &["image_encryption"]) {
            report.warning(
                "plugin-key",
                format!("image_encryption in [plugins.\"{plugin}\"]: there is no such table"),
                file,
                "call it image_decryption",
            );
        }
    }
    if let Some(file) = node.config.file_with(CRI, &["use_local_image_pull"]) {
        report.warning(
            "plugin-key",
            format!("use_local_image_pull in [plugins.\"{CRI}\"] does nothing"),
            file,
            &format!("put it into [plugins.\"{IMAGES}\"], whatever the file's version is"),
        );
    }
}

fn key_model(node: &Node, report: &mut Report) {
    for plugin in [CRI, IMAGES] {
        let keys = ["image_decryption", "key_model"];
        let Some(model) = node.config.plugin(plugin, &keys).and_then(Value::as_str) else { continue };
        if model != "node" {
            report.fault(
                "key-model",
                format!("key_model is {model:?}: layers are not decrypted"),
                node.config.file_with(plugin, &keys).unwrap_or(&node.main),
                "set it to \"node\", which is the default and all there is",
            );
        }
    }
}

fn disabled(node: &Node, report: &mut Report) {
    for file in &node.config.files {
        let list = file.table.get("disabled_plugins").and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(Value::as_str);
        if names.into_iter().any(|name| ["cri", CRI, IMAGES].contains(&name)) {
            report.warning(
                "cri-disabled",
                "disabled_plugins has CRI, as Docker's packages ship it: no Kubernetes on this containerd",
                Path::new(&file.path),
                "take it out of disabled_plugins where a kubelet shall use it",
            );
        }
    }
}
