//! What a server states of a key's custody (KMIP 1.4, sections 3.22 and 3.48 to 3.51).
//!
//! The statement is only as good as the server and the way to it: KMIP has no signature over it. Nor does it say
//! whether a key was made in the server or brought in, so that stays unproven.

use holdfast_custody::Custody;

use crate::attributes::Attributes;
use crate::client::Client;
use crate::protocol::attribute;

/// What is told of every key, in this order; the first ones also where the server does not tell them.
pub(crate) const NAMES: [&str; 20] = [
    attribute::STATE,
    attribute::SENSITIVE,
    attribute::ALWAYS_SENSITIVE,
    attribute::EXTRACTABLE,
    attribute::NEVER_EXTRACTABLE,
    attribute::USAGE_MASK,
    attribute::ALGORITHM,
    attribute::LENGTH,
    "Object Type",
    "Name",
    "Initial Date",
    "Original Creation Date",
    "Activation Date",
    "Process Start Date",
    "Protect Stop Date",
    "Deactivation Date",
    "Compromise Occurrence Date",
    "Compromise Date",
    "Operation Policy Name",
    "Key Value Present",
];

/// How many of them are told in any case.
const ALWAYS: usize = 8;
const UNTOLD: &str = "not told";

/// Everything the server says of the key with these attributes, and of itself.
pub(crate) fn of(id: &str, attributes: &Attributes, client: &Client) -> Custody {
    let told = NAMES.iter().enumerate().filter_map(|(index, name)| {
        let untold = (index < ALWAYS).then(|| UNTOLD.to_owned());
        Some(((*name).to_owned(), attributes.told(name).or(untold)?))
    });
    let server = [
        ("Unique Identifier", crate::message::line(id)),
        ("server", client.vendor.clone()),
        ("KMIP version", client.version.to_string()),
    ];
    let server = server.into_iter().map(|(name, told)| (name.to_owned(), told));
    Custody {
        sensitive: attributes.flag(attribute::SENSITIVE),
        always_sensitive: attributes.flag(attribute::ALWAYS_SENSITIVE),
        extractable: attributes.flag(attribute::EXTRACTABLE),
        never_extractable: attributes.flag(attribute::NEVER_EXTRACTABLE),
        local: None,
        evidence: told.chain(server).collect(),
    }
}
