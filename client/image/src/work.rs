//! The work on one layer, whatever it is: where its blob comes from and goes to, whom to tell, when to
//! stop. And the simplest work there is, a checked copy.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cipher::{BLOCK_LEN, check_digest, check_size, read_block, unreadable};
use crate::descriptor::Descriptor;
use crate::digest::Hasher;
use crate::layout::Layout;
use crate::staging::Staging;
use crate::tree::Image;
use crate::{Error, Event, LayerName, Progress, WrittenLayer, printable};

/// What all layers of an image have in common.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) staging: &'a Staging,
    pub(crate) progress: &'a dyn Progress,
    /// A layer has failed.
    pub(crate) stop: &'a AtomicBool,
}

/// One layer.
pub(crate) struct Work<'a> {
    pub(crate) name: LayerName,
    pub(crate) descriptor: &'a Descriptor,
    pub(crate) scene: Scene<'a>,
}

/// The name of an image's layer; `at` counts from 0.
pub(crate) fn name(image: &Image, at: usize, images: usize, number: usize) -> LayerName {
    let platform = image.platform.as_ref().filter(|_| images > 1);
    LayerName {
        platform: platform.map(|platform| printable(&platform.to_string())),
        position: at + 1,
        of: image.manifest.layers.len(),
        digest: image.manifest.layers[at].digest.clone(),
        number,
    }
}

impl Work<'_> {
    /// Does it, unless it is to stop. The error, if any, names the layer.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.go_on().and_then(|()| work()).map_err(|error| match error {
            Error::Cancelled => Error::Cancelled,
            error => Error::Layer {
                platform: self.name.platform.clone(),
                position: self.name.position,
                of: self.name.of,
                digest: self.name.digest.clone(),
                source: Box::new(error),
            },
        })
    }

    /// The blob, which has the size that the manifest gives.
    pub(crate) fn blob(&self) -> Result<File, Error> {
        let blob = self.scene.layout.blob(&self.descriptor.digest)?;
        let size = blob.metadata().map_err(unreadable)?.len();
        check_size(size, self.descriptor.size)?;
        Ok(blob)
    }

    /// Copies the blob as it is, and checks its digest.
    pub(crate) fn copy(&self) -> Result<WrittenLayer, Error> {
        let layer = self.descriptor;
        let staging = self.scene.staging;
        // What lies behind the size that the manifest gives is not read.
        let mut blob = self.blob()?.take(layer.size);
        self.begin(layer.size);
        let mut out = staging.blob()?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; BLOCK_LEN];
        loop {
            let block = read_block(&mut blob, &mut buffer).map_err(unreadable)?;
            if block.is_empty() {
                break;
            }
            hasher.update(block);
            out.write_all(block).map_err(Error::io("write to", staging.place()))?;
            self.read(block.len())?;
        }
        check_digest(&hasher.finish(), &layer.digest)?;
        staging.keep(out, &layer.digest)?;
        self.done();
        Ok(WrittenLayer {
            source: layer.digest.clone(),
            digest: layer.digest.clone(),
            size: layer.size,
            media_type: layer.media_type.clone(),
            changed: false,
        })
    }

    pub(crate) fn begin(&self, bytes: u64) {
        self.scene.progress.event(Event::Started { layer: &self.name, bytes });
    }

    /// So many bytes have been read; whether to read more.
    pub(crate) fn read(&self, n: usize) -> Result<(), Error> {
        self.scene.progress.event(Event::Read { layer: &self.name, bytes: n as u64 });
        self.go_on()
    }

    pub(crate) fn done(&self) {
        self.scene.progress.event(Event::Done { layer: &self.name });
    }

    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.scene.stop.load(Ordering::Relaxed) || self.scene.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
