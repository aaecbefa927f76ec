//! The one key that a URI means.

use holdfast_custody::Error;
use holdfast_wire::KeyUri;

use crate::attributes;
use crate::client::Client;
use crate::errors::{Asked, reason, refused};
use crate::form::Of;
use crate::message::Question;
use crate::protocol::{Operation, attribute, tag, value};
use crate::ttlv::{Item, Value};

/// How many objects of one name are counted.
const MAX_FOUND: i32 = 100;

/// Whether a URI names a key: by `name`, its Name attribute, or by `id`, its Unique Identifier, or both.
pub fn check_uri(uri: &KeyUri) -> Result<(), String> {
    for attribute in ["name", "id"] {
        if uri.get(attribute).is_some()
            && uri.text(attribute).is_none_or(|text| text.chars().any(char::is_control))
        {
            return Err(format!("{attribute} in a kmip: URI is UTF-8 text without control characters"));
        }
    }
    match uri.names_key() {
        true => Ok(()),
        false => {
            Err("a kmip: URI names a key by name=, its Name attribute, or by id=, its Unique Identifier"
                .into())
        }
    }
}

/// The Unique Identifier of the private or symmetric key that a URI means. Never that of the first of several.
pub(crate) fn find(client: &mut Client, uri: &KeyUri) -> Result<String, Error> {
    check_uri(uri).map_err(Error::KeyUnfit)?;
    // Whether there is one, and of this name, is seen when its attributes are asked for.
    if let Some(id) = uri.text("id") {
        return Ok(id.to_owned());
    }
    let name = uri.text("name").unwrap_or_default();
    let mut found = named(client, name, &[value::SYMMETRIC_KEY, value::PRIVATE_KEY])?;
    match (found.pop(), found.len()) {
        (None, _) => Err(Error::KeyNotFound),
        (Some(only), 0) => Ok(only),
        (Some(_), others) => Err(Error::KeyAmbiguous(others + 1)),
    }
}

/// Every object of a name and of one of these types.
pub(crate) fn named(client: &mut Client, name: &str, types: &[u32]) -> Result<Vec<String>, Error> {
    let form = client.form();
    let question = |kind: &u32| {
        let wanted = vec![attributes::name(name), (attribute::OBJECT_TYPE, Value::Enumeration(*kind))];
        let mut payload = vec![Item::integer(tag::MAXIMUM_ITEMS, MAX_FOUND)];
        payload.extend(form.write(Of::Wanted, wanted));
        Question { operation: Operation::Locate, payload }
    };
    let mut found = Vec::new();
    for answer in client.ask_all(types.iter().map(question).collect())? {
        match answer {
            Ok(payload) => {
                let ids = payload.items().iter().filter(|item| item.tag == tag::UNIQUE_IDENTIFIER);
                found.extend(ids.filter_map(Item::as_text).map(str::to_owned));
            }
            Err(failure) if failure.reason == reason::ITEM_NOT_FOUND => {}
            Err(failure) => return Err(refused(&failure, Asked::Other)),
        }
    }
    Ok(found)
}
