//! One layer: asked for, checked, decrypted, checked again; or copied and checked.

use super::Opener;
use crate::release::release;
use crate::sealed::Sealed;
use crate::tree::Image;
use crate::work::Work;
use crate::{Error, WrittenLayer, media};

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
    let sealed = Sealed::of(work, job.image)?;
    let optsdata = work.opened(job.opener.open(sealed.packets()))?;
    let (verified, expected) = sealed.verified(work, &optsdata)?;
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
