//! What a server says of an object: its attributes (KMIP 1.4, section 3).
//!
//! All of them are asked for, by no name: some servers refuse the whole question for one name that they do not know.

use holdfast_custody::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::client::Client;
use crate::errors::{Asked, refused};
use crate::message::line;
use crate::protocol::{Operation, attribute, tag, usage, value};
use crate::ttlv::{Item, Value};

/// Where a key is in its life (section 3.22; the states are those of NIST SP 800-57 part 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    PreActive,
    Active,
    Deactivated,
    Compromised,
    Destroyed,
    DestroyedCompromised,
}

/// The attributes of an object, in the order in which the server tells them.
pub(crate) struct Attributes(Vec<(String, Item)>);

impl Attributes {
    pub(crate) fn fetch(client: &mut Client, id: &str) -> Result<Attributes, Error> {
        let payload = vec![Item::text(tag::UNIQUE_IDENTIFIER, id)];
        let answer = client.ask(Operation::GetAttributes, payload)?;
        Ok(Attributes::of(answer.map_err(|failure| refused(&failure, Asked::Other))?))
    }

    /// Those in the payload of an answer.
    pub(crate) fn of(payload: Item) -> Attributes {
        let Value::Structure(items) = payload.value else { return Attributes(Vec::new()) };
        let attributes = items.into_iter().filter(|item| item.tag == tag::ATTRIBUTE);
        Attributes(attributes.filter_map(named).collect())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Item> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.all(name).next()?.value {
            Value::Boolean(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn enumeration(&self, name: &str) -> Option<u32> {
        self.all(name).next()?.as_enumeration()
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i32> {
        self.all(name).next()?.as_integer()
    }

    /// None where the server tells none, or one that the standard does not have.
    pub(crate) fn state(&self) -> Option<State> {
        Some(match self.enumeration(attribute::STATE)? {
            1 => State::PreActive,
            2 => State::Active,
            3 => State::Deactivated,
            4 => State::Compromised,
            5 => State::Destroyed,
            6 => State::DestroyedCompromised,
            _ => return None,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.all(attribute::NAME).filter_map(|name| name.get_text(tag::NAME_VALUE))
    }

    /// The object that a link of this type leads to.
    pub(crate) fn link(&self, kind: u32) -> Option<&str> {
        let of_kind = |link: &&Item| link.get_enumeration(tag::LINK_TYPE) == Some(kind);
        self.all(attribute::LINK).find(of_kind)?.get_text(tag::LINKED_OBJECT_IDENTIFIER)
    }

    /// What there is to tell of an attribute; None if the server does not tell it.
    pub(crate) fn told(&self, name: &str) -> Option<String> {
        let values: Vec<String> = self.all(name).filter_map(|value| told(name, value)).collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }
}

fn named(attribute: Item) -> Option<(String, Item)> {
    let name = line(attribute.get_text(tag::ATTRIBUTE_NAME)?);
    let Value::Structure(fields) = attribute.value else { return None };
    Some((name, fields.into_iter().find(|field| field.tag == tag::ATTRIBUTE_VALUE)?))
}

/// An attribute of a request.
pub(crate) fn attribute(name: &str, value: Item) -> Item {
    Item::structure(tag::ATTRIBUTE, vec![Item::text(tag::ATTRIBUTE_NAME, name), value])
}

/// The Name attribute of a request.
pub(crate) fn name_attribute(name: &str) -> Item {
    let fields = vec![
        Item::text(tag::NAME_VALUE, name),
        Item::enumeration(tag::NAME_TYPE, value::UNINTERPRETED_TEXT_STRING),
    ];
    attribute(attribute::NAME, Item::structure(tag::ATTRIBUTE_VALUE, fields))
}

fn told(name: &str, value: &Item) -> Option<String> {
    const STATES: [&str; 6] =
        ["Pre-Active", "Active", "Deactivated", "Compromised", "Destroyed", "Destroyed Compromised"];
    const OBJECTS: [&str; 4] = ["Certificate", "Symmetric Key", "Public Key", "Private Key"];
    const ALGORITHMS: [&str; 4] = ["DES", "3DES", "AES", "RSA"];
    let names: &[&str] = match name {
        attribute::STATE => &STATES,
        attribute::OBJECT_TYPE => &OBJECTS,
        attribute::ALGORITHM => &ALGORITHMS,
        _ => &[],
    };
    match &value.value {
        Value::Enumeration(number) => {
            Some(match (*number as usize).checked_sub(1).and_then(|n| names.get(n)) {
                Some(name) => (*name).to_owned(),
                None => format!("{number:#x}"),
            })
        }
        Value::Integer(mask) if name == attribute::USAGE_MASK => Some(mask_told(*mask)),
        Value::Integer(number) => Some(number.to_string()),
        Value::LongInteger(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::DateTime(seconds) => Some(
            OffsetDateTime::from_unix_timestamp(*seconds)
                .ok()
                .and_then(|time| time.format(&Rfc3339).ok())
                .unwrap_or_else(|| seconds.to_string()),
        ),
        Value::Text(text) => Some(line(text)),
        Value::Structure(_) => value.get_text(tag::NAME_VALUE).map(line),
        _ => None,
    }
}

fn mask_told(mask: i32) -> String {
    let bits = usage::NAMES.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
    let names: Vec<&str> = bits.map(|(_, name)| *name).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(of: Vec<Item>) -> Attributes {
        Attributes::of(Item::structure(tag::RESPONSE_PAYLOAD, of))
    }

    #[test]
    fn attributes_are_told_in_the_words_of_the_standard() {
        let value = |value| Item { tag: tag::ATTRIBUTE_VALUE, value };
        let told = attributes(vec![
            attribute("State", value(Value::Enumeration(3))),
            attribute("Object Type", value(Value::Enumeration(9))),
            attribute("Cryptographic Usage Mask", value(Value::Integer(0xc))),
            attribute("Activation Date", value(Value::DateTime(1_700_000_000))),
            attribute("Sensitive", value(Value::Boolean(true))),
            name_attribute("images"),
            name_attribute("images\n2026"),
        ]);
        for (name, text) in [
            ("State", "Deactivated"),
            ("Object Type", "0x9"),
            ("Cryptographic Usage Mask", "Encrypt, Decrypt"),
            ("Activation Date", "2023-11-14T22:13:20Z"),
            ("Sensitive", "true"),
            ("Name", "images, images 2026"),
        ] {
            assert_eq!(told.told(name).as_deref(), Some(text), "{name}");
        }
        assert_eq!(told.told("Extractable"), None);
        assert_eq!(told.state(), Some(State::Deactivated));
    }

    #[test]
    fn an_attribute_of_the_wrong_type_is_not_told_as_a_fact() {
        let text = Item::text(tag::ATTRIBUTE_VALUE, "true");
        let wrong = attributes(vec![attribute("Sensitive", text), Item::integer(tag::ATTRIBUTE, 1)]);
        assert_eq!((wrong.flag("Sensitive"), wrong.state()), (None, None));
    }
}
