//! How attributes are written, in the two forms that KMIP has for it: by their names up to 1.4, by tags of their own
//! from 2.0 on. Everything else of a message is the same in both, as far as it is used here.
//!
//! ```text
//! 1.x   Attribute { Attribute Name "State", Attribute Value Active }   …   in a Template-Attribute, or bare
//! 2.x   Attributes { State Active, … }
//! ```

use crate::message::line;
use crate::protocol::attribute::Attribute;
use crate::protocol::{Version, tag};
use crate::ttlv::{Item, Tag, Value};

/// Which form a version has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// 1.x.
    Named,
    /// 2.x.
    Tagged,
}

/// What the attributes of a request are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Objects that are looked for.
    Wanted,
    /// The new object.
    New,
    /// Both halves of a new pair.
    Pair,
    /// Its private half.
    Private,
    /// Its public half.
    Public,
}

/// An attribute of a request.
pub(crate) type Given = (Attribute, Value);

impl Form {
    pub(crate) fn of(version: Version) -> Form {
        if version < Version::V2_0 { Form::Named } else { Form::Tagged }
    }

    /// The items of a request that say so.
    pub(crate) fn write(self, of: Of, attributes: Vec<Given>) -> Vec<Item> {
        let items: Vec<Item> = attributes.into_iter().map(|given| self.item(given)).collect();
        match self.around(of) {
            Some(tag) => vec![Item::structure(tag, items)],
            None => items,
        }
    }

    /// What an answer's payload says of an object, in its order.
    pub(crate) fn read(self, payload: Item) -> Vec<(Attribute, Item)> {
        match self {
            Form::Named => items(payload).filter_map(named).collect(),
            Form::Tagged => items(payload)
                .filter(|item| item.tag == tag::ATTRIBUTES)
                .flat_map(items)
                // A vendor's own have the tag Attribute, and whatever name: they are none of the standard's.
                .filter_map(|item| Some((Attribute::tagged(item.tag)?, item)))
                .collect(),
        }
    }

    fn item(self, (attribute, value): Given) -> Item {
        match self {
            Form::Named => {
                let name = Item::text(tag::ATTRIBUTE_NAME, attribute.name);
                Item::structure(tag::ATTRIBUTE, vec![name, Item { tag: tag::ATTRIBUTE_VALUE, value }])
            }
            Form::Tagged => Item { tag: attribute.tag, value },
        }
    }

    fn around(self, of: Of) -> Option<Tag> {
        match (self, of) {
            (Form::Named, Of::Wanted) => None,
            (Form::Named, Of::New) => Some(tag::TEMPLATE_ATTRIBUTE),
            (Form::Named, Of::Pair) => Some(tag::COMMON_TEMPLATE_ATTRIBUTE),
            (Form::Named, Of::Private) => Some(tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE),
            (Form::Named, Of::Public) => Some(tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE),
            (Form::Tagged, Of::Wanted | Of::New) => Some(tag::ATTRIBUTES),
            (Form::Tagged, Of::Pair) => Some(tag::COMMON_ATTRIBUTES),
            (Form::Tagged, Of::Private) => Some(tag::PRIVATE_KEY_ATTRIBUTES),
            (Form::Tagged, Of::Public) => Some(tag::PUBLIC_KEY_ATTRIBUTES),
        }
    }
}

fn items(structure: Item) -> impl Iterator<Item = Item> {
    let items = match structure.value {
        Value::Structure(items) => items,
        _ => Vec::new(),
    };
    items.into_iter()
}

fn named(item: Item) -> Option<(Attribute, Item)> {
    let is_attribute = item.tag == tag::ATTRIBUTE;
    let attribute = Attribute::named(&line(item.get_text(tag::ATTRIBUTE_NAME)?)).filter(|_| is_attribute)?;
    Some((attribute, items(item).find(|field| field.tag == tag::ATTRIBUTE_VALUE)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::attribute;

    const PLACES: [Of; 5] = [Of::Wanted, Of::New, Of::Pair, Of::Private, Of::Public];

    fn payload(items: Vec<Item>) -> Item {
        Item::structure(tag::RESPONSE_PAYLOAD, items)
    }

    #[test]
    fn what_one_form_writes_it_reads_and_the_other_does_not() {
        for (form, other) in [(Form::Named, Form::Tagged), (Form::Tagged, Form::Named)] {
            let written = || payload(form.write(Of::Wanted, vec![(attribute::STATE, Value::Enumeration(2))]));
            let read = form.read(written());
            assert!(
                matches!(&read[..], [(attribute::STATE, item)] if item.as_enumeration() == Some(2)),
                "{form:?}: {read:?}"
            );
            assert!(other.read(written()).is_empty(), "{other:?}");
        }
    }

    #[test]
    fn each_place_of_a_request_has_its_tag_in_each_form() {
        let tags = |form: Form| {
            PLACES.map(|of| form.write(of, vec![(attribute::STATE, Value::Enumeration(2))])[0].tag & 0xffff)
        };
        assert_eq!(tags(Form::Named), [0x08, 0x91, 0x1f, 0x65, 0x6e]);
        assert_eq!(tags(Form::Tagged), [0x125, 0x125, 0x126, 0x127, 0x128]);
    }

    #[test]
    fn a_vendors_own_attribute_is_not_taken_for_the_standards() {
        let own = Item::structure(
            tag::ATTRIBUTE,
            vec![Item::text(tag::ATTRIBUTE_NAME, "Sensitive"), Item::boolean(tag::ATTRIBUTE_VALUE, true)],
        );
        let read = Form::Tagged.read(payload(vec![Item::structure(tag::ATTRIBUTES, vec![own])]));
        assert!(read.is_empty(), "{read:?}");
    }

    #[test]
    fn only_from_2_0_on_attributes_have_tags() {
        let forms = Version::ALL.map(Form::of);
        assert_eq!(forms, [Form::Tagged, Form::Tagged, Form::Named, Form::Named, Form::Named]);
    }
}
