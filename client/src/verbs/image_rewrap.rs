pub(super) mod told;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use holdfast_image::{
    Change, Digest, Progress as _, Rewrapped, Rewrapper, Wish, printable, rewrap, rewrap_dry, rewrap_layout,
    rewrap_to, side_by_side,
};
use holdfast_registry::{Known, Manifest, Options, Reference, Referrer, Repository, Target};

use self::told::{Done, NotDone, Told, report};

use super::image_encrypt::labels;
use super::image_reencrypt;
use crate::cli::{Common, ImageRewrap};
use crate::daemon::{self, Daemon};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::place::{self, AT_A_TIME, Place, Registries};
use crate::progress::Shown;
use crate::recipients::Recipients;
use crate::rewrapper::ThroughDaemon;

pub(crate) fn run(common: &Common, wanted: &ImageRewrap) -> Result<(), Failure> {
    if wanted.reencrypt && wanted.to.is_empty() {
        return Err(Failure::line(
            "new keys cannot be given to those who are named in the image by a key id alone; name all who shall open it with --to, in place of --add and --remove",
        ));
    }
    match &wanted.image {
        Place::Registry(Reference { target: Some(target), .. }) if wanted.all_tags => {
            return Err(Failure::line(format!(
                "--all-tags means every tag of the repository, and {target} names one; leave out the one or the other"
            )));
        }
        Place::Registry(_) => {}
        _ if wanted.all_tags => {
            return Err(Failure::line(
                "--all-tags is for a repository, docker://HOST/REPOSITORY; here, name one image",
            ));
        }
        Place::OciArchive(_) | Place::DockerArchive(_) if !wanted.reencrypt && !wanted.dry_run => {
            return Err(Failure::line(
                "an archive is written once; copy the image to a layout or a registry (skopeo copy), and rewrap it there",
            ));
        }
        _ => {}
    }
    let typed = if wanted.to.is_empty() { &wanted.add } else { &wanted.to };
    let labels = labels(&wanted.labels)?;
    let recipients = Recipients::read(typed, labels.clone())?;
    let runtime = daemon::runtime()?;
    let interrupt = Interrupt::install(runtime.handle())?;
    let daemon = Daemon::connect_on(common, runtime.clone())?;
    let listed = daemon.keys()?;
    let mut without = Vec::new();
    for one in &wanted.remove {
        without.extend(one.identities(&listed)?);
    }
    let wish = Wish {
        change: if wanted.to.is_empty() { Change::Keep { without } } else { Change::Replace },
        to: recipients.identities(&listed)?,
        labels: (!wanted.labels.is_empty()).then_some(labels),
    };
    let through = ThroughDaemon {
        daemon: &daemon,
        listed: &listed,
        recipients: &recipients,
        interrupt: interrupt.clone(),
    };
    if wanted.reencrypt {
        let options = wanted.registry.read(runtime, interrupt)?;
        return report(common, &image_reencrypt::run(wanted, options, wish, &through)?);
    }
    if let Some(target) = &wanted.target {
        let options = wanted.registry.read(runtime, interrupt)?;
        let done = elsewhere(&wanted.image, target, options, &wish, &through)?;
        return report(common, &[Ok(done.told())]);
    }
    let here = |rewrapped: Rewrapped| Done {
        name: wanted.image.to_string(),
        rewrapped,
        referrers: Vec::new(),
        written: !wanted.dry_run,
        removing: !wanted.remove.is_empty(),
    };
    match &wanted.image {
        Place::Layout(image) if !wanted.dry_run => {
            report(common, &[Ok(here(rewrap_layout(image, &wish, &through)?).told())])
        }
        image @ (Place::Layout(_) | Place::OciArchive(_) | Place::DockerArchive(_)) => {
            let options = wanted.registry.read(runtime, interrupt)?;
            let source = Registries::new(options).source(image, &std::env::temp_dir())?;
            report(common, &[Ok(here(rewrap_dry(&*source, &wish, &through)?).told())])
        }
        Place::Registry(reference) => {
            let options = wanted.registry.read(runtime, interrupt.clone())?;
            let repository = place::repository(reference, &options)?;
            let targets =
                if wanted.all_tags { all(reference, &repository)? } else { vec![reference.clone()] };
            let shown = Shown::new(wanted.progress.quiet, interrupt);
            let made = Mutex::default();
            let work = InRegistry { repository: &repository, wish: &wish, through: &through, wanted, made };
            let results = work.every(&targets, &shown);
            shown.clear();
            report(common, &results)
        }
    }
}

/// Leaves the image as it is, and writes another in the same registry.
fn elsewhere(
    image: &Place,
    target: &Place,
    options: Options,
    wish: &Wish,
    through: &dyn Rewrapper,
) -> Result<Done, Failure> {
    let from = match (image, target) {
        (Place::Registry(one), Place::Registry(other))
            if one.repository.host() == other.repository.host() =>
        {
            one
        }
        _ => {
            return Err(Failure::line(
                "an image is re-wrapped to another place of its own registry only, as no layer is moved; copy it first (skopeo copy), and rewrap it there",
            ));
        }
    };
    let mut registries = Registries::new(options);
    let repository = registries.repository(from)?;
    let referrers = repository.referrers(&repository.manifest(&from.target())?.digest)?;
    let source = registries.source(image, &std::env::temp_dir())?;
    let rewrapped = rewrap_to(&*source, &*registries.target(target)?, wish, through)?;
    Ok(Done { name: target.to_string(), rewrapped, referrers, written: true, removing: false })
}

/// Every tag of the repository.
pub(super) fn all(reference: &Reference, repository: &Repository) -> Result<Vec<Reference>, Failure> {
    let one = |tag| Reference { target: Some(Target::Tag(tag)), ..reference.clone() };
    Ok(repository.tags()?.into_iter().map(one).collect())
}

/// Made by the first who needs it, and waited for by the others.
type Once = OnceLock<Result<Rewrapped, String>>;

struct InRegistry<'a> {
    repository: &'a Repository,
    wish: &'a Wish,
    through: &'a (dyn Rewrapper + Sync),
    wanted: &'a ImageRewrap,
    /// What was made of a manifest, or why nothing: tags of one image stay tags of one image.
    made: Mutex<HashMap<Digest, Arc<Once>>>,
}

impl InRegistry<'_> {
    /// What was done is told, also when the rest is not done any more.
    fn every(&self, targets: &[Reference], shown: &Shown) -> Vec<Result<Told, NotDone>> {
        let counted = (targets.len() > 1)
            .then(|| shown.counted(printable(&format!("tags of {}", self.repository.name())), targets.len()));
        let Ok::<_, Infallible>(results) = side_by_side(targets, AT_A_TIME, |target| {
            let done = match shown.cancelled() {
                true => Err(NotDone { name: target.to_string(), why: "interrupted".to_owned() }),
                false => self.one(target).map(|done| done.told()),
            };
            if let Some(counted) = &counted {
                counted.one();
            }
            Ok(done)
        });
        results
    }

    fn one(&self, reference: &Reference) -> Result<Done, NotDone> {
        self.rewrapped(&reference.target())
            .map(|(rewrapped, referrers)| Done {
                name: reference.to_string(),
                rewrapped,
                referrers,
                written: !self.wanted.dry_run,
                removing: !self.wanted.remove.is_empty(),
            })
            .map_err(|failure| NotDone { name: reference.to_string(), why: failure.to_string() })
    }

    fn rewrapped(&self, target: &Target) -> Result<(Rewrapped, Vec<Referrer>), Failure> {
        let manifest = self.repository.manifest(target)?;
        let once = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.entry(manifest.digest.clone()).or_default().clone()
        };
        let make = || self.make(&manifest).map_err(|failure| failure.to_string());
        let made = once.get_or_init(make).clone().map_err(Failure::line)?;
        let Some(root) = made.documents.last() else {
            return Ok((made, Vec::new()));
        };
        let referrers = self.repository.referrers(&manifest.digest)?;
        if self.wanted.dry_run {
            return Ok((made, referrers));
        }
        // Last, so that a tag never leads to something that is not all there.
        match target {
            Target::Tag(tag) => {
                self.repository.tag(tag, Some(&manifest.digest), &root.media_type, &root.bytes)?;
            }
            Target::Digest(_) => self.repository.put(&root.media_type, &root.bytes)?,
        }
        Ok((made, referrers))
    }

    /// All that a tag may lead to then is written.
    fn make(&self, manifest: &Manifest) -> Result<Rewrapped, Failure> {
        let known = Known { repository: self.repository, root: manifest };
        let made = rewrap(&known, &manifest.root(), self.wish, self.through)?;
        if let Some((_, inner)) = made.documents.split_last()
            && !self.wanted.dry_run
        {
            for document in inner {
                self.repository.put(&document.media_type, &document.bytes)?;
            }
        }
        Ok(made)
    }
}
