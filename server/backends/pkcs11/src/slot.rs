//! Which slot holds the token that a URI means (RFC 7512 section 2.3).
//!
//! Slots are searched anew for every connection: slot numbers change when tokens come and go.

use cryptoki::context::Pkcs11;
use cryptoki::slot::{Slot, TokenInfo};
use holdfast_custody::Error;
use holdfast_wire::KeyUri;

use crate::errors::failed;

/// The one slot whose initialized token has every attribute of `uri` that says which token.
pub(crate) fn find(context: &Pkcs11, uri: &KeyUri) -> Result<(Slot, TokenInfo), Error> {
    let slots =
        context.get_slots_with_token().map_err(|error| failed(error, "listing the module's tokens"))?;
    let mut matching = Vec::new();
    let mut others = Vec::new();
    let mut silent = Vec::new();
    for slot in slots {
        let token = match context.get_token_info(slot) {
            Ok(token) => token,
            // Another token that is being pulled out shall not keep this one from being found.
            Err(error) => {
                silent.push(failed(error, "asking what a slot holds"));
                continue;
            }
        };
        if !token.token_initialized() {
            continue;
        }
        if is_meant(context, slot, &token, uri)? {
            matching.push((slot, token));
        } else {
            others.push(format!("{:?}", token.label()));
        }
    }
    let token = uri.token();
    let found = matching.len();
    match (matching.pop(), found) {
        (Some(only), 1) => Ok(only),
        (Some(_), several) => Err(Error::Unavailable(format!(
            "{several} tokens of the module match {token}; add serial= to the uri of its [[token]] until one does"
        ))),
        (None, _) if !silent.is_empty() => Err(Error::Unavailable(format!(
            "no token that answers matches {token}, and {} of the module's slots do not answer ({}); look at the HSM and its own log",
            silent.len(),
            silent[0]
        ))),
        (None, _) => Err(Error::Unavailable(format!(
            "no initialized token of the module matches {token}; it has {}. See whether it is plugged in and reachable, or correct uri in its [[token]]; some modules see a token made since only after a restart",
            if others.is_empty() { "none".to_owned() } else { others.join(", ") }
        ))),
    }
}

/// Whether the token in `slot` has every attribute that `uri` gives of a token.
pub(crate) fn is_meant(context: &Pkcs11, slot: Slot, token: &TokenInfo, uri: &KeyUri) -> Result<bool, Error> {
    let slot_id = slot.id().to_string();
    let of_token = [
        ("token", token.label()),
        ("serial", token.serial_number()),
        ("manufacturer", token.manufacturer_id()),
        ("model", token.model()),
        ("slot-id", &slot_id),
    ];
    if !of_token.iter().all(|(name, is)| is_or_any(uri, name, is)) {
        return Ok(false);
    }
    if uri.get("slot-description").is_none() && uri.get("slot-manufacturer").is_none() {
        return Ok(true);
    }
    let about = context.get_slot_info(slot).map_err(|error| failed(error, "asking what a slot is"))?;
    Ok(is_or_any(uri, "slot-description", about.slot_description())
        && is_or_any(uri, "slot-manufacturer", about.manufacturer_id()))
}

/// One line for the log: what the token says it is.
pub(crate) fn summary(token: &TokenInfo) -> String {
    format!(
        "label {:?}, serial {}, {} {}, firmware {}",
        token.label(),
        token.serial_number(),
        token.manufacturer_id(),
        token.model(),
        token.firmware_version()
    )
}

/// A token's fields are padded with blanks, which cryptoki takes off; a URI may have been copied with them.
fn is_or_any(uri: &KeyUri, name: &str, is: &str) -> bool {
    uri.get(name).is_none_or(|wanted| wanted.trim_ascii_end() == is.trim_end().as_bytes())
}
