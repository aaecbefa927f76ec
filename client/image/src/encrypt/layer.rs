//! One layer: its key wrapped, then read, checked and encrypted; or copied and checked.

use std::io::Read;

use holdfast_wire::OptsData;
use serde_json::{Map, Value};

use super::Wrapper;
use crate::cipher::Encrypted;
use crate::descriptor::{Descriptor, drop_annotations};
use crate::place::NewBlob;
use crate::work::Work;
use crate::written::NewLayer;
use crate::{Error, Packet, WrittenLayer, annotations, cipher, media};

/// All that the work on one blob needs.
pub(super) struct Job<'a> {
    pub(super) work: Work<'a>,
    /// None: it is copied.
    pub(super) wrapper: Option<&'a dyn Wrapper>,
}

/// A blob that was written, for every layer that it belongs to.
pub(crate) struct Made {
    written: WrittenLayer,
    /// What an encrypted layer is annotated with.
    annotations: Map<String, Value>,
}

impl Job<'_> {
    /// The error, if any, names the layer.
    pub(super) fn run(&self) -> Result<Made, Error> {
        self.work.run(|| match self.wrapper {
            Some(wrapper) => encrypt(&self.work, wrapper),
            None => Made::copy(&self.work),
        })
    }
}

fn encrypt(work: &Work<'_>, wrapper: &dyn Wrapper) -> Result<Made, Error> {
    let layer = work.descriptor;
    let blob = work.scene.source.blob(&layer.digest, layer.size)?;
    // Wrapped first: a refusal shall not come after minutes of work.
    let optsdata = cipher::new_key(&layer.digest)?;
    let packets = work.wrapped(wrapper.wrap(&optsdata))?;
    work.begin(layer.size);
    // One byte beyond the size, to see that nothing is there.
    let (out, made) = seal(work, blob.take(layer.size.saturating_add(1)), &optsdata, |n| work.read(n))?;
    Made::keep(work, out, &made, &packets)
}

/// Encrypts a layer's plaintext into a blob of the target, which is not kept yet.
pub(crate) fn seal<'a>(
    work: &Work<'a>,
    plaintext: impl Read,
    optsdata: &OptsData,
    on_block: impl FnMut(usize) -> Result<(), Error>,
) -> Result<(Box<dyn NewBlob + 'a>, Encrypted), Error> {
    let target = work.scene.target;
    let mut out = target.blob()?;
    let write = |block: &[u8]| out.write_all(block).map_err(Error::writing(target.place()));
    let made = cipher::encrypt(plaintext, work.descriptor.size, optsdata, write, on_block)?;
    Ok((out, made))
}

impl Made {
    /// Keeps the blob.
    pub(crate) fn keep(
        work: &Work<'_>,
        out: Box<dyn NewBlob + '_>,
        made: &Encrypted,
        packets: &[Packet],
    ) -> Result<Made, Error> {
        let layer = work.descriptor;
        out.keep(&made.digest)?;
        work.done();
        Ok(Made {
            written: WrittenLayer {
                source: layer.digest.clone(),
                digest: made.digest.clone(),
                size: made.size,
                media_type: media::encrypted(&layer.media_type),
                changed: true,
            },
            annotations: annotations::write(packets, &made.public),
        })
    }

    /// One that stays as it is.
    pub(crate) fn copy(work: &Work<'_>) -> Result<Made, Error> {
        Ok(Made { written: work.copy()?, annotations: Map::new() })
    }

    /// One of the layers that the blob belongs to, and what stands for it in the manifest.
    pub(crate) fn layer(&self, old: &Descriptor) -> NewLayer {
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
