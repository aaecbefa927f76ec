//! Encrypting an image anew: every encrypted layer is opened, checked, and encrypted with a new key, so that
//! whoever kept an old one opens nothing of what is written.
//!
//! The plaintext goes from the one cipher to the other in memory, and never to a file: what a place keeps to
//! read it twice is the old ciphertext.

mod nowhere;

use std::collections::HashMap;
use std::io;
use std::num::NonZero;
use std::sync::atomic::AtomicBool;
use std::thread;

use holdfast_wire::{Labels, OptsData};
use serde_json::Value;

use crate::cipher::{self, Encrypted, ended, start};
use crate::descriptor::Descriptor;
use crate::encrypt::layer::{Made, seal};
use crate::place::{NewBlob, Source, Target};
use crate::release::{Expected, release};
use crate::sealed::Sealed;
use crate::tree::{self, Configs, Image};
use crate::work::{self, Scene, Work};
use crate::written;
use crate::{Digest, Error, Identity, Progress, Refusal, Rewrapper, Written, media, parallel};

pub use nowhere::Nowhere;

/// Most layers at once unless the caller wants more: each has the buffers of both ways.
const MAX_PARALLEL: usize = 3;

/// Who shall open the image from now on.
#[derive(Debug, Clone)]
pub struct Recipients {
    /// All can be wrapped to.
    pub to: Vec<Identity>,
    /// What it is encrypted for. None: what it was encrypted for, each layer by itself.
    pub labels: Option<Labels>,
}

/// Encrypts every encrypted layer of the image `source` anew, to these recipients and nobody else, and writes the
/// image as `target`, which may be the same. Layers that are not encrypted and configs stay. What layers decrypt
/// to, and so the diff ids, stays too. A layer that several manifests have in common is done once. At most `jobs`
/// layers at a time; without it, as many as there are cores, at most 3. The target
/// appears only whole, and on any error nothing of it stays.
pub fn reencrypt(
    source: &dyn Source,
    target: &dyn Target,
    recipients: &Recipients,
    rewrapper: &(dyn Rewrapper + Sync),
    jobs: Option<NonZero<usize>>,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let from = source.open()?;
    let root = Descriptor::read(&from.root()?.into(), "the image")?;
    let root = tree::read(&*from, root, Configs::Read)?;
    let images: Vec<&Image> = root.images().into_iter().map(|(_, image)| image).collect();
    if !images.iter().any(|image| image.manifest.layers.iter().any(Descriptor::is_encrypted)) {
        return Err(Error::Reference(
            "no layer of it is encrypted, so there are no keys to be made anew; holdfast image encrypt encrypts it"
                .to_owned(),
        ));
    }
    let new = target.begin(&source.location())?;
    let stop = AtomicBool::new(false);
    let scene = Scene { source: &*from, target: &*new, progress, stop: &stop };
    let workers = jobs.map_or_else(|| parallel::workers(1).min(MAX_PARALLEL), NonZero::get);
    let (jobs, jobs_of) = distinct(&images, scene, recipients, rewrapper);
    let made = parallel::all(&jobs, workers, &stop, Job::run)?;
    let layers = images.iter().zip(&jobs_of).map(|(image, jobs)| {
        image.manifest.layers.iter().zip(jobs).map(|(layer, job)| made[*job].layer(layer)).collect()
    });
    let (made, root) = written::documents(&*new, &root, layers.collect())?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    new.commit(&root)?;
    Ok(made)
}

struct Job<'a> {
    work: Work<'a>,
    image: &'a Image,
    recipients: &'a Recipients,
    rewrapper: &'a (dyn Rewrapper + Sync),
}

/// The jobs, and for each layer of each image which of them is its.
fn distinct<'a>(
    images: &[&'a Image],
    scene: Scene<'a>,
    recipients: &'a Recipients,
    rewrapper: &'a (dyn Rewrapper + Sync),
) -> (Vec<Job<'a>>, Vec<Vec<usize>>) {
    // Layers are one only if their packets are, and what they must decrypt to.
    let mut known: HashMap<(&Digest, u64, String, Option<&Digest>), usize> = HashMap::new();
    let (mut jobs, mut jobs_of) = (Vec::new(), Vec::new());
    for image in images {
        let mut of_image = Vec::new();
        for (at, descriptor) in image.manifest.layers.iter().enumerate() {
            let annotations = Value::Object(descriptor.annotations()).to_string();
            let diff_id = image.config.diff_ids.get(at);
            let job = *known
                .entry((&descriptor.digest, descriptor.size, annotations, diff_id))
                .or_insert_with(|| {
                    let name = work::name(image, at, images.len(), jobs.len());
                    jobs.push(Job { work: Work { name, descriptor, scene }, image, recipients, rewrapper });
                    jobs.len() - 1
                });
            of_image.push(job);
        }
        jobs_of.push(of_image);
    }
    (jobs, jobs_of)
}

impl Job<'_> {
    fn run(&self) -> Result<Made, Error> {
        let encrypted = self.work.descriptor.is_encrypted();
        self.work.run(|| if encrypted { self.anew() } else { Made::copy(&self.work) })
    }

    fn anew(&self) -> Result<Made, Error> {
        let work = &self.work;
        let sealed = Sealed::of(work, self.image)?;
        let opened = work.opened(self.rewrapper.open(sealed.packets()).map_err(Refusal::into_reason))?;
        // Wrapped before the layer is read a first time: a refusal shall not come after minutes of work.
        let optsdata = cipher::new_key(&plaintext(&opened.optsdata, work, self.image)?)?;
        let labels = self.recipients.labels.as_ref().unwrap_or(&opened.labels);
        let packets = work.wrapped(self.rewrapper.wrap(&optsdata, labels, &self.recipients.to))?;
        let (verified, expected) = sealed.verified(work, &opened.optsdata)?;
        let (out, made) = pipe(work, verified, &expected, &optsdata)?;
        Made::keep(work, out, &made, &packets)
    }
}

/// The digest that the layer decrypts to, for the new packets. A tar that is not compressed has the diff id's.
fn plaintext(old: &OptsData, work: &Work<'_>, image: &Image) -> Result<Digest, Error> {
    if let Ok(digest) = old.digest().parse() {
        return Ok(digest);
    }
    let is_tar = media::compression(&work.descriptor.media_type) == Some(media::Compression::None);
    image.config.diff_ids.get(work.name.position - 1).filter(|_| is_tar).cloned().ok_or_else(|| {
        Error::image(
            "its key's packet does not say what it decrypts to; decrypt the image and encrypt it to another place",
        )
    })
}

/// From the old cipher to the new one. The blob counts for nothing before both ends have come out right.
fn pipe<'a>(
    work: &Work<'a>,
    verified: cipher::Verified<'_, Box<dyn crate::ReadAgain + '_>>,
    expected: &Expected,
    optsdata: &OptsData,
) -> Result<(Box<dyn NewBlob + 'a>, Encrypted), Error> {
    let no_pipe = |source| Error::Io { what: "cannot make a pipe".to_owned(), source };
    let (reader, writer) = io::pipe().map_err(no_pipe)?;
    thread::scope(|scope| {
        let place = work.scene.target.place();
        let released = start(scope, move || {
            release(verified.plaintext()?, writer, &place, expected, &mut |n| work.read(n)).map(drop)
        })?;
        // The reader ends with this call, and so does whoever writes to it.
        let made = seal(work, reader, optsdata, |_| Ok(()));
        match ended(released)? {
            // It was not heard any more, and the reason is the other's.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe && made.is_err() => {
                made
            }
            Err(error) => Err(error),
            Ok(()) => made,
        }
    })
}
