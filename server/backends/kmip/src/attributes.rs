//! What a server says of an object: its attributes (KMIP 1.4, section 3).
//!
//! All of them are asked for, by no name: some servers refuse the whole question for one name that they do not know.

use holdfast_custody::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::client::Client;
use crate::errors::{Asked, refused};
use crate::form::{Form, Given};
use crate::message::line;
use crate::protocol::attribute::{self, Attribute};
use crate::protocol::{Operation, tag, usage, value};
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
pub(crate) struct Attributes(Vec<(Attribute, Item)>);

impl Attributes {
    pub(crate) fn fetch(client: &mut Client, id: &str) -> Result<Attributes, Error> {
        let payload = vec![Item::text(tag::UNIQUE_IDENTIFIER, id)];
        let answer = client.ask(Operation::GetAttributes, payload)?;
        Ok(Attributes::of(answer.map_err(|failure| refused(&failure, Asked::Other))?, client.form()))
    }

    /// Those in the payload of an answer.
    pub(crate) fn of(payload: Item, form: Form) -> Attributes {
        Attributes(form.read(payload))
    }

    pub(crate) fn all(&self, attribute: Attribute) -> impl Iterator<Item = &Item> {
        self.0.iter().filter(move |(other, _)| *other == attribute).map(|(_, value)| value)
    }

    pub(crate) fn flag(&self, attribute: Attribute) -> Option<bool> {
        match self.all(attribute).next()?.value {
            Value::Boolean(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn enumeration(&self, attribute: Attribute) -> Option<u32> {
        self.all(attribute).next()?.as_enumeration()
    }

    pub(crate) fn integer(&self, attribute: Attribute) -> Option<i32> {
        self.all(attribute).next()?.as_integer()
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

    /// Whether [`imported`] was said of it when it came, and still is.
    pub(crate) fn is_imported(&self) -> bool {
        self.all(attribute::APPLICATION_SPECIFIC_INFORMATION).any(|own| application(own) == Some(IMPORTED))
    }

    /// What there is to tell of an attribute; None if the server does not tell it.
    pub(crate) fn told(&self, attribute: Attribute) -> Option<String> {
        let values: Vec<String> = self.all(attribute).filter_map(|value| told(attribute, value)).collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }
}

/// Namespace and data of what we say of a key that we brought in. KMIP has no attribute for that.
const IMPORTED: (&str, &str) = ("holdfast", "imported");

/// What is said of a key that is brought in (Application Specific Information, section 3.36).
pub(crate) fn imported() -> Given {
    let (namespace, data) = IMPORTED;
    let fields =
        vec![Item::text(tag::APPLICATION_NAMESPACE, namespace), Item::text(tag::APPLICATION_DATA, data)];
    (attribute::APPLICATION_SPECIFIC_INFORMATION, Value::Structure(fields))
}

fn application(own: &Item) -> Option<(&str, &str)> {
    Some((own.get_text(tag::APPLICATION_NAMESPACE)?, own.get_text(tag::APPLICATION_DATA)?))
}

/// The Name attribute of a request.
pub(crate) fn name(name: &str) -> Given {
    let fields = vec![
        Item::text(tag::NAME_VALUE, name),
        Item::enumeration(tag::NAME_TYPE, value::UNINTERPRETED_TEXT_STRING),
    ];
    (attribute::NAME, Value::Structure(fields))
}

fn told(attribute: Attribute, value: &Item) -> Option<String> {
    const STATES: [&str; 6] =
        ["Pre-Active", "Active", "Deactivated", "Compromised", "Destroyed", "Destroyed Compromised"];
    const OBJECTS: [&str; 4] = ["Certificate", "Symmetric Key", "Public Key", "Private Key"];
    const ALGORITHMS: [&str; 4] = ["DES", "3DES", "AES", "RSA"];
    let names: &[&str] = match attribute {
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
        Value::Integer(mask) if attribute == attribute::USAGE_MASK => Some(mask_told(*mask)),
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
        Value::Structure(_) => match (value.get_text(tag::NAME_VALUE), application(value)) {
            (Some(name), _) => Some(line(name)),
            (None, Some((namespace, data))) => Some(line(&format!("{namespace}: {data}"))),
            (None, None) => None,
        },
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
    use crate::form::Of;

    fn attributes(form: Form, of: Vec<Given>) -> Attributes {
        Attributes::of(Item::structure(tag::RESPONSE_PAYLOAD, form.write(Of::Wanted, of)), form)
    }

    #[test]
    fn attributes_are_told_in_the_words_of_the_standard() {
        for form in [Form::Named, Form::Tagged] {
            let told = attributes(
                form,
                vec![
                    (attribute::STATE, Value::Enumeration(3)),
                    (attribute::OBJECT_TYPE, Value::Enumeration(9)),
                    (attribute::USAGE_MASK, Value::Integer(0xc)),
                    (attribute::ACTIVATION_DATE, Value::DateTime(1_700_000_000)),
                    (attribute::SENSITIVE, Value::Boolean(true)),
                    name("images"),
                    name("images\n2026"),
                    imported(),
                ],
            );
            for (attribute, text) in [
                (attribute::STATE, "Deactivated"),
                (attribute::OBJECT_TYPE, "0x9"),
                (attribute::USAGE_MASK, "Encrypt, Decrypt"),
                (attribute::ACTIVATION_DATE, "2023-11-14T22:13:20Z"),
                (attribute::SENSITIVE, "true"),
                (attribute::NAME, "images, images 2026"),
                (attribute::APPLICATION_SPECIFIC_INFORMATION, "holdfast: imported"),
            ] {
                assert_eq!(told.told(attribute).as_deref(), Some(text), "{form:?}: {attribute:?}");
            }
            assert_eq!(told.told(attribute::EXTRACTABLE), None);
            assert_eq!(told.state(), Some(State::Deactivated));
            assert!(told.is_imported());
        }
    }

    #[test]
    fn an_attribute_of_the_wrong_type_is_not_told_as_a_fact() {
        for form in [Form::Named, Form::Tagged] {
            let wrong = attributes(form, vec![(attribute::SENSITIVE, Value::Text("true".into()))]);
            assert_eq!((wrong.flag(attribute::SENSITIVE), wrong.state()), (None, None));
        }
    }
}
