use holdfast_image::{
    Inspected, InspectedLayer, InspectedManifest, InspectedPacket, Platform, Recipient, inspect,
    inspect_root, printable,
};
use serde_json::{Value, json};

use crate::cli::{Common, RegistryOptions};
use crate::daemon;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{self, Table};
use crate::place::{self, Place};

pub(crate) fn run(common: &Common, source: &Place, registry: &RegistryOptions) -> Result<(), Failure> {
    let image = match source {
        Place::Layout(layout) => inspect(layout)?,
        Place::Registry(reference) => {
            let runtime = daemon::runtime()?;
            let interrupt = Interrupt::install(runtime.handle())?;
            let repository = place::repository(reference, &registry.read(runtime, interrupt)?)?;
            inspect_root(&repository.manifest(&reference.target)?.root(), &repository)?
        }
    };
    if common.json {
        output::print_json(&document(source, &image))?;
    } else {
        output::print(&text(source, &image))?;
    }
    Ok(())
}

fn text(source: &Place, image: &Inspected) -> String {
    let mut text = format!("{source} {}\n", image.digest);
    for manifest in &image.manifests {
        text.push_str(&format!("\n{} {}\n", platform(manifest), manifest.digest));
        let mut table = Table::new(&["LAYER", "DIGEST", "SIZE", "ENCRYPTED", "KEYS", "MEDIA TYPE"]);
        for (i, layer) in manifest.layers.iter().enumerate() {
            table.row(&[
                &(i + 1).to_string(),
                &layer.digest.short(),
                &output::size(layer.size),
                if layer.encrypted { "yes" } else { "no" },
                &keys(layer),
                &layer.media_type,
            ]);
        }
        text.push_str(&table.text());
        for (i, layer) in manifest.layers.iter().enumerate() {
            if let Some(trouble) = &layer.trouble {
                text.push_str(&format!("layer {}: {}\n", i + 1, printable(trouble)));
            }
        }
    }
    text
}

/// `jwe (RSA-OAEP; ECDH-ES+A256KW k1), pkcs7`
fn keys(layer: &InspectedLayer) -> String {
    let packets: Vec<String> = layer.packets.iter().map(packet_text).collect();
    packets.join(", ")
}

fn packet_text(packet: &InspectedPacket) -> String {
    if packet.recipients.is_empty() {
        return packet.packet.scheme.clone();
    }
    let mut inner: Vec<String> = packet.recipients.iter().map(recipient_text).collect();
    let more = packet.recipients_total - packet.recipients.len();
    if more > 0 {
        inner.push(format!("{more} more"));
    }
    inner.extend(packet.labels.iter().map(|(name, value)| format!("{name}={value}")));
    format!("{} ({})", packet.packet.scheme, inner.join("; "))
}

fn recipient_text(recipient: &Recipient) -> String {
    let algorithm = recipient.algorithm.as_deref().unwrap_or("no alg");
    match &recipient.kid {
        Some(kid) => format!("{algorithm} {kid}"),
        None => algorithm.to_owned(),
    }
}

fn platform(manifest: &InspectedManifest) -> String {
    let platform = manifest.platform.as_ref();
    platform.map_or_else(|| "no platform".to_owned(), Platform::to_string)
}

fn document(source: &Place, image: &Inspected) -> Value {
    let manifests = image.manifests.iter().map(|manifest| {
        json!({
            "digest": manifest.digest.to_string(),
            "platform": manifest.platform.as_ref().map(Platform::to_string),
            "layers": manifest.layers.iter().map(layer_json).collect::<Vec<_>>(),
        })
    });
    json!({
        "image": source.to_string(),
        "digest": image.digest.to_string(),
        "manifests": manifests.collect::<Vec<_>>(),
    })
}

fn layer_json(layer: &InspectedLayer) -> Value {
    let packets = layer.packets.iter().map(|packet| {
        let recipients = packet.recipients.iter();
        json!({
            "scheme": packet.packet.scheme,
            "size": packet.packet.data.len(),
            "recipients": recipients.map(|r| json!({"alg": r.algorithm, "kid": r.kid})).collect::<Vec<_>>(),
            "recipientsTotal": packet.recipients_total,
            "labels": packet.labels,
        })
    });
    json!({
        "digest": layer.digest.to_string(),
        "size": layer.size,
        "mediaType": layer.media_type,
        "encrypted": layer.encrypted,
        "cipher": layer.cipher,
        "packets": packets.collect::<Vec<_>>(),
        "trouble": layer.trouble,
    })
}
