//! Encrypting an image: every chosen layer gets a key of its own, which is wrapped before the layer is
//! read, and the manifests are written anew around them.

mod layer;
mod plan;

use std::num::NonZero;
use std::sync::atomic::AtomicBool;

use holdfast_wire::OptsData;

use self::layer::Job;
use crate::layout::{Layout, same_image};
use crate::staging::Staging;
use crate::tree::{self, Configs};
use crate::work::Scene;
use crate::written;
use crate::{Error, Packet, Platform, Progress, Reference, Written, parallel};

/// Whoever wraps layer keys: public keys at hand, or a daemon with an HSM behind it.
pub trait Wrapper: Sync {
    /// Wraps a layer's key to everybody who shall open it: at least one packet, each with the scheme
    /// whose annotation it goes to. An error is one line that stands alone. Called from several threads
    /// at once.
    fn wrap(&self, optsdata: &OptsData) -> Result<Vec<Packet>, Box<dyn std::error::Error + Send + Sync>>;
}

/// What of an image is encrypted; the rest is copied. The default is every layer that is a tar archive.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Images for these platforms alone; one without a variant means all its variants. Empty: all.
    pub platforms: Vec<Platform>,
    /// These layers alone of each image, counted from 0, or back from the last as -1. Empty: all.
    pub layers: Vec<i32>,
}

/// Encrypts the image `source` to `target`, with all its platforms. A layer that several manifests have
/// in common is encrypted once, and stays common. At most `jobs` layers at a time; without it, as many
/// as there are cores. The target appears only whole, and on any error nothing of it stays.
///
/// Refused: a chosen layer that is encrypted already (it would stay closed to the new recipients), a
/// choice that names nothing, an image in which nothing can be encrypted, and the source as target (the
/// layers in the clear would stay beside the image that replaces them).
pub fn encrypt(
    source: &Reference,
    target: &Reference,
    selection: &Selection,
    wrapper: &dyn Wrapper,
    jobs: Option<NonZero<usize>>,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let layout = Layout::open(&source.directory)?;
    let root = tree::read(&layout, layout.image(source.tag.as_deref())?, Configs::Read)?;
    let images = root.images();
    let plan = plan::of(&images, selection)?;
    if same_image(source, target) {
        return Err(Error::Reference(format!(
            "{target} is the image to be encrypted: its layers in the clear would stay there; name another directory"
        )));
    }
    let staging = Staging::new(target)?;
    let stop = AtomicBool::new(false);
    let scene = Scene { layout: &layout, staging: &staging, progress, stop: &stop };
    let workers = jobs.map_or_else(|| parallel::workers(1), NonZero::get);
    let made = parallel::all(&plan.jobs(scene, wrapper), workers, &stop, Job::run)?;
    let (made, entry) = written::documents(&staging, &root, plan.layers(&made))?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    staging.commit(entry)?;
    Ok(made)
}
