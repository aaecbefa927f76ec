use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use holdfast_image::{Digest, Error, Inspected, Progress as _, inspect_root, printable, side_by_side};
use holdfast_registry::{Known, Options, Registry, Repository, Target};
use holdfast_wire::grpc::v1::Key;
use serde_json::{Value, json};

use crate::cli::{Common, ImageInventory};
use crate::daemon;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::known_keys::KnownKeys;
use crate::output::{self, Table};
use crate::place::{AT_A_TIME, Shelf};
use crate::progress::Shown;

/// Tags that are read before what they lead to is counted up: as many manifests are in memory.
const WINDOW: usize = 8 * AT_A_TIME;

pub(crate) fn run(common: &Common, wanted: &ImageInventory) -> Result<(), Failure> {
    let runtime = daemon::runtime()?;
    let interrupt = Interrupt::install(runtime.handle())?;
    let options = wanted.registry.read(runtime.clone(), interrupt.clone())?;
    let needed = wanted.key.as_ref().is_some_and(|key| !key.starts_with("kid:"));
    let keys = KnownKeys::read(common, runtime, interrupt.clone(), wanted.ask, needed)?;
    let key = wanted.key.as_deref().map(|key| named(key, keys.listed().unwrap_or_default())).transpose()?;
    let shown = Shown::new(wanted.progress.quiet, interrupt);
    let mut inventory =
        Inventory { keys, shown: &shown, seen: HashMap::new(), images: Vec::new(), repositories: 0 };
    let read = wanted.places.iter().try_for_each(|place| {
        repositories(place, &options)?.iter().try_for_each(|repository| inventory.add(repository))
    });
    shown.clear();
    read?;
    if let Some(key) = &key {
        inventory.check(key)?;
    }
    inventory.print(common, key.as_ref())
}

/// The repositories of a place.
fn repositories(place: &Shelf, options: &Options) -> Result<Vec<Repository>, Failure> {
    match place {
        Shelf::Host(host) => Ok(Arc::new(Registry::connect(host, options)?).repositories()?),
        Shelf::Repository(name) => {
            let registry = Arc::new(Registry::connect(name.host(), options)?);
            Ok(vec![Repository::new(registry, name.clone())])
        }
    }
}

/// A key that is asked for: what it was called, and the ids that this means.
struct Wanted {
    name: String,
    kids: BTreeSet<String>,
    /// Whether the daemon lists it.
    known: bool,
}

fn named(key: &str, listed: &[Key]) -> Result<Wanted, Failure> {
    let kids: BTreeSet<String> = match key.strip_prefix("kid:") {
        Some(kid) => [kid].into_iter().filter(|kid| !kid.is_empty()).map(str::to_owned).collect(),
        None => {
            let under = listed.iter().filter(|one| one.alias == key && !one.kid.is_empty());
            under.map(|one| one.kid.clone()).collect()
        }
    };
    if kids.is_empty() {
        return Err(Failure::line(format!(
            "no key {} that you may use; holdfast key list shows those you may, and kid:ID names any",
            printable(key)
        )));
    }
    let known = listed.iter().any(|one| kids.contains(&one.kid));
    Ok(Wanted { name: key.to_owned(), kids, known })
}

/// Who opens an image.
#[derive(Clone, Default)]
struct Holders {
    encrypted: usize,
    kids: BTreeSet<String>,
    /// Packets that name no key id and that nobody here opens, by their scheme.
    unnamed: BTreeMap<String, usize>,
    /// Why it is not known of some layer who opens it.
    trouble: Option<String>,
}

impl Holders {
    fn name(&self, key: &Wanted) -> bool {
        !key.kids.is_disjoint(&self.kids)
    }

    /// Whether somebody opens it of whom nothing is known.
    fn is_doubtful(&self) -> bool {
        !self.unnamed.is_empty() || self.trouble.is_some()
    }

    /// Whether nobody's key is needed.
    fn is_clear(&self) -> bool {
        self.encrypted == 0 && self.trouble.is_none()
    }
}

struct Image {
    name: String,
    digest: Digest,
    holders: Holders,
}

/// What a tag leads to.
struct Found {
    name: String,
    digest: Digest,
    what: What,
}

enum What {
    /// A manifest that was looked into before.
    Seen(Holders),
    New(Inspected),
    /// Something that cannot be looked into, and why.
    Odd(String),
}

struct Inventory<'a> {
    keys: KnownKeys,
    shown: &'a Shown,
    /// Tags often lead to one manifest.
    seen: HashMap<Digest, Holders>,
    images: Vec<Image>,
    repositories: usize,
}

impl Inventory<'_> {
    /// Every tag of a repository. One that cannot be read is an error: a list with a gap must not pass for
    /// a whole one.
    fn add(&mut self, repository: &Repository) -> Result<(), Failure> {
        self.repositories += 1;
        let tags = repository.tags()?;
        let counted = self.shown.counted(printable(&format!("tags of {}", repository.name())), tags.len());
        for tags in tags.chunks(WINDOW) {
            let found = side_by_side(tags, AT_A_TIME, |tag| {
                let found = self.found(repository, tag);
                counted.one();
                found
            })?;
            for Found { name, digest, what } in found {
                let holders = match what {
                    What::Seen(holders) => holders,
                    What::New(image) => {
                        self.holders(&image).map_err(|failure| incomplete(&name, &failure))?
                    }
                    What::Odd(trouble) => Holders { trouble: Some(trouble), ..Holders::default() },
                };
                self.seen.insert(digest.clone(), holders.clone());
                self.images.push(Image { name, digest, holders });
            }
        }
        Ok(())
    }

    /// Reads what a tag leads to, unless it is known.
    fn found(&self, repository: &Repository, tag: &str) -> Result<Found, Failure> {
        if self.shown.cancelled() {
            return Err(Failure::line("interrupted; the list is not complete"));
        }
        let name = format!("{}:{tag}", repository.name());
        let manifest = repository
            .manifest(&Target::Tag(tag.to_owned()))
            .map_err(|error| incomplete(&name, &error.into()))?;
        let what = match self.seen.get(&manifest.digest) {
            Some(holders) => What::Seen(holders.clone()),
            None => match inspect_root(&manifest.root(), &Known { repository, root: &manifest }) {
                Ok(image) => What::New(image),
                // It was read, and is something that cannot be looked into: who opens it is not known.
                Err(error @ (Error::Image(_) | Error::Damaged(_))) => What::Odd(error.to_string()),
                Err(error) => return Err(incomplete(&name, &error.into())),
            },
        };
        Ok(Found { name, digest: manifest.digest, what })
    }

    fn holders(&mut self, image: &Inspected) -> Result<Holders, Failure> {
        let mut holders = Holders::default();
        for layer in image.manifests.iter().flat_map(|manifest| &manifest.layers).filter(|one| one.encrypted)
        {
            holders.encrypted += 1;
            if let Some(trouble) = &layer.trouble {
                holders.trouble = Some(trouble.clone());
            }
            for packet in &layer.packets {
                let held = self.keys.holders(&packet.packet)?;
                holders.trouble = held.trouble.or(holders.trouble);
                let ids = held.kids;
                let unnamed = ids.iter().filter(|id| id.is_none()).count();
                holders.kids.extend(ids.into_iter().flatten());
                if unnamed > 0 {
                    *holders.unnamed.entry(packet.packet.scheme.clone()).or_default() += unnamed;
                }
            }
        }
        Ok(holders)
    }

    /// A key id that nobody knows is mistyped, or cut, before it is one that no image needs.
    fn check(&self, key: &Wanted) -> Result<(), Failure> {
        if key.known || self.images.iter().any(|image| image.holders.name(key)) {
            return Ok(());
        }
        Err(Failure::line(format!(
            "{} is the id of no key that you may use, and none of {} names it; give it whole, as holdfast key list or an inventory without --key prints it",
            printable(&key.name),
            self.read()
        )))
    }

    /// What was looked at.
    fn read(&self) -> String {
        format!(
            "{} in {}",
            many(self.images.len(), "tag", "tags"),
            many(self.repositories, "repository", "repositories")
        )
    }

    fn print(&self, common: &Common, key: Option<&Wanted>) -> Result<(), Failure> {
        let asked = |image: &&Image| match key {
            Some(key) => image.holders.name(key) || image.holders.is_doubtful(),
            None => !image.holders.is_clear(),
        };
        let shown: Vec<&Image> = self.images.iter().filter(asked).collect();
        if common.json {
            let images: Vec<Value> = shown.iter().map(|image| document(image, &self.keys)).collect();
            output::print_json(&json!({
                "repositories": self.repositories,
                "tags": self.images.len(),
                "key": key.map(|key| &key.name),
                "unnamed": self.doubtful(),
                "images": images,
            }))?;
            return Ok(());
        }
        let mut text = String::new();
        if !shown.is_empty() {
            let mut table = Table::new(&["IMAGE", "DIGEST", "ENCRYPTED LAYERS", "KEYS", "WITHOUT KEY ID"]);
            for image in &shown {
                let holders = &image.holders;
                let keys: Vec<String> = holders.kids.iter().map(|kid| called(kid, &self.keys)).collect();
                let unnamed: Vec<String> =
                    holders.unnamed.iter().map(|(scheme, count)| format!("{count} {scheme}")).collect();
                table.row(&[
                    &image.name,
                    &image.digest.short(),
                    &holders.encrypted.to_string(),
                    &keys.join(", "),
                    holders.trouble.as_ref().unwrap_or(&unnamed.join(", ")),
                ]);
            }
            text = table.text();
        }
        text.push_str(&self.verdict(key));
        output::print(&text)?;
        Ok(())
    }

    /// "None" is said only if nobody could be the key in question who is not told.
    fn verdict(&self, key: Option<&Wanted>) -> String {
        let read = format!("{}, all read", self.read());
        let Some(key) = key else {
            let clear = self.images.iter().filter(|image| image.holders.is_clear()).count();
            return match clear {
                0 => format!("{read}\n"),
                some => format!("{read}; in {some} nothing is encrypted\n"),
            };
        };
        let name = printable(&key.name);
        let named = self.images.iter().filter(|image| image.holders.name(key)).count();
        match (named, self.doubtful()) {
            (0, 0) => format!("none needs {name} ({read})\n"),
            (some, 0) => format!("{some} need {name} ({read})\n"),
            (some, doubtful) => format!(
                "{some} name {name}; of {doubtful} it is not known who opens them all: {} ({read})\n",
                match self.keys.asks() {
                    true => "the daemon was asked too, and they may need any key",
                    false => "--ask has the daemon try recipients that name no key id",
                }
            ),
        }
    }

    /// Images of which it is not known who opens them.
    fn doubtful(&self) -> usize {
        self.images.iter().filter(|image| image.holders.is_doubtful()).count()
    }
}

/// The id as `--key` takes it, and the alias of a key that the daemon knows.
fn called(kid: &str, keys: &KnownKeys) -> String {
    match keys.find(kid) {
        Some(key) => format!("{} (kid:{kid})", key.alias),
        None => format!("kid:{kid}"),
    }
}

fn incomplete(name: &str, failure: &Failure) -> Failure {
    Failure::line(format!("{name}: {failure}; the list is not complete"))
}

fn many(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn document(image: &Image, known: &KnownKeys) -> Value {
    let keys = image.holders.kids.iter().map(|kid| {
        let alias = known.find(kid).map(|key| &key.alias);
        json!({"kid": kid, "alias": alias})
    });
    json!({
        "image": image.name,
        "digest": image.digest.to_string(),
        "encryptedLayers": image.holders.encrypted,
        "keys": keys.collect::<Vec<_>>(),
        "withoutKeyId": image.holders.unnamed,
        "trouble": image.holders.trouble,
    })
}
