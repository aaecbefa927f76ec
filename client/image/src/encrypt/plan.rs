//! Which layers are encrypted, which copied, and which of them are one blob: all that can be refused
//! without reading a layer or asking anybody for a key.

use std::collections::HashMap;

use super::layer::{Job, Made};
use super::{Selection, Wrapper};
use crate::error::shown;
use crate::tree::{Image, Node};
use crate::work::{self, Scene, Work};
use crate::written::NewLayer;
use crate::{Digest, Error, Platform, media, tree};

/// What is done with the layers of an image.
pub(super) struct Plan<'a> {
    images: &'a [(&'a Node, &'a Image)],
    jobs: Vec<Task>,
    /// Each layer's job, image by image: layers with the same blob and the same fate share one.
    jobs_of: Vec<Vec<usize>>,
}

/// What is done with one blob, told by the first layer that it belongs to.
struct Task {
    image: usize,
    layer: usize,
    encrypt: bool,
}

pub(super) fn of<'a>(images: &'a [(&'a Node, &'a Image)], selection: &Selection) -> Result<Plan<'a>, Error> {
    for wanted in &selection.platforms {
        if !images.iter().any(|(_, image)| fits(image, wanted)) {
            return Err(tree::no_such_platform(wanted, images.iter().map(|(_, image)| *image)));
        }
    }
    let mut known: HashMap<(&Digest, u64, bool), usize> = HashMap::new();
    let mut plan = Plan { images, jobs: Vec::new(), jobs_of: Vec::new() };
    for (number, (node, image)) in images.iter().enumerate() {
        let chosen = chosen(node, image, selection)?;
        let mut of_image = Vec::new();
        for (at, (layer, encrypt)) in image.manifest.layers.iter().zip(chosen).enumerate() {
            let job = *known.entry((&layer.digest, layer.size, encrypt)).or_insert_with(|| {
                plan.jobs.push(Task { image: number, layer: at, encrypt });
                plan.jobs.len() - 1
            });
            of_image.push(job);
        }
        plan.jobs_of.push(of_image);
    }
    if !plan.jobs.iter().any(|task| task.encrypt) {
        return Err(Error::Reference(
            "nothing of the image can be encrypted: it has no layer that is a tar archive".to_owned(),
        ));
    }
    Ok(plan)
}

impl<'a> Plan<'a> {
    pub(super) fn jobs(&self, scene: Scene<'a>, wrapper: &'a dyn Wrapper) -> Vec<Job<'a>> {
        let jobs = self.jobs.iter().enumerate().map(|(number, task)| {
            let image = self.images[task.image].1;
            let name = work::name(image, task.layer, self.images.len(), number);
            let work = Work { name, descriptor: &image.manifest.layers[task.layer], scene };
            Job { work, wrapper: task.encrypt.then_some(wrapper) }
        });
        jobs.collect()
    }

    /// The layers of each image, from what came of the jobs.
    pub(super) fn layers(&self, made: &[Made]) -> Vec<Vec<NewLayer>> {
        let images = self.images.iter().zip(&self.jobs_of);
        images
            .map(|((_, image), jobs)| {
                let layers = image.manifest.layers.iter().zip(jobs);
                layers.map(|(layer, job)| made[*job].layer(layer)).collect()
            })
            .collect()
    }
}

fn fits(image: &Image, wanted: &Platform) -> bool {
    image.platform.as_ref().is_some_and(|platform| platform.satisfies(wanted))
}

/// For each layer of an image, whether it is encrypted.
fn chosen(node: &Node, image: &Image, selection: &Selection) -> Result<Vec<bool>, Error> {
    let layers = &image.manifest.layers;
    let is_tar = |at: usize| media::compression(&layers[at].media_type).is_some();
    let wanted = selection.platforms.is_empty() || selection.platforms.iter().any(|one| fits(image, one));
    // What has no archive at all, such as the attestations that buildx puts beside the images, has
    // nothing that anybody would open.
    if !wanted || !(0..layers.len()).any(is_tar) {
        return Ok(vec![false; layers.len()]);
    }
    let mut chosen: Vec<bool> =
        (0..layers.len()).map(|at| selection.layers.is_empty() && is_tar(at)).collect();
    for &number in &selection.layers {
        let at = place(number, layers.len()).ok_or_else(|| no_such_layer(number, image))?;
        if !is_tar(at) {
            return Err(Error::Reference(format!(
                "layer {number} of the image for {} is no tar archive but {}, which nobody would open; choose other layers",
                tree::name(image),
                shown(&layers[at].media_type)
            )));
        }
        chosen[at] = true;
    }
    let again = layers.iter().zip(&chosen).position(|(layer, chosen)| *chosen && layer.is_encrypted());
    if let Some(at) = again {
        return Err(Error::Reference(format!(
            "layer {} of {} for {} ({}) is encrypted already and would stay closed to the new recipients; decrypt the image first, or choose the layers that are not encrypted",
            at + 1,
            layers.len(),
            tree::name(image),
            layers[at].digest.short()
        )));
    }
    if media::is_docker_manifest(&node.descriptor.media_type) {
        return Err(Error::image(
            "the image's manifest is Docker's, which has no place for an encrypted layer's key; make it an OCI image first: skopeo copy --format oci",
        ));
    }
    Ok(chosen)
}

fn place(number: i32, layers: usize) -> Option<usize> {
    let at = match usize::try_from(number) {
        Ok(at) => at,
        Err(_) => layers.checked_sub(number.unsigned_abs() as usize)?,
    };
    (at < layers).then_some(at)
}

fn no_such_layer(number: i32, image: &Image) -> Error {
    let count = image.manifest.layers.len();
    Error::Reference(format!(
        "there is no layer {number} in the image for {}: it has {count}, from 0 to {}, or from -1 back to -{count}",
        tree::name(image),
        count.saturating_sub(1)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_count_from_0_and_back_from_minus_1() {
        for (number, at) in [(0, Some(0)), (2, Some(2)), (3, None), (-1, Some(2)), (-3, Some(0)), (-4, None)]
        {
            assert_eq!(place(number, 3), at, "{number}");
        }
        assert_eq!(place(i32::MIN, 3), None);
        assert_eq!(place(i32::MAX, 3), None);
    }
}
