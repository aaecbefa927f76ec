//! One layer: asked for, checked, decrypted, checked again; or copied and checked.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{DecryptedLayer, Event, LayerName, Opener, Progress};
use crate::cipher::{BLOCK_LEN, check_digest, check_size, read_block, unreadable, verify};
use crate::descriptor::Descriptor;
use crate::digest::Hasher;
use crate::layout::Layout;
use crate::release::{Expected, release};
use crate::staging::Staging;
use crate::tree::Image;
use crate::{Digest, Error, PublicOptions, annotations, media};

/// All that the work on one layer needs.
pub(super) struct Job<'a> {
    pub(super) name: LayerName,
    pub(super) descriptor: &'a Descriptor,
    pub(super) image: &'a Image,
    pub(super) layout: &'a Layout,
    pub(super) staging: &'a Staging,
    pub(super) opener: &'a dyn Opener,
    pub(super) progress: &'a dyn Progress,
    /// Another layer has failed.
    pub(super) stop: &'a AtomicBool,
}

/// The error, if any, names the layer.
pub(super) fn decrypt_layer(job: &Job<'_>) -> Result<DecryptedLayer, Error> {
    let result = job.go_on().and_then(|()| if job.descriptor.is_encrypted() { open(job) } else { copy(job) });
    result.map_err(|error| match error {
        Error::Cancelled => Error::Cancelled,
        error => Error::Layer {
            platform: job.name.platform.clone(),
            position: job.name.position,
            of: job.name.of,
            digest: job.name.digest.clone(),
            source: Box::new(error),
        },
    })
}

fn open(job: &Job<'_>) -> Result<DecryptedLayer, Error> {
    let layer = job.descriptor;
    // What can be told without the key is told before a token is asked.
    let annotations = layer.annotations();
    let packets = annotations::packets(&annotations)?;
    let public = PublicOptions::of(&annotations)?;
    let blob = sized_blob(job)?;
    let diff_id = expected_diff_id(job)?;

    job.go_on()?;
    let optsdata = job.opener.open(&packets).map_err(|error| {
        // An opener that gave up because the caller wished so has nothing to tell.
        if job.progress.cancelled() { Error::Cancelled } else { Error::NotOpened(error) }
    })?;
    let expected = Expected { digest: expected_digest(optsdata.digest())?, diff_id };
    if expected.digest.is_none() && expected.diff_id.is_none() {
        return Err(Error::image(
            "neither its key's packet nor the image's config says what it decrypts to, so it cannot be checked; encrypt the image again",
        ));
    }

    job.begin(2 * layer.size);
    let verified = verify(blob, layer.size, &layer.digest, &public, &optsdata, |n| job.read(n))?;
    let mut out = job.staging.blob()?;
    let (digest, size) =
        release(verified.plaintext()?, out.file(), job.staging.place(), &expected, &mut |n| job.read(n))?;
    job.staging.keep(out, &digest)?;
    job.progress.event(Event::Done { layer: &job.name });
    Ok(DecryptedLayer {
        source: layer.digest.clone(),
        digest,
        size,
        media_type: media::decrypted(&layer.media_type).unwrap_or_default().to_owned(),
        decrypted: true,
    })
}

fn copy(job: &Job<'_>) -> Result<DecryptedLayer, Error> {
    let layer = job.descriptor;
    job.begin(layer.size);
    // What lies behind the size that the manifest gives is not read.
    let mut blob = sized_blob(job)?.take(layer.size);
    let mut out = job.staging.blob()?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BLOCK_LEN];
    loop {
        let block = read_block(&mut blob, &mut buffer).map_err(unreadable)?;
        if block.is_empty() {
            break;
        }
        hasher.update(block);
        out.file().write_all(block).map_err(Error::io("write to", job.staging.place()))?;
        job.read(block.len())?;
    }
    check_digest(&hasher.finish(), &layer.digest)?;
    job.staging.keep(out, &layer.digest)?;
    job.progress.event(Event::Done { layer: &job.name });
    Ok(DecryptedLayer {
        source: layer.digest.clone(),
        digest: layer.digest.clone(),
        size: layer.size,
        media_type: layer.media_type.clone(),
        decrypted: false,
    })
}

fn sized_blob(job: &Job<'_>) -> Result<File, Error> {
    let blob = job.layout.blob(&job.descriptor.digest)?;
    let size = blob.metadata().map_err(unreadable)?.len();
    check_size(size, job.descriptor.size)?;
    Ok(blob)
}

/// The digest in a packet, which is empty where its writer gave none.
fn expected_digest(text: &str) -> Result<Option<Digest>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Error::image("the digest that was wrapped with its key is not sha256: and 64 lower-case hexadecimal digits; encrypt the image again")
    })
}

/// The config's diff id for this layer; `None` for what is no tar of a container image.
fn expected_diff_id(job: &Job<'_>) -> Result<Option<(Digest, media::Compression)>, Error> {
    let diff_ids = &job.image.config.diff_ids;
    let Some(compression) = media::compression(&job.descriptor.media_type) else {
        return Ok(None);
    };
    if !media::is_image_config(&job.image.manifest.config.media_type) {
        return Ok(None);
    }
    if diff_ids.len() != job.name.of {
        return Err(Error::image(format!(
            "the image's config has {} diff ids for {} layers; copy the image again from its source",
            diff_ids.len(),
            job.name.of
        )));
    }
    Ok(diff_ids.get(job.name.position - 1).map(|id| (id.clone(), compression)))
}

impl Job<'_> {
    fn begin(&self, bytes: u64) {
        self.progress.event(Event::Started { layer: &self.name, bytes });
    }

    fn read(&self, n: usize) -> Result<(), Error> {
        self.progress.event(Event::Read { layer: &self.name, bytes: n as u64 });
        self.go_on()
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) || self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
