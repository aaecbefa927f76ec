//! Who an image is encrypted to: what was typed behind `--to`, what that means once files are read and
//! the daemon is there, and the wrapping itself.
//!
//! Whoever has a public key, in a file or in gpg's keyring, has the layer keys sealed to it here, and nobody
//! is asked. `holdfast:ALIAS` is a key of the daemon's: those are wrapped by it, so that its policy and its
//! audit log have their say, and a symmetric key, which has no public half, can be a recipient too.

mod certificate;
mod openpgp;
mod public;
mod public_key;
mod source;
mod typed;

use std::collections::BTreeMap;

use holdfast_envelope::jwe::Jwe;
use holdfast_image::{Digest, Identity, Packet, Wrapper, cipher};
use holdfast_wire::grpc::v1::Key;
use holdfast_wire::keyprovider::{wrap_request, wrapped_packet};
use holdfast_wire::{Labels, OptsData};
use zeroize::Zeroizing;

use self::public::Public;
pub(crate) use self::typed::{Recipient, Removed};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// All recipients of an image, ready to wrap to.
#[derive(Clone)]
pub(crate) struct Recipients {
    public: Vec<Public>,
    /// The daemon's aliases, by the name of the provider that it is.
    aliases: BTreeMap<String, Vec<String>>,
    labels: Labels,
    /// What each is, for people.
    told: Vec<String>,
}

impl Recipients {
    /// Reads the files, asks gpg, and tries every key once.
    pub(crate) fn read(typed: &[Recipient], labels: Labels) -> Result<Recipients, Failure> {
        let mut all = Recipients { public: Vec::new(), aliases: BTreeMap::new(), labels, told: Vec::new() };
        for one in typed {
            match one {
                Recipient::Public { scheme, from } => {
                    let public = Public::read(*scheme, from)?;
                    // Given twice, it would be a second recipient that opens nothing more.
                    if all.public.iter().all(|known| !public.identity().is_there_as(&known.identity())) {
                        all.told.push(format!("{from} ({})", public.type_name()));
                        all.public.push(public);
                    }
                }
                Recipient::Daemon { provider, aliases } => {
                    let known = all.aliases.entry(provider.clone()).or_default();
                    for alias in aliases.split('+').filter(|alias| !alias.is_empty()) {
                        if !known.iter().any(|known| known == alias) {
                            known.push(alias.to_owned());
                            all.told.push(format!("{provider}:{alias}"));
                        }
                    }
                }
            }
        }
        all.check()?;
        Ok(all)
    }

    /// Whether the daemon is needed.
    pub(crate) fn need_daemon(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// What each is, for people.
    pub(crate) fn told(&self) -> &[String] {
        &self.told
    }

    /// Who they are: what tells whether an image is encrypted to them already. `listed` are the daemon's keys.
    pub(crate) fn identities(&self, listed: &[Key]) -> Result<Vec<Identity>, Failure> {
        let public = self.public.iter().map(|one| Ok(one.identity()));
        let aliases = self
            .aliases
            .values()
            .flatten()
            .map(|alias| Ok(Identity::of_key("jwe", &for_new_images(listed, alias)?.kid)));
        public.chain(aliases).collect()
    }

    /// These of them, with other labels.
    pub(crate) fn only(&self, these: &[Identity], listed: &[Key], labels: &Labels) -> Recipients {
        let among = |one: &Identity| these.iter().any(|this| this.is_there_as(one));
        let mut some = Recipients { labels: labels.clone(), told: Vec::new(), ..self.clone() };
        some.public.retain(|one| among(&one.identity()));
        for aliases in some.aliases.values_mut() {
            aliases.retain(|alias| {
                for_new_images(listed, alias).is_ok_and(|key| among(&Identity::of_key("jwe", &key.kid)))
            });
        }
        some.aliases.retain(|_, aliases| !aliases.is_empty());
        some
    }

    /// A key that cannot be sealed to is told now, and not by the first layer.
    fn check(&self) -> Result<(), Failure> {
        if self.need_daemon() && self.labels.iter().any(|(_, value)| value.contains(';')) {
            return Err(Failure::line(
                "a label of an image that is encrypted to the daemon's keys cannot hold ';', which ends it in the provider's parameters; choose another value",
            ));
        }
        self.seal(&cipher::new_key(&Digest::of(b""))?)?;
        Ok(())
    }

    /// Without the daemon's keys.
    fn seal(&self, optsdata: &OptsData) -> Result<Vec<Packet>, Failure> {
        let without = self.public.iter().map(Public::scheme).find(|scheme| !scheme.has_labels());
        if let Some(scheme) = without.filter(|_| !self.labels.is_empty()) {
            return Err(Failure::line(format!(
                "a {scheme} packet has no place for labels, and whoever opens the image by it would not be held to them; an image with labels is for jwe: and holdfast: recipients alone",
            )));
        }
        public::seal(&self.public, optsdata, &self.labels)
    }
}

/// The key under an alias that new images are encrypted to.
fn for_new_images<'a>(listed: &'a [Key], alias: &str) -> Result<&'a Key, Failure> {
    let key = listed.iter().find(|key| key.alias == alias && key.wraps);
    let key = key.ok_or_else(|| {
        Failure::line(format!(
            "no key {alias} that new images can be encrypted to; holdfast key list shows those you may use"
        ))
    })?;
    match key.kid.is_empty() {
        true => Err(Failure::line(format!("{alias} cannot be encrypted to at the moment: {}", key.trouble))),
        false => Ok(key),
    }
}

/// Recipients, and the daemon if one of them is its key.
pub(crate) struct Wraps<'a> {
    pub(crate) recipients: &'a Recipients,
    pub(crate) daemon: Option<&'a Daemon>,
    pub(crate) interrupt: Interrupt,
}

impl Wraps<'_> {
    /// The daemon wraps to the keys under all these aliases, in one packet.
    fn ask(&self, provider: &str, aliases: &[String], optsdata: &OptsData) -> Result<Packet, Failure> {
        let daemon = self.daemon.ok_or_else(|| Failure::line("no holdfastd is connected; run again"))?;
        let mut parameter = aliases.join("+");
        for (name, value) in self.recipients.labels.iter() {
            parameter.push_str(&format!(";{name}={value}"));
        }
        let odd = |error| {
            Failure::line(format!(
                "holdfastd answered something else than a wrapped key ({error}); see its log"
            ))
        };
        let body = wrap_request(provider, &[parameter], optsdata)
            .map_err(|error| Failure::line(format!("{error}; give another recipient")))?;
        // What prost and h2 copy on the way is theirs.
        let answer = daemon.wrap_key(body.into_unprotected(), self.interrupt.clone().wait())?;
        let data = wrapped_packet(&Zeroizing::new(answer)).map_err(odd)?;
        // An image must not be written that nobody can open.
        Jwe::parse(&data).map_err(odd)?;
        Ok(Packet { scheme: format!("provider.{provider}"), data })
    }
}

impl Wrapper for Wraps<'_> {
    fn wrap(&self, optsdata: &OptsData) -> Result<Vec<Packet>, Box<dyn std::error::Error + Send + Sync>> {
        let mut packets = Vec::new();
        // The daemon first: it may refuse.
        for (provider, aliases) in &self.recipients.aliases {
            packets.push(self.ask(provider, aliases, optsdata)?);
        }
        packets.extend(self.recipients.seal(optsdata)?);
        Ok(packets)
    }
}
