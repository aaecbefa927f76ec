//! The work on one layer, whatever it is: where its blob comes from and goes to, whom to tell, when to
//! stop. And the simplest work there is, a checked copy.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cipher::{BLOCK_LEN, check_digest, read_block, unreadable};
use crate::descriptor::Descriptor;
use crate::digest::Hasher;
use crate::place::{NewImage, StoredImage};
use crate::tree::Image;
use crate::{Error, Event, LayerName, Packet, Progress, Reason, WrittenLayer, printable};

/// How often a layer is begun again whose target lost what it had of it.
const AGAIN: u32 = 2;

/// What all layers of an image have in common.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) source: &'a dyn StoredImage,
    pub(crate) target: &'a dyn NewImage,
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
        size: image.manifest.layers[at].size,
        number,
    }
}

impl Work<'_> {
    /// Does it, unless it is to stop; from its beginning again, with a new key if it has one, where the target
    /// lost it. The error, if any, names the layer.
    pub(crate) fn run<T>(&self, work: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        let mut again = 0;
        let done = loop {
            match self.go_on().and_then(|()| work()) {
                Err(error) if error.is_lost() && again < AGAIN => again += 1,
                done => break done,
            }
        };
        done.map_err(|error| match error {
            // One that gave up because the caller wished so has nothing to tell.
            Error::Cancelled => Error::Cancelled,
            _ if self.scene.progress.cancelled() => Error::Cancelled,
            error => Error::Layer {
                platform: self.name.platform.clone(),
                position: self.name.position,
                of: self.name.of,
                digest: self.name.digest.clone(),
                source: Box::new(error),
            },
        })
    }

    /// Leaves the blob as it is: where the target does not have it, it is copied, and its digest checked.
    pub(crate) fn copy(&self) -> Result<WrittenLayer, Error> {
        let layer = self.descriptor;
        let target = self.scene.target;
        if target.has(&layer.digest)? {
            self.begin(layer.size);
            self.read(usize::try_from(layer.size).unwrap_or(usize::MAX))?;
        } else {
            self.move_over()?;
        }
        self.done();
        Ok(WrittenLayer {
            source: layer.digest.clone(),
            digest: layer.digest.clone(),
            size: layer.size,
            media_type: layer.media_type.clone(),
            changed: false,
        })
    }

    fn move_over(&self) -> Result<(), Error> {
        let (layer, target) = (self.descriptor, self.scene.target);
        // What lies behind the size that the manifest gives is not read.
        let mut blob = self.scene.source.blob(&layer.digest, layer.size)?.take(layer.size);
        self.begin(layer.size);
        let mut out = target.blob()?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; BLOCK_LEN];
        loop {
            let block = read_block(&mut blob, &mut buffer).map_err(unreadable)?;
            if block.is_empty() {
                break;
            }
            hasher.update(block);
            out.write_all(block).map_err(Error::writing(target.place()))?;
            self.read(block.len())?;
        }
        check_digest(&hasher.finish(), &layer.digest)?;
        out.keep(&layer.digest)
    }

    /// What came of asking for the layer's key. Who gave up because the caller wished so has nothing to tell.
    pub(crate) fn opened<T>(&self, answer: Result<T, Reason>) -> Result<T, Error> {
        answer.map_err(|error| self.unless_cancelled(Error::NotOpened(error)))
    }

    /// The same of wrapping it.
    pub(crate) fn wrapped(&self, answer: Result<Vec<Packet>, Reason>) -> Result<Vec<Packet>, Error> {
        let packets = answer.map_err(|error| self.unless_cancelled(Error::NotWrapped(error)))?;
        if packets.is_empty() {
            return Err(Error::NotWrapped(
                "nobody would be able to open it: its key has no recipient".into(),
            ));
        }
        Ok(packets)
    }

    fn unless_cancelled(&self, error: Error) -> Error {
        if self.scene.progress.cancelled() { Error::Cancelled } else { error }
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
