//! An image: whether what decodes layers on this node takes its layers, and can open them.

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_image::{InspectedLayer, Reference, inspect};

use super::layers::{Decoders, Kind};
use super::{Node, Report};

const CHECK: &str = "image";
const PROVIDER: &str = "provider.";

pub(super) fn check(reference: &Reference, node: &Node, decoders: &Decoders, report: &mut Report) {
    let name = reference.to_string();
    let image = match inspect(reference) {
        Ok(image) => image,
        Err(error) => return report.unknown(CHECK, error.to_string(), name, "name another with --image"),
    };
    let all = image.manifests.iter().flat_map(|manifest| &manifest.layers);
    let encrypted: Vec<&InspectedLayer> = all.filter(|layer| layer.encrypted).collect();
    if encrypted.is_empty() {
        report.ok(CHECK, "has no encrypted layers", name);
        return;
    }
    // The same words of many layers are said once.
    let mut faults = BTreeSet::new();
    for layer in &encrypted {
        if let Some(fault) = look(layer, node, decoders) {
            faults.insert(fault);
        }
    }
    if faults.is_empty() {
        report.ok(CHECK, format!("{} encrypted layers, which this node can ask for", encrypted.len()), &name);
    }
    for (what, remedy) in faults {
        report.fault(CHECK, what, &name, &remedy);
    }
}

fn look(layer: &InspectedLayer, node: &Node, decoders: &Decoders) -> Option<(String, String)> {
    let fault = |what: String, remedy: &str| Some((what, remedy.to_owned()));
    if let Some(trouble) = &layer.trouble {
        return fault(format!("a layer's keys cannot be read: {trouble}"), "encrypt it anew");
    }
    let schemes: Vec<&str> = layer.packets.iter().map(|packet| packet.packet.scheme.as_str()).collect();
    let kind = match decoders.of.get(&layer.media_type) {
        // Another runtime's business.
        None if node.program.is_none() && node.config.files.is_empty() => Kind::Ours,
        None => {
            return fault(
                format!("no stream processor takes its layers of {}", layer.media_type),
                "holdfast setup containerd --write",
            );
        }
        Some(kind) => *kind,
    };
    let names: Vec<&str> = schemes.iter().filter_map(|scheme| scheme.strip_prefix(PROVIDER)).collect();
    match kind {
        // The daemon says what it opens, when it is asked.
        Kind::Ours if schemes.is_empty() => fault("a layer names no keys".to_owned(), "encrypt it anew"),
        Kind::Stock if names.is_empty() && !decoders.keys => fault(
            format!(
                "its keys are wrapped as {} alone: ctd-decoder asks no provider for them",
                schemes.join(", ")
            ),
            "holdfast setup containerd --write, whose decoder does; or encrypt it to provider:holdfast:ALIAS",
        ),
        Kind::Stock if !decoders.keys && !names.iter().any(|name| decoders.providers.contains(*name)) => {
            let known: Vec<&str> = decoders.providers.iter().map(String::as_str).collect();
            fault(
                format!(
                    "it is wrapped for the provider {}, and ctd-decoder's configuration has {}",
                    names.join(", "),
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                ),
                &format!(
                    "holdfast setup ocicrypt --file {} --name {}",
                    decoders.file.as_deref().unwrap_or(Path::new("FILE")).display(),
                    names.first().unwrap_or(&"NAME")
                ),
            )
        }
        _ => None,
    }
}
