//! What a server states of a key's custody (KMIP 1.4, sections 3.22 and 3.48 to 3.51).
//!
//! The statement is only as good as the server and the way to it: KMIP has no signature over it. Nor does it say
//! whether a key was made in the server or brought in, so that stays unproven: but for a key that this program
//! brought in, and of which it said so then. What once was outside was neither always sensitive nor never
//! extractable, whatever its server says of its own time with it.

use holdfast_custody::Custody;

use crate::attributes::Attributes;
use crate::client::Client;
use crate::protocol::attribute::{self, Attribute};

/// What is told of every key, in this order; the first ones also where the server does not tell them.
pub(crate) const TOLD: [Attribute; 21] = [
    attribute::STATE,
    attribute::SENSITIVE,
    attribute::ALWAYS_SENSITIVE,
    attribute::EXTRACTABLE,
    attribute::NEVER_EXTRACTABLE,
    attribute::USAGE_MASK,
    attribute::ALGORITHM,
    attribute::LENGTH,
    attribute::OBJECT_TYPE,
    attribute::NAME,
    attribute::INITIAL_DATE,
    attribute::ORIGINAL_CREATION_DATE,
    attribute::ACTIVATION_DATE,
    attribute::PROCESS_START_DATE,
    attribute::PROTECT_STOP_DATE,
    attribute::DEACTIVATION_DATE,
    attribute::COMPROMISE_OCCURRENCE_DATE,
    attribute::COMPROMISE_DATE,
    attribute::OPERATION_POLICY_NAME,
    attribute::KEY_VALUE_PRESENT,
    attribute::APPLICATION_SPECIFIC_INFORMATION,
];

/// How many of them are told in any case.
const ALWAYS: usize = 8;
const UNTOLD: &str = "not told";

/// Everything the server says of the key with these attributes, and of itself.
pub(crate) fn of(id: &str, attributes: &Attributes, client: &Client) -> Custody {
    let told = TOLD.into_iter().enumerate().filter_map(|(index, attribute)| {
        let untold = (index < ALWAYS).then(|| UNTOLD.to_owned());
        Some((attribute.name.to_owned(), attributes.told(attribute).or(untold)?))
    });
    let server = [
        ("Unique Identifier", crate::message::line(id)),
        ("server", client.vendor.clone()),
        ("KMIP version", client.version.to_string()),
    ];
    let server = server.into_iter().map(|(name, told)| (name.to_owned(), told));
    let imported = attributes.is_imported();
    let ever = |attribute| if imported { Some(false) } else { attributes.flag(attribute) };
    Custody {
        sensitive: attributes.flag(attribute::SENSITIVE),
        always_sensitive: ever(attribute::ALWAYS_SENSITIVE),
        extractable: attributes.flag(attribute::EXTRACTABLE),
        never_extractable: ever(attribute::NEVER_EXTRACTABLE),
        local: imported.then_some(false),
        evidence: told.chain(server).collect(),
    }
}
