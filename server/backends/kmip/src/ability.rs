//! What a key is, and what its server does with it: by what the server tells, and then by trying it.

use holdfast_custody::Error;
use holdfast_wire::{Operation as Native, PublicKey};

use crate::attributes::{Attributes, State};
use crate::client::Client;
use crate::protocol::{Operation, Version, attribute, usage, value};
use crate::{gcm, public, rsa};

/// Bits of an AES key.
const AES_BITS: i32 = 256;

/// What `open` and `seal` need to know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ability {
    Aes,
    Rsa { public: PublicKey, ways: Vec<rsa::Way> },
}

impl Ability {
    pub(crate) fn operations(&self) -> Vec<Native> {
        match self {
            Ability::Aes => vec![Native::AesGcm],
            Ability::Rsa { ways, .. } => ways.iter().map(|way| way.operation()).collect(),
        }
    }

    pub(crate) fn public(&self) -> Option<&PublicKey> {
        match self {
            Ability::Aes => None,
            Ability::Rsa { public, .. } => Some(public),
        }
    }
}

/// What the key with these attributes can do.
pub(crate) fn of(client: &mut Client, id: &str, attributes: &Attributes) -> Result<Ability, Error> {
    may_open(attributes.state())?;
    tried(client, id, attributes).map_err(|error| match error {
        // A server may refuse what NIST SP 800-57 allows, and not every one says why.
        Error::KeyUnfit(why) if attributes.state() == Some(State::Deactivated) => {
            Error::KeyUnfit(format!("the key is deactivated, and its server does not use it any more: {why}"))
        }
        error => error,
    })
}

fn tried(client: &mut Client, id: &str, attributes: &Attributes) -> Result<Ability, Error> {
    if !client.offers(Operation::Decrypt) {
        return Err(Error::KeyUnfit(format!(
            "the server keeps keys but does not use them: it offers no Decrypt in KMIP {} (Query); have that enabled there, or use another kind of token",
            client.version
        )));
    }
    let kind = attributes.enumeration(attribute::OBJECT_TYPE);
    let algorithm = attributes.enumeration(attribute::ALGORITHM);
    let ability = match (kind, algorithm) {
        (Some(value::SYMMETRIC_KEY), Some(value::AES)) => {
            may_decrypt(attributes)?;
            aes(client, id, attributes)?
        }
        (Some(value::PRIVATE_KEY), Some(value::RSA)) => {
            may_decrypt(attributes)?;
            let public = public::find(client, attributes)?;
            let ways = rsa::ways(client, id, &public)?;
            Ability::Rsa { public, ways }
        }
        _ => {
            let told = |attribute| attributes.told(attribute).unwrap_or_else(|| "untold".to_owned());
            return Err(Error::KeyUnfit(format!(
                "it is a {} for {}; only RSA private keys and AES keys of 256 bits can be used",
                told(attribute::OBJECT_TYPE),
                told(attribute::ALGORITHM)
            )));
        }
    };
    Ok(ability)
}

fn aes(client: &mut Client, id: &str, attributes: &Attributes) -> Result<Ability, Error> {
    match attributes.integer(attribute::LENGTH) {
        Some(AES_BITS) => {}
        Some(bits) => {
            return Err(Error::KeyUnfit(format!(
                "it is an AES key of {bits} bits; only those of 256 can be used"
            )));
        }
        None => return Err(Error::KeyUnfit("the server does not tell how long this AES key is".into())),
    }
    if client.version < Version::V1_4 {
        return Err(Error::KeyUnfit(format!(
            "AES keys need KMIP 1.4, which has AES-GCM's tag, and the server speaks {}; allow 1.4 there, or use an RSA key",
            client.version
        )));
    }
    gcm::is_taken(client, id)?;
    Ok(Ability::Aes)
}

/// One line for each state in which a key opens nothing. One that was deactivated still opens what was sealed to it
/// before, where its server lets it.
fn may_open(state: Option<State>) -> Result<(), Error> {
    let why = match state {
        Some(State::Active | State::Deactivated) | None => return Ok(()),
        Some(State::PreActive) => {
            "the key is pre-active: it has not been activated yet; activate it in the server"
        }
        Some(State::Compromised) => {
            "the key is compromised, as the server has it; wrap the images to another key"
        }
        Some(State::Destroyed) => "the key is destroyed; only a backup of it helps",
        Some(State::DestroyedCompromised) => "the key is destroyed, and was compromised before",
    };
    Err(Error::KeyUnfit(why.to_owned()))
}

/// Whether it may also seal (Encrypt) is asked when it shall: a retired key need not.
fn may_decrypt(attributes: &Attributes) -> Result<(), Error> {
    match attributes.integer(attribute::USAGE_MASK) {
        Some(mask) if mask & usage::DECRYPT == 0 => Err(Error::KeyUnfit(
            "the key may not do it: its Cryptographic Usage Mask is without Decrypt; make a key with it"
                .into(),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_in_which_a_key_opens_nothing_has_its_line() {
        for state in [None, Some(State::Active), Some(State::Deactivated)] {
            assert_eq!(may_open(state), Ok(()));
        }
        for (state, says) in [
            (State::PreActive, "pre-active"),
            (State::Compromised, "is compromised"),
            (State::Destroyed, "is destroyed"),
            (State::DestroyedCompromised, "compromised before"),
        ] {
            assert!(
                matches!(may_open(Some(state)), Err(Error::KeyUnfit(why)) if why.contains(says)),
                "{state:?}"
            );
        }
    }
}
