//! Encrypting an image: every chosen layer gets a key of its own, which is wrapped before the layer is
//! read, and the manifests are written anew around them.

pub(crate) mod layer;
mod plan;

use std::num::NonZero;
use std::sync::atomic::AtomicBool;

use holdfast_wire::OptsData;

use self::layer::Job;
use crate::descriptor::Descriptor;
use crate::place::{Location, Source, Target};
use crate::tree::{self, Configs};
use crate::work::Scene;
use crate::written;
use crate::{Error, Packet, Platform, Progress, Written, parallel};

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
    source: &dyn Source,
    target: &dyn Target,
    selection: &Selection,
    wrapper: &dyn Wrapper,
    jobs: Option<NonZero<usize>>,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let from = source.open()?;
    let root = Descriptor::read(&from.root()?.into(), "the image")?;
    let root = tree::read(&*from, root, Configs::Read)?;
    let images = root.images();
    let plan = plan::of(&images, selection)?;
    let (here, there) = (source.location(), target.location());
    if here.is_replaced_by(&there) {
        let another = if matches!(there, Location::Layout(_)) { "directory" } else { "tag or repository" };
        return Err(Error::Reference(format!(
            "{there} is the image to be encrypted: its layers in the clear would stay there; name another {another}"
        )));
    }
    let new = target.begin(&here)?;
    let stop = AtomicBool::new(false);
    let scene = Scene { source: &*from, target: &*new, progress, stop: &stop };
    let workers = jobs.map_or_else(|| parallel::workers(1), NonZero::get);
    let made = parallel::all(&plan.jobs(scene, wrapper), workers, &stop, Job::run)?;
    let (made, root) = written::documents(&*new, &root, plan.layers(&made))?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    new.commit(&root)?;
    Ok(made)
}
