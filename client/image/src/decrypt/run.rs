//! Layers side by side, results in order, and one failure ends them all.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::layer::{Job, decrypt_layer};
use super::{DecryptedLayer, LayerName, Opener, Progress};
use crate::layout::Layout;
use crate::staging::Staging;
use crate::tree::{Image, Node};
use crate::{Error, printable};

/// Most layers at once: more only compete for the disk, and each has a call at the HSM.
const MAX_PARALLEL: usize = 4;

/// Decrypts or copies all layers of all images. Gives them image by image, in order.
pub(super) fn all(
    layout: &Layout,
    staging: &Staging,
    images: &[(&Node, &Image)],
    opener: &dyn Opener,
    progress: &dyn Progress,
) -> Result<Vec<Vec<DecryptedLayer>>, Error> {
    let stop = AtomicBool::new(false);
    let mut jobs = Vec::new();
    for (_, image) in images {
        for (i, descriptor) in image.manifest.layers.iter().enumerate() {
            jobs.push(Job {
                name: LayerName {
                    platform: platform_name(image, images.len()),
                    position: i + 1,
                    of: image.manifest.layers.len(),
                    digest: descriptor.digest.clone(),
                    number: jobs.len(),
                },
                descriptor,
                image,
                layout,
                staging,
                opener,
                progress,
                stop: &stop,
            });
        }
    }
    let mut results = in_parallel(&jobs, &stop);

    // The failure that stopped the others comes before those that were stopped.
    let stopped = |result: &Result<_, Error>| result.as_ref().is_err_and(Error::is_cancelled);
    if results.iter().any(|result| result.is_err() && !stopped(result)) {
        results.retain(|result| !stopped(result));
    }
    let mut layers = results.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter();
    Ok(images.iter().map(|(_, image)| layers.by_ref().take(image.manifest.layers.len()).collect()).collect())
}

fn in_parallel(jobs: &[Job<'_>], stop: &AtomicBool) -> Vec<Result<DecryptedLayer, Error>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        while let Some((number, job)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(number).map(|job| (number, job))
        } {
            let result = decrypt_layer(job);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            results.push((number, result));
        }
    };
    let workers = thread::available_parallelism().map_or(2, NonZero::get).clamp(2, MAX_PARALLEL);
    thread::scope(|scope| {
        for _ in 1..workers.min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

fn platform_name(image: &Image, manifests: usize) -> Option<String> {
    let platform = image.platform.as_ref().filter(|_| manifests > 1)?;
    Some(printable(&platform.to_string()))
}
