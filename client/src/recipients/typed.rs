//! Recipients as they are typed.

use std::fmt;
use std::str::FromStr;

use holdfast_image::Identity;
use holdfast_wire::grpc::v1::Key;
use holdfast_wire::keyprovider::is_alias;

use super::public::Public;
use crate::failure::Failure;

/// What provider the daemon is unless its configuration says otherwise (`provider` under `[wrap]`).
const PROVIDER: &str = "holdfast";

const FORMS: &str = "a recipient is jwe:FILE (a public key), pkcs7:FILE (a certificate), pgp:FILE or pgp:NAME (an OpenPGP certificate, in a file or known to gpg), pkcs11:FILE (the public key of a token's key) or holdfast:ALIAS (a key of the daemon's)";

/// In which packets a public key is sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Jwe,
    Pkcs7,
    Pgp,
    Pkcs11,
}

impl Scheme {
    pub(super) const ALL: [Scheme; 4] = [Scheme::Jwe, Scheme::Pkcs7, Scheme::Pgp, Scheme::Pkcs11];

    /// As in the annotation's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Scheme::Jwe => "jwe",
            Scheme::Pkcs7 => "pkcs7",
            Scheme::Pgp => "pgp",
            Scheme::Pkcs11 => "pkcs11",
        }
    }

    /// Whether its packets hold labels under their seal.
    pub(super) fn has_labels(self) -> bool {
        self == Scheme::Jwe
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A recipient as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// `SCHEME:FILE`, or `pgp:NAME`.
    Public { scheme: Scheme, from: String },
    /// `holdfast:ALIAS[+ALIAS…]`, or `provider:NAME:ALIAS[+ALIAS…]` where the daemon has another name.
    Daemon { provider: String, aliases: String },
}

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Recipient, String> {
        let (name, rest) = text.split_once(':').ok_or(FORMS)?;
        if let Some(scheme) = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name) {
            return match rest {
                "" => Err(FORMS.to_owned()),
                _ => Ok(Recipient::Public { scheme, from: rest.to_owned() }),
            };
        }
        let (provider, aliases) = match name {
            "holdfast" => (PROVIDER, rest),
            "provider" => rest.split_once(':').ok_or(FORMS)?,
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
    /// Whose keys this means: all under an alias, as rotation leaves several there. One who is about to go may have
    /// a certificate that has expired since.
    pub(crate) fn identities(&self, listed: &[Key]) -> Result<Vec<Identity>, Failure> {
        match self {
            Removed::Kid(kid) => Ok(vec![Identity { name: None, kid: Some(kid.clone()) }]),
            Removed::Recipient(Recipient::Public { scheme, from }) => Public::read_to_remove(*scheme, from),
            Removed::Recipient(Recipient::Daemon { aliases, .. }) => {
                let mut all = Vec::new();
                for alias in aliases.split('+') {
                    let known = all.len();
                    let under = listed.iter().filter(|key| key.alias == alias && !key.kid.is_empty());
                    all.extend(under.map(|key| Identity::of_key("jwe", &key.kid)));
                    if all.len() == known {
                        return Err(Failure::line(format!(
                            "no key {alias} that you may use; holdfast key list shows those you may, and kid:ID names any"
                        )));
                    }
                }
                Ok(all)
            }
        }
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
        for (text, scheme, from) in [
            ("jwe:a:b.pem", Scheme::Jwe, "a:b.pem"),
            ("pkcs7:cert.pem", Scheme::Pkcs7, "cert.pem"),
            ("pgp:ops@example.org", Scheme::Pgp, "ops@example.org"),
            ("pkcs11:pub.pem", Scheme::Pkcs11, "pub.pem"),
        ] {
            assert_eq!(text.parse(), Ok(Recipient::Public { scheme, from: from.to_owned() }));
        }
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
            "pkcs7:",
            "pgp:",
            "pkcs11:",
            "holdfast:",
            "holdfast",
            "holdfast:a b",
            "holdfast:a;env=prod",
            "provider:kp",
            "provider:a b:images",
            "holdfast:a++b",
            "age:x",
            "JWE:x",
        ] {
            let error = bad.parse::<Recipient>().unwrap_err();
            for form in ["jwe:FILE", "pkcs7:FILE", "pgp:FILE or pgp:NAME", "pkcs11:FILE", "holdfast:ALIAS"] {
                assert!(error.contains(form), "{bad}: {error}");
            }
        }
    }
}
