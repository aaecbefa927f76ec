//! One layer: its key wrapped, then read, checked and encrypted; or copied and checked.

use std::io::Read as _;

use serde_json::{Map, Value};

use super::Wrapper;
use crate::descriptor::{Descriptor, drop_annotations};
use crate::work::Work;
use crate::written::NewLayer;
use crate::{Error, WrittenLayer, annotations, cipher, media};

/// All that the work on one blob needs.
pub(super) struct Job<'a> {
    pub(super) work: Work<'a>,
    /// None: it is copied.
    pub(super) wrapper: Option<&'a dyn Wrapper>,
}

/// A blob that was written, for every layer that it belongs to.
pub(super) struct Made {
    written: WrittenLayer,
    /// What an encrypted layer is annotated with.
    annotations: Map<String, Value>,
}

impl Job<'_> {
    /// The error, if any, names the layer.
    pub(super) fn run(&self) -> Result<Made, Error> {
        self.work.run(|| match self.wrapper {
            Some(wrapper) => encrypt(&self.work, wrapper),
            None => Ok(Made { written: self.work.copy()?, annotations: Map::new() }),
        })
    }
}

fn encrypt(work: &Work<'_>, wrapper: &dyn Wrapper) -> Result<Made, Error> {
    let layer = work.descriptor;
    let target = work.scene.target;
    let blob = work.scene.source.blob(&layer.digest, layer.size)?;
    // Wrapped first: a refusal shall not come after minutes of work.
    let optsdata = cipher::new_key(&layer.digest)?;
    let packets = wrapper.wrap(&optsdata).map_err(|error| {
        // A wrapper that gave up because the caller wished so has nothing to tell.
        if work.scene.progress.cancelled() { Error::Cancelled } else { Error::NotWrapped(error) }
    })?;
    if packets.is_empty() {
        return Err(Error::NotWrapped("nobody would be able to open it: its key has no recipient".into()));
    }

    work.begin(layer.size);
    let mut out = target.blob()?;
    let write = |block: &[u8]| out.write_all(block).map_err(Error::writing(target.place()));
    // One byte beyond the size, to see that nothing is there.
    let plaintext = blob.take(layer.size.saturating_add(1));
    let made = cipher::encrypt(plaintext, layer.size, &optsdata, write, |n| work.read(n))?;
    out.keep(&made.digest)?;
    work.done();
    Ok(Made {
        written: WrittenLayer {
            source: layer.digest.clone(),
            digest: made.digest,
            size: made.size,
            media_type: media::encrypted(&layer.media_type),
            changed: true,
        },
        annotations: annotations::write(&packets, &made.public),
    })
}

impl Made {
    /// One of the layers that the blob belongs to, and what stands for it in the manifest.
    pub(super) fn layer(&self, old: &Descriptor) -> NewLayer {
        let mut written = self.written.clone();
        if !written.changed {
            written.media_type.clone_from(&old.media_type);
            return NewLayer { written, entry: old.json().clone() };
        }
        written.media_type = media::encrypted(&old.media_type);
        let mut entry = old.moved_to(&written.digest, written.size);
        entry.insert("mediaType".into(), written.media_type.as_str().into());
        // What a careless tool left of an earlier encryption would be taken for packets of this one.
        drop_annotations(&mut entry, annotations::is_encryption);
        let mut all = entry.get("annotations").and_then(Value::as_object).cloned().unwrap_or_default();
        all.extend(self.annotations.clone());
        entry.insert("annotations".into(), all.into());
        NewLayer { written, entry }
    }
}
