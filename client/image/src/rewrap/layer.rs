//! One layer's annotations.

use serde_json::{Map, Value};

use super::recipients::Listed;
use super::{Change, Opened, RewrappedLayer, Rewrapper, Wish};
use crate::descriptor::Descriptor;
use crate::{Error, Packet, annotations};

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
    let mut kids: Vec<&String> = kept.iter().flat_map(|listed| listed.kids.iter().flatten()).collect();
    kids.sort_unstable();
    let added: Vec<String> = wish.to.iter().filter(|kid| kids.binary_search(kid).is_err()).cloned().collect();
    let unnamed = kept.iter().flat_map(|listed| &listed.kids).filter(|kid| kid.is_none()).count();
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
            let wanted = |kid: &str| {
                let among = |list: &[String]| list.iter().any(|one| one == kid);
                !among(without) || among(&wish.to)
            };
            let mut removed = 0;
            for listed in &mut all {
                removed += listed.keep(wanted, rewrapper, opened)?;
            }
            all.retain(|listed| !listed.kids.is_empty());
            Ok((all, removed))
        }
        Change::Replace => {
            let mut there: Vec<Option<String>> = all.iter().flat_map(|listed| listed.kids.clone()).collect();
            let mut wanted: Vec<Option<String>> = wish.to.iter().cloned().map(Some).collect();
            there.sort_unstable();
            wanted.sort_unstable();
            // Nobody else can open it, and what it is encrypted for is not to change.
            if there == wanted && wish.labels.is_none() {
                Ok((all, 0))
            } else {
                Ok((Vec::new(), there.len()))
            }
        }
    }
}

fn wrap(
    packets: &[Packet],
    opened: Option<Opened>,
    added: &[String],
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
