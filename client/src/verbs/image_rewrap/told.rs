//! What is told of images that were re-wrapped or encrypted anew, and of those that were not.

use std::io::Write as _;

use holdfast_image::{Identity, Platform, Rewrapped, printable};
use holdfast_registry::Referrer;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::failure::Failure;
use crate::output;

/// An image with the recipients that were wished for.
pub(super) struct Done {
    pub(super) name: String,
    pub(super) rewrapped: Rewrapped,
    /// What still refers to the manifest that it was.
    pub(super) referrers: Vec<Referrer>,
    pub(super) written: bool,
    /// Whether somebody was to go.
    pub(super) removing: bool,
}

impl Done {
    pub(super) fn told(&self) -> Told {
        Told { text: text(self), json: document(self) }
    }
}

/// What is told of an image that is as was wished for.
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) json: Value,
}

/// An image that is as it was.
pub(crate) struct NotDone {
    pub(crate) name: String,
    pub(crate) why: String,
}

/// Those that were not done are told on stderr, and make the command fail.
pub(super) fn report(common: &Common, results: &[Result<Told, NotDone>]) -> Result<(), Failure> {
    if common.json {
        let json = |result: &Result<Told, NotDone>| match result {
            Ok(told) => told.json.clone(),
            Err(NotDone { name, why }) => json!({"image": name, "error": why}),
        };
        let images: Vec<Value> = results.iter().map(json).collect();
        output::print_json(&json!({ "images": images }))?;
    } else {
        let done = results.iter().filter_map(|result| result.as_ref().ok());
        let text: String = done.map(|told| told.text.as_str()).collect();
        output::print(&text)?;
    }
    let failed: Vec<&NotDone> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    match failed.as_slice() {
        [] => Ok(()),
        [only] if results.len() == 1 => Err(Failure::line(format!("{}: {}", only.name, only.why))),
        several => {
            for one in several {
                // Nowhere is left to tell that stderr cannot be written.
                let _ = writeln!(std::io::stderr(), "holdfast: {}: {}", one.name, printable(&one.why));
            }
            Err(Failure::line(format!(
                "{} of {} images are as they were; run again, and what is done already is passed over",
                several.len(),
                results.len()
            )))
        }
    }
}

fn text(done: &Done) -> String {
    let Done { name, rewrapped, referrers, written, removing } = done;
    let layers = rewrapped.layers().count();
    let mut text = match (rewrapped.changed_layers(), layers) {
        (0, 0) => format!("{name} has no encrypted layer"),
        (0, _) => format!("{name} is {} and has these recipients already", rewrapped.root.digest),
        (changed, _) if *written => {
            format!("{name} is {}: {changed} of {layers} layers re-wrapped", rewrapped.root.digest)
        }
        // Its digest would be another one each time.
        (changed, _) => format!("{name}: {changed} of {layers} layers would be re-wrapped"),
    };
    if *removing && rewrapped.layers().all(|layer| layer.removed == 0) {
        text.push_str("; of those to be removed nobody is among its recipients");
    }
    let unnamed = rewrapped.layers().filter(|layer| layer.unnamed > 0).count();
    if unnamed > 0 {
        text.push_str(&format!("; {unnamed} still have recipients that name no key id"));
    }
    text.push('\n');
    if *written && rewrapped.layers().any(|layer| layer.removed > 0) {
        text.push_str(
            "  who kept layers' keys or the old manifest can still open it; --reencrypt makes new keys\n",
        );
    }
    text.push_str(&to_be_made_again(referrers));
    text
}

/// A line for each.
pub(crate) fn to_be_made_again(referrers: &[Referrer]) -> String {
    let line = |referrer: &Referrer| {
        let (place, kind) = (printable(&referrer.place), printable(&referrer.kind));
        format!("  to be made again for the new digest: {place} ({kind})\n")
    };
    referrers.iter().map(line).collect()
}

fn document(done: &Done) -> Value {
    let manifests = done.rewrapped.manifests.iter().map(|manifest| {
        let layers = manifest.layers.iter().map(|layer| {
            json!({
                "digest": layer.digest.to_string(),
                "added": layer.added.iter().map(Identity::to_string).collect::<Vec<_>>(),
                "removed": layer.removed,
                "unnamed": layer.unnamed,
            })
        });
        json!({
            "platform": manifest.platform.as_ref().map(Platform::to_string),
            "source": manifest.source.to_string(),
            "digest": manifest.digest.to_string(),
            "layers": layers.collect::<Vec<_>>(),
        })
    });
    json!({
        "image": done.name,
        "digest": done.rewrapped.root.digest.to_string(),
        "written": done.written && !done.rewrapped.documents.is_empty(),
        "manifests": manifests.collect::<Vec<_>>(),
        "referrers": referrers_json(&done.referrers),
    })
}

pub(crate) fn referrers_json(referrers: &[Referrer]) -> Value {
    referrers.iter().map(|one| json!({"place": one.place, "kind": one.kind})).collect()
}
