//! Typed views over manifests kept as JSON values, so that what this version does not know survives
//! a rewrite in its place.

use serde_json::{Map, Value};

use crate::{Digest, Error, Platform, media};

/// Longest manifest, index or config read, in bytes.
pub(crate) const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;
/// Most layers of a manifest.
pub(crate) const MAX_LAYERS: usize = 1024;

/// A reference to a blob (OCI image-spec, descriptor.md).
#[derive(Debug, Clone)]
pub(crate) struct Descriptor {
    json: Map<String, Value>,
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Descriptor {
    /// `what` names it in an error: "the manifest's config".
    pub(crate) fn read(value: &Value, what: &str) -> Result<Descriptor, Error> {
        let json = value
            .as_object()
            .ok_or_else(|| Error::image(format!("{what} is no descriptor; copy the image again")))?;
        let field = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
        let digest = field("digest").parse().map_err(|_| {
            Error::image(format!(
                "the digest of {what} is not sha256: and 64 lower-case hexadecimal digits; copy the image again"
            ))
        })?;
        let size = json
            .get("size")
            .and_then(Value::as_u64)
            .ok_or_else(|| Error::image(format!("{what} has no size; copy the image again")))?;
        Ok(Descriptor { media_type: field("mediaType").to_owned(), digest, size, json: json.clone() })
    }

    pub(crate) fn annotations(&self) -> Map<String, Value> {
        self.json.get("annotations").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.json.get("annotations")?.get(name)?.as_str()
    }

    pub(crate) fn platform(&self) -> Option<Platform> {
        Platform::of(self.json.get("platform")?)
    }

    /// The kind of the document it leads to.
    pub(crate) fn kind(&self) -> media::Kind {
        media::kind(&self.media_type)
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        media::decrypted(&self.media_type).is_some()
    }

    /// The JSON for the same place, leading to other content. An embedded copy of the old content
    /// (`data`) and places where it lies (`urls`) would contradict the new digest and go.
    pub(crate) fn moved_to(&self, digest: &Digest, size: u64) -> Map<String, Value> {
        let mut json = self.json.clone();
        if *digest != self.digest {
            json.shift_remove("data");
            json.shift_remove("urls");
        }
        json.insert("digest".into(), digest.to_string().into());
        json.insert("size".into(), size.into());
        json
    }

    pub(crate) fn json(&self) -> &Map<String, Value> {
        &self.json
    }
}

/// Drops the annotations that `unwanted` names, and the field itself when none is left.
pub(crate) fn drop_annotations(json: &mut Map<String, Value>, unwanted: impl Fn(&str) -> bool) {
    let Some(annotations) = json.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    annotations.retain(|name, _| !unwanted(name));
    if annotations.is_empty() {
        json.shift_remove("annotations");
    }
}

/// An image manifest.
pub(crate) struct Manifest {
    pub(crate) json: Map<String, Value>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl Manifest {
    pub(crate) fn read(bytes: &[u8]) -> Result<Manifest, Error> {
        let json = object(bytes, "the manifest")?;
        let config = json
            .get("config")
            .ok_or_else(|| Error::image("the manifest names no config; copy the image again"))?;
        let config = Descriptor::read(config, "the manifest's config")?;
        let layers = list(&json, "layers", "the manifest", MAX_LAYERS)?;
        let layers = layers
            .iter()
            .enumerate()
            .map(|(i, layer)| Descriptor::read(layer, &format!("layer {} of {}", i + 1, layers.len())))
            .collect::<Result<_, _>>()?;
        Ok(Manifest { json, config, layers })
    }
}

/// What an image's config says that matters here.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) platform: Option<Platform>,
    pub(crate) diff_ids: Vec<Digest>,
}

impl Config {
    pub(crate) fn read(bytes: &[u8]) -> Result<Config, Error> {
        let json = object(bytes, "the image's config")?;
        let rootfs = json.get("rootfs").and_then(Value::as_object);
        let diff_ids = match rootfs {
            Some(rootfs) => list(rootfs, "diff_ids", "the image's config", MAX_LAYERS)?,
            None => &[],
        };
        Ok(Config {
            platform: Platform::of(&Value::Object(json.clone())),
            diff_ids: diff_ids
                .iter()
                .map(|id| {
                    id.as_str().unwrap_or_default().parse().map_err(|_| {
                        Error::image("a diff id in the image's config is not sha256: and 64 lower-case hexadecimal digits; copy the image again")
                    })
                })
                .collect::<Result<_, _>>()?,
        })
    }
}

/// A document longer than [`MAX_DOCUMENT`].
pub(crate) fn too_long(name: &str) -> Error {
    Error::image(format!(
        "{name} is longer than 4 MiB, the most that a manifest, index or config may have here"
    ))
}

/// Parses a JSON object; serde_json bounds its nesting.
pub(crate) fn object(bytes: &[u8], what: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::image(format!("{}; copy the image again", holdfast_wire::Malformed::json(what, &error)))
    })
}

/// A member that is a list of at most `max`; absent or null is empty, as Go writes it.
pub(crate) fn list<'a>(
    json: &'a Map<String, Value>,
    name: &str,
    what: &str,
    max: usize,
) -> Result<&'a [Value], Error> {
    let list = match json.get(name) {
        None | Some(Value::Null) => return Ok(&[]),
        Some(value) => value
            .as_array()
            .ok_or_else(|| Error::image(format!("{name} in {what} is no list; copy the image again")))?,
    };
    if list.len() > max {
        return Err(Error::image(format!("{what} has {} {name}; at most {max} are taken", list.len())));
    }
    Ok(list)
}
