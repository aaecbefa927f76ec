//! An image that was written, as JSON: the same document for every verb that writes one.

use holdfast_image::{Platform, Written};
use serde_json::{Value, json};

use crate::place::Place;

/// `keys` are those it was done with; `changed` is what a layer of which that is true has become.
pub(super) fn document(target: &Place, made: &Written, keys: &[String], changed: &str) -> Value {
    let manifests = made.manifests.iter().map(|manifest| {
        let layers = manifest.layers.iter().map(|layer| {
            json!({
                "source": layer.source.to_string(),
                "digest": layer.digest.to_string(),
                "size": layer.size,
                "mediaType": layer.media_type,
                changed: layer.changed,
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
        "target": target.to_string(),
        "digest": made.digest.to_string(),
        "keys": keys,
        "manifests": manifests.collect::<Vec<_>>(),
    })
}
