//! One layer's annotations.

use serde_json::{Map, Value};

use super::recipients::Listed;
use super::{Change, Opened, RewrappedLayer, Rewrapper, Wish};
use crate::descriptor::Descriptor;
use crate::{Error, Identity, Packet, annotations};

/// What became of a layer.
#[derive(Clone)]
pub(super) struct Rewrapped {
    pub(super) told: RewrappedLayer,
    /// None: as they were.
    annotations: Option<Map<String, Value>>,
}

impl Rewrapped {
    /// What stands in the manifest for a layer with these annotations.
    pub(super) fn entry(&self, descriptor: &Descriptor) -> Map<String, Value> {
        let mut entry = descriptor.json().clone();
        if let Some(annotations) = &self.annotations {
            entry.insert("annotations".into(), annotations.clone().into());
        }
        entry
    }
}

pub(super) fn rewrap(
    descriptor: &Descriptor,
    old: &Map<String, Value>,
    wish: &Wish,
    rewrapper: &dyn Rewrapper,
) -> Result<Rewrapped, Error> {
    let packets = annotations::packets(old)?;
    let mut opened = None;
    let (kept, removed) = keep(&packets, wish, rewrapper, &mut opened)?;
    let there = || kept.iter().flat_map(|listed| &listed.recipients);
    let is_new = |one: &&Identity| !there().any(|known| one.is_there_as(known));
    let added: Vec<Identity> = wish.to.iter().filter(is_new).cloned().collect();
    let wished = |known: &Identity| wish.to.iter().any(|one| one.is_there_as(known));
    let unnamed = there().filter(|known| known.kid.is_none() && !wished(known)).count();
    let mut result: Vec<Packet> = kept.into_iter().map(|listed| listed.packet).collect();
    if !added.is_empty() {
        result.extend(wrap(&packets, opened, &added, wish, rewrapper)?);
    }
    if result.is_empty() {
        return Err(Error::Reference(
            "nobody would be able to open it any more; give it another recipient too".to_owned(),
        ));
    }
    let told = RewrappedLayer { digest: descriptor.digest.clone(), added, removed, unnamed };
    let annotations = told.is_changed().then(|| with_packets(old, &result));
    Ok(Rewrapped { told, annotations })
}

/// The packets that stay, with who stays in them, and how many recipients went.
fn keep(
    packets: &[Packet],
    wish: &Wish,
    rewrapper: &dyn Rewrapper,
    opened: &mut Option<Opened>,
) -> Result<(Vec<Listed>, usize), Error> {
    let mut all: Vec<Listed> = packets.iter().cloned().map(Listed::new).collect();
    match &wish.change {
        Change::Keep { without } if without.is_empty() => Ok((all, 0)),
        Change::Keep { without } => {
            let wanted = |one: &Identity| {
                let among = |list: &[Identity]| list.iter().any(|other| other.has_key_of(one));
                !among(without) || among(&wish.to)
            };
            let mut removed = 0;
            for listed in &mut all {
                removed += listed.keep(wanted, rewrapper, opened)?;
            }
            all.retain(|listed| !listed.recipients.is_empty());
            Ok((all, removed))
        }
        Change::Replace => {
            let there: Vec<&Identity> = all.iter().flat_map(|listed| &listed.recipients).collect();
            let count = there.len();
            let same = count == wish.to.len()
                && wish.to.iter().all(|one| there.iter().any(|known| one.is_there_as(known)))
                && there.iter().all(|known| wish.to.iter().any(|one| one.is_there_as(known)));
            // Nobody else can open it, and what it is encrypted for is not to change.
            if same && wish.labels.is_none() { Ok((all, 0)) } else { Ok((Vec::new(), count)) }
        }
    }
}

fn wrap(
    packets: &[Packet],
    opened: Option<Opened>,
    added: &[Identity],
    wish: &Wish,
    rewrapper: &dyn Rewrapper,
) -> Result<Vec<Packet>, Error> {
    let opened = match opened {
        Some(opened) => opened,
        None => rewrapper.open(packets).map_err(|refusal| Error::NotOpened(refusal.into_reason()))?,
    };
    let labels = wish.labels.as_ref().unwrap_or(&opened.labels);
    rewrapper.wrap(&opened.optsdata, labels, added).map_err(Error::NotWrapped)
}

/// The annotations with other packets; all else, the cipher's public options among it, stays as it is.
fn with_packets(old: &Map<String, Value>, packets: &[Packet]) -> Map<String, Value> {
    let new = annotations::keys(packets);
    let mut all = old.clone();
    all.retain(|name, _| !annotations::is_key(name) || new.contains_key(name));
    all.extend(new);
    all
}
