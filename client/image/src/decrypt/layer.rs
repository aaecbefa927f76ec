//! One layer: asked for, checked, decrypted, checked again; or copied and checked.

use super::Opener;
use crate::cipher::verify;
use crate::release::{Expected, release};
use crate::tree::Image;
use crate::work::Work;
use crate::{Digest, Error, PublicOptions, WrittenLayer, annotations, media};

/// All that the work on one layer needs.
pub(super) struct Job<'a> {
    pub(super) work: Work<'a>,
    pub(super) image: &'a Image,
    pub(super) opener: &'a dyn Opener,
}

impl Job<'_> {
    /// The error, if any, names the layer.
    pub(super) fn run(&self) -> Result<WrittenLayer, Error> {
        let encrypted = self.work.descriptor.is_encrypted();
        self.work.run(|| if encrypted { open(self) } else { self.work.copy() })
    }
}

fn open(job: &Job<'_>) -> Result<WrittenLayer, Error> {
    let (work, target) = (&job.work, job.work.scene.target);
    let layer = work.descriptor;
    // What can be told without the key is told before a token is asked.
    let annotations = layer.annotations();
    let packets = annotations::packets(&annotations)?;
    let public = PublicOptions::of(&annotations)?;
    let blob = work.scene.source.blob_twice(&layer.digest, layer.size)?;
    let diff_id = expected_diff_id(job)?;

    work.go_on()?;
    let optsdata = job.opener.open(&packets).map_err(|error| {
        // An opener that gave up because the caller wished so has nothing to tell.
        if work.scene.progress.cancelled() { Error::Cancelled } else { Error::NotOpened(error) }
    })?;
    let expected = Expected { digest: expected_digest(optsdata.digest())?, diff_id };
    if expected.digest.is_none() && expected.diff_id.is_none() {
        return Err(Error::image(
            "neither its key's packet nor the image's config says what it decrypts to, so it cannot be checked; encrypt the image again",
        ));
    }

    work.begin(2 * layer.size);
    let verified = verify(blob, layer.size, &layer.digest, &public, &optsdata, |n| work.read(n))?;
    let mut out = target.blob()?;
    let (digest, size) =
        release(verified.plaintext()?, &mut out, &target.place(), &expected, &mut |n| work.read(n))?;
    out.keep(&digest)?;
    work.done();
    Ok(WrittenLayer {
        source: layer.digest.clone(),
        digest,
        size,
        media_type: media::decrypted(&layer.media_type).unwrap_or_default().to_owned(),
        changed: true,
    })
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
    let Some(compression) = media::compression(&job.work.descriptor.media_type) else {
        return Ok(None);
    };
    if !media::is_image_config(&job.image.manifest.config.media_type) {
        return Ok(None);
    }
    if diff_ids.len() != job.work.name.of {
        return Err(Error::image(format!(
            "the image's config has {} diff ids for {} layers; copy the image again from its source",
            diff_ids.len(),
            job.work.name.of
        )));
    }
    Ok(diff_ids.get(job.work.name.position - 1).map(|id| (id.clone(), compression)))
}
