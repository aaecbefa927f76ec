//! An encrypted layer before anything of it is released: what can be told of it without its key, and the checks
//! of its blob once the key is there.

use crate::cipher::{Verified, verify};
use crate::place::ReadAgain;
use crate::release::Expected;
use crate::tree::Image;
use crate::work::Work;
use crate::{Digest, Error, Packet, PublicOptions, annotations, media};
use holdfast_wire::OptsData;

/// An encrypted layer.
pub(crate) struct Sealed<'a> {
    packets: Vec<Packet>,
    public: PublicOptions,
    blob: Box<dyn ReadAgain + 'a>,
    diff_id: Option<(Digest, media::Compression)>,
}

impl<'a> Sealed<'a> {
    /// What can be told without the key is told before a token is asked.
    pub(crate) fn of(work: &Work<'a>, image: &Image) -> Result<Sealed<'a>, Error> {
        let layer = work.descriptor;
        let annotations = layer.annotations();
        let packets = annotations::packets(&annotations)?;
        let public = PublicOptions::of(&annotations)?;
        let blob = work.scene.source.blob_twice(&layer.digest, layer.size)?;
        let diff_id = expected_diff_id(work, image)?;
        work.go_on()?;
        Ok(Sealed { packets, public, blob, diff_id })
    }

    /// The wrapped forms of its key.
    pub(crate) fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// Reads all of the blob and checks it, and says what its plaintext must turn out to be.
    pub(crate) fn verified<'k>(
        self,
        work: &Work<'_>,
        optsdata: &'k OptsData,
    ) -> Result<(Verified<'k, Box<dyn ReadAgain + 'a>>, Expected), Error> {
        let layer = work.descriptor;
        let expected = Expected { digest: expected_digest(optsdata.digest())?, diff_id: self.diff_id };
        if expected.digest.is_none() && expected.diff_id.is_none() {
            return Err(Error::image(
                "neither its key's packet nor the image's config says what it decrypts to, so it cannot be checked; encrypt the image again",
            ));
        }
        work.begin(2 * layer.size);
        let verified =
            verify(self.blob, layer.size, &layer.digest, &self.public, optsdata, |n| work.read(n))?;
        Ok((verified, expected))
    }
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
fn expected_diff_id(work: &Work<'_>, image: &Image) -> Result<Option<(Digest, media::Compression)>, Error> {
    let diff_ids = &image.config.diff_ids;
    let Some(compression) = media::compression(&work.descriptor.media_type) else {
        return Ok(None);
    };
    if !media::is_image_config(&image.manifest.config.media_type) {
        return Ok(None);
    }
    if diff_ids.len() != work.name.of {
        return Err(Error::image(format!(
            "the image's config has {} diff ids for {} layers; copy the image again from its source",
            diff_ids.len(),
            work.name.of
        )));
    }
    Ok(diff_ids.get(work.name.position - 1).map(|id| (id.clone(), compression)))
}
