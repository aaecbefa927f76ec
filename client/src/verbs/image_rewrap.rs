use std::io::Write as _;

use holdfast_image::{
    Change, Identity, Platform, Rewrapped, Rewrapper, Wish, printable, rewrap, rewrap_layout, rewrap_to,
};
use holdfast_registry::{Options, Reference, Referrer, Repository, Target, is_referrers_tag};
use serde_json::{Value, json};

use super::image_encrypt::labels;
use super::image_reencrypt;
use crate::cli::{Common, ImageRewrap};
use crate::daemon::{self, Daemon};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::place::{self, Place, Registries};
use crate::recipients::Recipients;
use crate::rewrapper::ThroughDaemon;

pub(crate) fn run(common: &Common, wanted: &ImageRewrap) -> Result<(), Failure> {
    if wanted.reencrypt && wanted.to.is_empty() {
        return Err(Failure::line(
            "new keys cannot be given to those who are named in the image by a key id alone; name all who shall open it with --to, in place of --add and --remove",
        ));
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
    if let (Place::Layout(_), true) = (&wanted.image, wanted.all_tags || wanted.dry_run) {
        return Err(Failure::line(
            "--all-tags and --dry-run are for images in a registry; name one image of a layout, oci:DIR:TAG",
        ));
    }
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
    match &wanted.image {
        Place::Layout(image) => {
            let done = Done {
                name: image.to_string(),
                rewrapped: rewrap_layout(image, &wish, &through)?,
                referrers: Vec::new(),
                written: true,
                removing: !wanted.remove.is_empty(),
            };
            report(common, &[Ok(done.told())])
        }
        Place::Registry(reference) => {
            let options = wanted.registry.read(runtime, interrupt.clone())?;
            let repository = place::repository(reference, &options)?;
            let targets =
                if wanted.all_tags { all(reference, &repository)? } else { vec![reference.clone()] };
            let work = InRegistry { repository: &repository, wish: &wish, through: &through, wanted };
            let mut results = Vec::new();
            for target in targets {
                // What was done is told, also when the rest is not done any more.
                if interrupt.has_come() {
                    results.push(Err(NotDone { name: target.to_string(), why: "interrupted".to_owned() }));
                } else {
                    results.push(work.one(&target).map(|done| done.told()));
                }
            }
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
    let referrers = repository.referrers(&repository.manifest(&from.target)?.digest)?;
    let source = registries.source(image, &std::env::temp_dir())?;
    let rewrapped = rewrap_to(&*source, &*registries.target(target)?, wish, through)?;
    Ok(Done { name: target.to_string(), rewrapped, referrers, written: true, removing: false })
}

/// Every tag of the repository, in place of the reference's own.
pub(super) fn all(reference: &Reference, repository: &Repository) -> Result<Vec<Reference>, Failure> {
    let tags = repository.tags()?.into_iter().filter(|tag| !is_referrers_tag(tag));
    Ok(tags.map(|tag| Reference { target: Target::Tag(tag), ..reference.clone() }).collect())
}

/// An image with the recipients that were wished for.
struct Done {
    name: String,
    rewrapped: Rewrapped,
    /// What still refers to the manifest that it was.
    referrers: Vec<Referrer>,
    written: bool,
    /// Whether somebody was to go.
    removing: bool,
}

impl Done {
    fn told(&self) -> Told {
        Told { text: text(self), json: document(self) }
    }
}

/// What is told of an image that is as was wished for.
pub(super) struct Told {
    pub(super) text: String,
    pub(super) json: Value,
}

/// An image that is as it was.
pub(super) struct NotDone {
    pub(super) name: String,
    pub(super) why: String,
}

struct InRegistry<'a> {
    repository: &'a Repository,
    wish: &'a Wish,
    through: &'a dyn Rewrapper,
    wanted: &'a ImageRewrap,
}

impl InRegistry<'_> {
    fn one(&self, reference: &Reference) -> Result<Done, NotDone> {
        self.rewrapped(&reference.target)
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
        let made = rewrap(self.repository, &manifest.root(), self.wish, self.through)?;
        let Some((root, inner)) = made.documents.split_last() else {
            return Ok((made, Vec::new()));
        };
        let referrers = self.repository.referrers(&manifest.digest)?;
        if self.wanted.dry_run {
            return Ok((made, referrers));
        }
        for document in inner {
            self.repository.put(&document.media_type, &document.bytes)?;
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
}

fn report(common: &Common, results: &[Result<Told, NotDone>]) -> Result<(), Failure> {
    if common.json {
        let json = |result: &Result<Told, NotDone>| match result {
            Ok(told) => told.json.clone(),
            Err(NotDone { name, why }) => json!({"image": name, "error": why}),
        };
        let images: Vec<Value> = results.iter().map(json).collect();
        output::print_json(&json!({ "images": images }))?;
    } else {
        let done = results.iter().filter_map(|result| result.as_ref().ok());
        let text: String = done.map(|told| told.text.as_str()).collect();
        output::print(&text)?;
    }
    let failed: Vec<&NotDone> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    match failed.as_slice() {
        [] => Ok(()),
        [only] if results.len() == 1 => Err(Failure::line(format!("{}: {}", only.name, only.why))),
        several => {
            for one in several {
                // Nowhere is left to tell that stderr cannot be written.
                let _ = writeln!(std::io::stderr(), "holdfast: {}: {}", one.name, printable(&one.why));
            }
            Err(Failure::line(format!(
                "{} of {} images are as they were; run again, and what is done already is passed over",
                several.len(),
                results.len()
            )))
        }
    }
}

fn text(done: &Done) -> String {
    let Done { name, rewrapped, referrers, written, removing } = done;
    let layers = rewrapped.layers().count();
    let mut text = match (rewrapped.changed_layers(), layers) {
        (0, 0) => format!("{name} has no encrypted layer"),
        (0, _) => format!("{name} is {} and has these recipients already", rewrapped.root.digest),
        (changed, _) if *written => {
            format!("{name} is {}: {changed} of {layers} layers re-wrapped", rewrapped.root.digest)
        }
        // Its digest would be another one each time.
        (changed, _) => format!("{name}: {changed} of {layers} layers would be re-wrapped"),
    };
    if *removing && rewrapped.layers().all(|layer| layer.removed == 0) {
        text.push_str("; of those to be removed nobody is among its recipients");
    }
    let unnamed = rewrapped.layers().filter(|layer| layer.unnamed > 0).count();
    if unnamed > 0 {
        text.push_str(&format!("; {unnamed} still have recipients that name no key id"));
    }
    text.push('\n');
    if *written && rewrapped.layers().any(|layer| layer.removed > 0) {
        text.push_str(
            "  who kept layers' keys or the old manifest can still open it; --reencrypt makes new keys\n",
        );
    }
    text.push_str(&to_be_made_again(referrers));
    text
}

/// A line for each.
pub(super) fn to_be_made_again(referrers: &[Referrer]) -> String {
    let line = |referrer: &Referrer| {
        let (place, kind) = (printable(&referrer.place), printable(&referrer.kind));
        format!("  to be made again for the new digest: {place} ({kind})\n")
    };
    referrers.iter().map(line).collect()
}

fn document(done: &Done) -> Value {
    let manifests = done.rewrapped.manifests.iter().map(|manifest| {
        let layers = manifest.layers.iter().map(|layer| {
            json!({
                "digest": layer.digest.to_string(),
                "added": layer.added.iter().map(Identity::to_string).collect::<Vec<_>>(),
                "removed": layer.removed,
                "unnamed": layer.unnamed,
            })
        });
        json!({
            "platform": manifest.platform.as_ref().map(Platform::to_string),
            "source": manifest.source.to_string(),
            "digest": manifest.digest.to_string(),
            "layers": layers.collect::<Vec<_>>(),
        })
    });
    json!({
        "image": done.name,
        "digest": done.rewrapped.root.digest.to_string(),
        "written": done.written && !done.rewrapped.documents.is_empty(),
        "manifests": manifests.collect::<Vec<_>>(),
        "referrers": referrers_json(&done.referrers),
    })
}

pub(super) fn referrers_json(referrers: &[Referrer]) -> Value {
    referrers.iter().map(|one| json!({"place": one.place, "kind": one.kind})).collect()
}
