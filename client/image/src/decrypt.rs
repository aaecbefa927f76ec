//! Opening an image: every layer's key is asked for, every layer checked and decrypted, and the
//! manifests written anew around them.

mod layer;

use std::num::NonZero;
use std::sync::atomic::AtomicBool;

use holdfast_wire::OptsData;
use serde_json::{Map, Value};

use self::layer::Job;
use crate::descriptor::{Descriptor, drop_annotations};
use crate::place::{Source, Target};
use crate::tree::{self, Configs, Image, Node};
use crate::work::{self, Scene, Work};
use crate::written::{self, NewLayer};
use crate::{Error, Packet, Platform, Progress, Written, WrittenLayer, annotations, media, parallel};

/// Whoever can open a packet: a daemon with an HSM behind it, or a key in a test.
pub trait Opener: Sync {
    /// Opens any one of a layer's packets; all hold the same options. An error is one line that
    /// stands alone. Called from several threads at once.
    fn open(&self, packets: &[Packet]) -> Result<OptsData, Box<dyn std::error::Error + Send + Sync>>;
}

/// Fewest layers at once: each waits for its call at the HSM, so that even one core has time for two.
const LEAST_PARALLEL: usize = 2;

/// Decrypts the image `source` to `target`: all platforms of an index, or the one asked for, which
/// then stands alone. At most `jobs` layers at a time; without it, as many as there are cores. Layers that are not encrypted are copied, checked. The target appears only
/// whole, and on any error nothing of it stays. The source as target is refused: whoever had the encrypted image
/// would get one that anyone can read in its place.
pub fn decrypt(
    source: &dyn Source,
    target: &dyn Target,
    platform: Option<&Platform>,
    opener: &dyn Opener,
    jobs: Option<NonZero<usize>>,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let from = source.open()?;
    let root = Descriptor::read(&from.root()?.into(), "the image")?;
    let mut root = tree::read(&*from, root, Configs::Read)?;
    if let Some(wanted) = platform {
        root = root.select(wanted)?;
    }
    let (here, there) = (source.location(), target.location());
    if here.is_replaced_by(&there) {
        return Err(Error::Reference(format!(
            "{there} is the image to be decrypted: anyone could read what is under that name then; name another"
        )));
    }
    let new = target.begin(&here)?;
    let images = root.images();
    let stop = AtomicBool::new(false);
    let scene = Scene { source: &*from, target: &*new, progress, stop: &stop };
    let workers = jobs.map_or_else(|| parallel::workers(LEAST_PARALLEL), NonZero::get);
    let mut layers = parallel::all(&jobs_of(&images, scene, opener), workers, &stop, Job::run)?.into_iter();
    let layers = images.iter().map(|(_, image)| {
        image.manifest.layers.iter().zip(layers.by_ref()).map(|(old, new)| entered(old, new)).collect()
    });
    let (made, root) = written::documents(&*new, &root, layers.collect())?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    new.commit(&root)?;
    Ok(made)
}

fn jobs_of<'a>(images: &[(&Node, &'a Image)], scene: Scene<'a>, opener: &'a dyn Opener) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for (_, image) in images {
        for (at, descriptor) in image.manifest.layers.iter().enumerate() {
            let name = work::name(image, at, images.len(), jobs.len());
            jobs.push(Job { work: Work { name, descriptor, scene }, image, opener });
        }
    }
    jobs
}

fn entered(old: &Descriptor, new: WrittenLayer) -> NewLayer {
    let entry = if new.changed { decrypted_entry(old, &new) } else { old.json().clone() };
    NewLayer { written: new, entry }
}

fn decrypted_entry(old: &Descriptor, new: &WrittenLayer) -> Map<String, Value> {
    let mut json = old.moved_to(&new.digest, new.size);
    let media_type = media::decrypted(&old.media_type).unwrap_or(&old.media_type);
    json.insert("mediaType".into(), media_type.into());
    drop_annotations(&mut json, annotations::is_encryption);
    json
}
