//! Who an image is encrypted to: what was typed behind `--to`, what that means once files are read and
//! the daemon is there, and the wrapping itself.
//!
//! `jwe:FILE` is a public key: its layer keys are sealed here, and nobody is asked. `holdfast:ALIAS` is a
//! key of the daemon's: those are wrapped by it, so that its policy and its audit log have their say, and
//! a symmetric key, which has no public half, can be a recipient too.

mod public_key;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use holdfast_envelope::jwe::{self, Jwe, To};
use holdfast_envelope::jwk;
use holdfast_image::{Digest, Packet, Wrapper, cipher};
use holdfast_wire::grpc::v1::Key;
use holdfast_wire::keyprovider::{is_alias, wrap_request, wrapped_packet};
use holdfast_wire::{Algorithm, Labels, OptsData, PublicKey};
use zeroize::Zeroizing;

use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// What provider the daemon is unless its configuration says otherwise (`provider` under `[wrap]`).
const PROVIDER: &str = "holdfast";

/// A recipient as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// `jwe:FILE`
    Jwe(PathBuf),
    /// `holdfast:ALIAS[+ALIAS…]`, or `provider:NAME:ALIAS[+ALIAS…]` where the daemon has another name.
    Daemon { provider: String, aliases: String },
}

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Recipient, String> {
        const FORMS: &str =
            "a recipient is jwe:FILE (a public key) or holdfast:ALIAS (a key of the daemon's)";
        let (scheme, rest) = text.split_once(':').ok_or(FORMS)?;
        let (provider, aliases) = match scheme {
            "jwe" if rest.is_empty() => return Err(FORMS.to_owned()),
            "jwe" => return Ok(Recipient::Jwe(rest.into())),
            "holdfast" => (PROVIDER, rest),
            "provider" => rest.split_once(':').ok_or(FORMS)?,
            "pkcs7" | "pgp" | "pkcs11" => {
                return Err(format!("this version cannot encrypt to {scheme}:, only read it; {FORMS}"));
            }
            _ => return Err(FORMS.to_owned()),
        };
        if !is_alias(provider) || !aliases.split('+').all(is_alias) {
            return Err(format!(
                "{FORMS}; an alias has 1 to 64 letters, digits, '.', '_' or '-', and labels are given with --label"
            ));
        }
        Ok(Recipient::Daemon { provider: provider.to_owned(), aliases: aliases.to_owned() })
    }
}

/// Somebody who shall open an image no longer, as he is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Removed {
    /// `kid:ID`
    Kid(String),
    /// Whoever can be encrypted to.
    Recipient(Recipient),
}

impl FromStr for Removed {
    type Err = String;

    fn from_str(text: &str) -> Result<Removed, String> {
        match text.strip_prefix("kid:") {
            Some("") => Err("the key id behind kid: is empty".to_owned()),
            Some(kid) => Ok(Removed::Kid(kid.to_owned())),
            None => text.parse().map(Removed::Recipient),
        }
    }
}

impl Removed {
    /// The ids of the keys that this means: all under an alias, as rotation leaves several there.
    pub(crate) fn kids(&self, listed: &[Key]) -> Result<Vec<String>, Failure> {
        match self {
            Removed::Kid(kid) => Ok(vec![kid.clone()]),
            Removed::Recipient(Recipient::Jwe(file)) => Ok(vec![jwk::thumbprint(&public_key::read(file)?.0)]),
            Removed::Recipient(Recipient::Daemon { aliases, .. }) => {
                let mut kids = Vec::new();
                for alias in aliases.split('+') {
                    let known = kids.len();
                    let under = listed.iter().filter(|key| key.alias == alias && !key.kid.is_empty());
                    kids.extend(under.map(|key| key.kid.clone()));
                    if kids.len() == known {
                        return Err(Failure::line(format!(
                            "no key {alias} that you may use; holdfast key list shows those you may, and kid:ID names any"
                        )));
                    }
                }
                Ok(kids)
            }
        }
    }
}

/// All recipients of an image, ready to wrap to.
#[derive(Clone)]
pub(crate) struct Recipients {
    keys: Vec<(PublicKey, Algorithm)>,
    /// The daemon's aliases, by the name of the provider that it is.
    aliases: BTreeMap<String, Vec<String>>,
    labels: Labels,
    /// What each is, for people.
    told: Vec<String>,
}

impl Recipients {
    /// Reads the files, and tries every key once.
    pub(crate) fn read(typed: &[Recipient], labels: Labels) -> Result<Recipients, Failure> {
        let mut all = Recipients { keys: Vec::new(), aliases: BTreeMap::new(), labels, told: Vec::new() };
        for one in typed {
            match one {
                Recipient::Jwe(file) => {
                    let (key, algorithm) = public_key::read(file)?;
                    // Given twice, it would be a second recipient that opens nothing more.
                    if all.keys.iter().all(|(known, _)| *known != key) {
                        all.told.push(format!("{} ({})", file.display(), key.type_name()));
                        all.keys.push((key, algorithm));
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

    /// Their key ids: what tells whether an image is encrypted to them already. `listed` are the daemon's keys.
    pub(crate) fn kids(&self, listed: &[Key]) -> Result<Vec<String>, Failure> {
        let keys = self.keys.iter().map(|(key, _)| Ok(jwk::thumbprint(key)));
        let aliases =
            self.aliases.values().flatten().map(|alias| Ok(for_new_images(listed, alias)?.kid.clone()));
        keys.chain(aliases).collect()
    }

    /// Those of them with these key ids, and other labels.
    pub(crate) fn only(&self, kids: &[String], listed: &[Key], labels: &Labels) -> Recipients {
        let mut some = Recipients { labels: labels.clone(), told: Vec::new(), ..self.clone() };
        some.keys.retain(|(key, _)| kids.contains(&jwk::thumbprint(key)));
        for aliases in some.aliases.values_mut() {
            aliases.retain(|alias| for_new_images(listed, alias).is_ok_and(|key| kids.contains(&key.kid)));
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
        if !self.keys.is_empty() {
            self.seal(&cipher::new_key(&Digest::of(b""))?)?;
        }
        Ok(())
    }

    fn seal(&self, optsdata: &OptsData) -> Result<Packet, Failure> {
        let to: Vec<To<'_>> =
            self.keys.iter().map(|(key, algorithm)| To { key, algorithm: *algorithm }).collect();
        let data = jwe::seal(optsdata, &to, &self.labels)
            .map_err(|error| Failure::line(format!("of the jwe: keys, in their order, {error}")))?;
        Ok(Packet { scheme: "jwe".to_owned(), data })
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
        if !self.recipients.keys.is_empty() {
            packets.push(self.recipients.seal(optsdata)?);
        }
        Ok(packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(provider: &str, aliases: &str) -> Recipient {
        Recipient::Daemon { provider: provider.to_owned(), aliases: aliases.to_owned() }
    }

    #[test]
    fn recipients_are_read_as_they_are_typed() {
        assert_eq!("jwe:a:b.pem".parse(), Ok(Recipient::Jwe("a:b.pem".into())));
        assert_eq!("holdfast:images".parse(), Ok(daemon("holdfast", "images")));
        assert_eq!("holdfast:images+spare".parse(), Ok(daemon("holdfast", "images+spare")));
        assert_eq!("provider:kp:images".parse(), Ok(daemon("kp", "images")));
    }

    #[test]
    fn what_is_no_recipient_is_told_the_forms() {
        for bad in [
            "",
            "pub.pem",
            "jwe:",
            "holdfast:",
            "holdfast",
            "holdfast:a b",
            "holdfast:a;env=prod",
            "provider:kp",
            "provider:a b:images",
            "holdfast:a++b",
            "pkcs7:cert.pem",
            "JWE:x",
        ] {
            let error = bad.parse::<Recipient>().unwrap_err();
            assert!(error.contains("a recipient is jwe:FILE"), "{bad}: {error}");
        }
    }
}
