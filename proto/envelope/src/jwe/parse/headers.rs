//! The headers that hold for a recipient, and what stands in them.

use holdfast_wire::{Curve, EcPublicKey, Malformed};

use crate::json::Object;
use crate::jwk;

/// `crit` and `zip` change what the rest means, wherever they stand.
pub(super) fn check_header(header: &Object, what: &str) -> Result<(), Malformed> {
    if header.has("crit") {
        return Err(Malformed::new(format!("{what} has crit; no extension is supported by this version")));
    }
    if header.has("zip") {
        return Err(Malformed::new(format!("{what} has zip; compression is not supported by this version")));
    }
    Ok(())
}

pub(super) fn shared_name(between: &str) -> Malformed {
    Malformed::new(format!("{between} have a name in common"))
}

/// The union of three headers that share no name (RFC 7516 section 7.2.1).
pub(super) struct Headers<'a> {
    /// Whose they are: "recipient 1".
    pub(super) what: &'a str,
    pub(super) parts: [&'a Object; 3],
}

impl<'a> Headers<'a> {
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Malformed> {
        self.holding(name).text(name, self.what)
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Malformed> {
        self.holding(name).bytes(name, self.what)
    }

    /// `epk`, on its curve. None for a type of key or a curve that this version does not know: what may be
    /// wrong with such a key cannot be told, and no token is given it.
    pub(super) fn ephemeral_key(&self) -> Result<Option<EcPublicKey>, Malformed> {
        let what = self.what;
        let epk = self
            .holding("epk")
            .object("epk", what)?
            .ok_or_else(|| Malformed::new(format!("{what} has no epk")))?;
        let name = format!("epk of {what}");
        if epk.has("d") {
            return Err(Malformed::new(format!(
                "{name} holds its private key; whoever saw this packet can open it, seal anew"
            )));
        }
        let required = |member: &str| {
            epk.text(member, &name)?.ok_or_else(|| Malformed::new(format!("{name} has no {member}")))
        };
        if required("kty")? != "EC" {
            return Ok(None);
        }
        let crv = required("crv")?;
        if !Curve::ALL.iter().any(|known| known.name() == crv) {
            return Ok(None);
        }
        jwk::ec_point(epk, &name).map(Some)
    }

    /// The one part that has the member; any of them if none has.
    fn holding(&self, name: &str) -> &'a Object {
        let [first, rest @ ..] = self.parts;
        rest.into_iter().find(|part| part.has(name)).unwrap_or(first)
    }
}
