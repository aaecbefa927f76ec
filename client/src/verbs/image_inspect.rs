use std::collections::BTreeMap;

use holdfast_image::{
    Inspected, InspectedLayer, InspectedManifest, InspectedPacket, Platform, Recipient, inspect, printable,
};
use holdfast_wire::grpc::v1::Key;
use serde_json::{Value, json};

use super::key_list;
use crate::cli::{Common, ImageInspect};
use crate::daemon;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::known_keys::KnownKeys;
use crate::output::{self, Table};
use crate::place::{Place, Registries};

pub(crate) fn run(common: &Common, wanted: &ImageInspect) -> Result<(), Failure> {
    let runtime = daemon::runtime()?;
    let interrupt = Interrupt::install(runtime.handle())?;
    let source = &wanted.source;
    let options = wanted.registry.read(runtime.clone(), interrupt.clone())?;
    // No layer is read, so nothing is kept in this directory.
    let image = inspect(&*Registries::new(options).source(source, &std::env::temp_dir())?)?;
    let encrypted = image.manifests.iter().flat_map(|m| &m.layers).any(|layer| layer.encrypted);
    let mut keys =
        encrypted.then(|| KnownKeys::read(common, runtime, interrupt, wanted.ask, false)).transpose()?;
    // For each layer, those of our keys that open it.
    let mut opening = Vec::new();
    for layer in image.manifests.iter().flat_map(|manifest| &manifest.layers) {
        opening.push(keys.as_mut().map(|keys| openers(layer, keys)).transpose()?.unwrap_or_default());
    }
    let shown = Shown { image: &image, opening: &opening };
    if common.json {
        output::print_json(&document(source, &shown))?;
    } else {
        output::print(&text(source, &shown))?;
    }
    Ok(())
}

/// An image, and who of ours opens each layer of each of its manifests.
struct Shown<'a> {
    image: &'a Inspected,
    opening: &'a [Openers],
}

/// Those of our keys that open a layer.
#[derive(Default)]
struct Openers {
    /// None: it is not known what keys there are.
    keys: Option<Vec<Key>>,
    /// Recipients of whom it is not known who they are.
    unnamed: usize,
    /// One of our keys does not say which it is.
    without_id: bool,
    /// Why a packet could not be tried.
    trouble: Option<String>,
}

fn openers(layer: &InspectedLayer, known: &mut KnownKeys) -> Result<Openers, Failure> {
    let mut openers = Openers {
        keys: known.listed().map(|_| Vec::new()),
        without_id: !known.have_ids(),
        ..Openers::default()
    };
    for packet in &layer.packets {
        let held = known.holders(&packet.packet)?;
        openers.trouble = held.trouble.or(openers.trouble);
        openers.unnamed += held.kids.iter().filter(|kid| kid.is_none()).count();
        let Some(keys) = &mut openers.keys else { continue };
        for key in held.kids.iter().flatten().filter_map(|kid| known.find(kid)) {
            if keys.iter().all(|there| there.kid != key.kid) {
                keys.push(key.clone());
            }
        }
    }
    Ok(openers)
}

impl<'a> Shown<'a> {
    /// Each manifest, and its layers with their openers.
    fn manifests(
        &self,
    ) -> impl Iterator<Item = (&'a InspectedManifest, Vec<(&'a InspectedLayer, &'a Openers)>)> {
        let mut opening = self.opening.iter();
        self.image
            .manifests
            .iter()
            .map(move |manifest| (manifest, manifest.layers.iter().zip(opening.by_ref()).collect()))
    }
}

fn text(source: &Place, shown: &Shown<'_>) -> String {
    let mut text = format!("{source} {}\n", shown.image.digest);
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    for (manifest, layers) in shown.manifests() {
        text.push_str(&format!("\n{} {}\n", platform(manifest), manifest.digest));
        let mut table =
            Table::new(&["LAYER", "DIGEST", "SIZE", "ENCRYPTED", "KEYS", "OUR KEYS", "MEDIA TYPE"]);
        for (i, (layer, openers)) in layers.iter().enumerate() {
            table.row(&[
                &(i + 1).to_string(),
                &layer.digest.short(),
                &output::size(layer.size),
                if layer.encrypted { "yes" } else { "no" },
                &keys(layer),
                &our_keys(layer, openers),
                &layer.media_type,
            ]);
            for key in openers.keys.iter().flatten() {
                states.insert(format!("{} (kid:{})", key.alias, key.kid), state_text(key));
            }
        }
        text.push_str(&table.text());
        for (i, (layer, openers)) in layers.iter().enumerate() {
            for trouble in layer.trouble.iter().chain(&openers.trouble) {
                text.push_str(&format!("layer {}: {}\n", i + 1, printable(trouble)));
            }
        }
    }
    if !states.is_empty() {
        let mut table = Table::new(&["OUR KEY", "STATE"]);
        for (key, state) in &states {
            table.row(&[key, state]);
        }
        text.push_str(&format!("\n{}", table.text()));
    }
    text
}

/// `images`; `none`; `not known` where no daemon told what keys there are, or a recipient or a key does not say
/// who he is.
fn our_keys(layer: &InspectedLayer, openers: &Openers) -> String {
    if !layer.encrypted {
        return String::new();
    }
    let Some(keys) = &openers.keys else { return "not known".to_owned() };
    let aliases: Vec<&str> = keys.iter().map(|key| key.alias.as_str()).collect();
    match (aliases.is_empty(), openers.unnamed) {
        (true, 0) if layer.trouble.is_none() && !openers.without_id => "none".to_owned(),
        (true, _) => "not known".to_owned(),
        (false, _) => aliases.join(", "),
    }
}

/// As `key list` has it, and whether it is one of those that new images are encrypted to.
fn state_text(key: &Key) -> String {
    let only_opens = if key.wraps { "" } else { "; not for new images" };
    format!("{}{only_opens}", key_list::state(key))
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

fn document(source: &Place, shown: &Shown<'_>) -> Value {
    let manifests = shown.manifests().map(|(manifest, layers)| {
        json!({
            "digest": manifest.digest.to_string(),
            "platform": manifest.platform.as_ref().map(Platform::to_string),
            "layers": layers.iter().map(|(layer, openers)| layer_json(layer, openers)).collect::<Vec<_>>(),
        })
    });
    json!({
        "image": source.to_string(),
        "digest": shown.image.digest.to_string(),
        "manifests": manifests.collect::<Vec<_>>(),
    })
}

fn layer_json(layer: &InspectedLayer, openers: &Openers) -> Value {
    let ours = openers.keys.as_ref().map(|keys| keys.iter().map(key_list::document).collect::<Vec<_>>());
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
        "ourKeys": ours,
        "withoutKeyId": openers.unnamed,
        "trouble": layer.trouble.as_ref().or(openers.trouble.as_ref()),
    })
}
