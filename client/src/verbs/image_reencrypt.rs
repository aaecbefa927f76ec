//! `image rewrap --reencrypt`: new keys for every encrypted layer, for one image or every tag of a repository.

use std::collections::HashMap;
use std::path::PathBuf;

use holdfast_image::{
    Digest, Nowhere, Progress as _, Recipients, Source as _, Wish, Written, inspect_root, reencrypt,
};
use holdfast_registry::{Known, Options, Pulled, Pushed, Reference, Referrer, Repository, Target};
use serde_json::json;

use super::image_rewrap::all;
use super::image_rewrap::told::{NotDone, Told, referrers_json, to_be_made_again};
use super::written::document;
use crate::cli::ImageRewrap;
use crate::failure::Failure;
use crate::place::{Place, Registries};
use crate::progress::Shown;
use crate::rewrapper::ThroughDaemon;

pub(super) fn run(
    wanted: &ImageRewrap,
    options: Options,
    wish: Wish,
    through: &ThroughDaemon<'_>,
) -> Result<Vec<Result<Told, NotDone>>, Failure> {
    let recipients = Recipients { to: wish.to, labels: wish.labels };
    let tmpdir = wanted.tmpdir.clone().unwrap_or_else(std::env::temp_dir);
    let mut registries = Registries::new(options);
    let shown = Shown::new(wanted.progress.quiet, through.interrupt.clone());
    // Onto itself is in place: a tag that moves meanwhile must be left there too.
    let target = wanted.target.as_ref().filter(|target| target.to_string() != wanted.image.to_string());
    let results = match (&wanted.image, target) {
        (Place::Registry(reference), None) => {
            let repository = registries.repository(reference)?;
            let targets =
                if wanted.all_tags { all(reference, &repository)? } else { vec![reference.clone()] };
            let known = HashMap::new();
            let mut work = InPlace { wanted, repository, tmpdir, recipients, through, shown: &shown, known };
            targets.iter().map(|target| work.one(target)).collect()
        }
        (image, target) => {
            let target = target.unwrap_or(image);
            let referrers = match image {
                Place::Registry(reference) => {
                    let repository = registries.repository(reference)?;
                    repository.referrers(&repository.manifest(&reference.target())?.digest)?
                }
                _ => Vec::new(),
            };
            let source = registries.source(image, &tmpdir)?;
            let to: Box<dyn holdfast_image::Target> = match wanted.dry_run {
                true => Box::new(Nowhere(source.location())),
                false => registries.target(target)?,
            };
            let made = reencrypt(&*source, &*to, &recipients, through, wanted.jobs, &shown);
            shown.clear();
            vec![Ok(told(target, &made?, &referrers, through, wanted.dry_run))]
        }
    };
    match results.iter().all(Result::is_ok) {
        true => shown.end(),
        false => shown.clear(),
    }
    Ok(results)
}

/// Images whose tags come to lead to what is made of them.
struct InPlace<'a> {
    wanted: &'a ImageRewrap,
    repository: Repository,
    tmpdir: PathBuf,
    recipients: Recipients,
    through: &'a ThroughDaemon<'a>,
    shown: &'a Shown,
    /// What was made of a manifest: tags of one image stay tags of one image.
    known: HashMap<Digest, Written>,
}

impl InPlace<'_> {
    fn one(&mut self, reference: &Reference) -> Result<Told, NotDone> {
        let done = if self.shown.cancelled() {
            Err(Failure::line("interrupted"))
        } else {
            self.reencrypted(&reference.target())
        };
        let place = Place::Registry(reference.clone());
        done.map(|done| match done {
            Some((made, referrers)) => told(&place, &made, &referrers, self.through, self.wanted.dry_run),
            None => Told {
                text: format!("{place} has no encrypted layer\n"),
                json: json!({"image": place.to_string(), "written": false}),
            },
        })
        .map_err(|failure| NotDone { name: reference.to_string(), why: failure.to_string() })
    }

    /// None: nothing in it is encrypted.
    fn reencrypted(&mut self, target: &Target) -> Result<Option<(Written, Vec<Referrer>)>, Failure> {
        let repository = &self.repository;
        let was = repository.manifest(target)?;
        let image = inspect_root(&was.root(), &Known { repository, root: &was })?;
        if !image.manifests.iter().flat_map(|manifest| &manifest.layers).any(|layer| layer.encrypted) {
            return Ok(None);
        }
        // Told before anything is moved, as is a target that no tag leads to.
        let referrers = repository.referrers(&was.digest)?;
        let to = Pushed::new(repository.clone(), target)?.instead_of(was.digest.clone());
        let from = Pulled::new(repository.clone(), Target::Digest(was.digest.clone()), &self.tmpdir);
        let known = self.known.get(&was.digest).cloned();
        let made = match (known, target) {
            (Some(made), Target::Tag(tag)) => {
                if !self.wanted.dry_run {
                    let new = repository.manifest(&Target::Digest(made.digest.clone()))?;
                    repository.tag(tag, Some(&was.digest), &new.media_type, &new.bytes)?;
                }
                made
            }
            _ if self.wanted.dry_run => reencrypt(
                &from,
                &Nowhere(from.location()),
                &self.recipients,
                self.through,
                self.wanted.jobs,
                self.shown,
            )?,
            _ => reencrypt(&from, &to, &self.recipients, self.through, self.wanted.jobs, self.shown)?,
        };
        self.known.insert(was.digest, made.clone());
        Ok(Some((made, referrers)))
    }
}

fn told(
    place: &Place,
    made: &Written,
    referrers: &[Referrer],
    through: &ThroughDaemon<'_>,
    dry_run: bool,
) -> Told {
    let (changed, layers) = (made.changed_layers(), made.layers().count());
    let line = if dry_run {
        // Its digest would be another one each time.
        format!("{place}: {changed} of {layers} layers would be encrypted anew\n")
    } else {
        format!("{place} is {}: {changed} of {layers} layers encrypted anew, with new keys\n", made.digest)
    };
    let mut json = document(place, made, through.recipients.told(), "reencrypted");
    json["image"] = place.to_string().into();
    json["written"] = (!dry_run).into();
    json["referrers"] = referrers_json(referrers);
    Told { text: line + &to_be_made_again(referrers), json }
}
