//! JSON from strangers: objects without duplicate members, nested no deeper than they need to be.
//!
//! RFC 7515 section 4 lets a reader take the last of two members with one name; two readers that choose
//! differently would then see two packets. Here a name that stands twice is refused, in any object at
//! any depth, whether it is looked at or not. Deriving `Deserialize` would only find duplicates of the
//! members that a struct names.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use holdfast_wire::Malformed;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::base64url;

/// How deep objects and arrays may nest. The deepest of a JWE is the `epk` of a recipient's header, 5.
const MAX_DEPTH: u8 = 8;

/// A JSON value; of negative and broken numbers, booleans and null only that they are neither text nor structure.
pub(crate) enum Value {
    Text(String),
    Object(Object),
    Array(Vec<Value>),
    Number(u64),
    Other,
}

/// The members of an object, each name once.
#[derive(Default)]
pub(crate) struct Object(BTreeMap<String, Value>);

impl Object {
    /// Reads one object and nothing behind it. `what` is what the error calls it: "the packet".
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Object, Malformed> {
        let fault = Cell::new(None);
        let seed = Strict { depth_left: MAX_DEPTH, fault: &fault };
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
        match value {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Malformed::new(format!("{what} is not a JSON object"))),
            Err(error) => Err(match fault.get() {
                Some(fault) => Malformed::new(format!(
                    "{what} {fault} (line {}, column {})",
                    error.line(),
                    error.column()
                )),
                None => Malformed::json(what, &error),
            }),
        }
    }

    /// An object of texts, as if it had been read.
    pub(crate) fn of_texts<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> Object {
        Object(members.map(|(name, text)| (name.to_owned(), Value::Text(text.to_owned()))).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether a name stands in both.
    pub(crate) fn shares_a_name_with(&self, other: &Object) -> bool {
        self.0.keys().any(|name| other.has(name))
    }

    /// A member that is text if it is there. `of` is whose member it is: "the packet".
    pub(crate) fn text(&self, name: &str, of: &str) -> Result<Option<&str>, Malformed> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Malformed::new(format!("{name} of {of} is not a string"))),
        }
    }

    /// A member that is bytes in base64url if it is there.
    pub(crate) fn bytes(&self, name: &str, of: &str) -> Result<Option<Vec<u8>>, Malformed> {
        self.text(name, of)?
            .map(|text| {
                base64url::decode(text)
                    .ok_or_else(|| Malformed::new(format!("{name} of {of} is not base64url without padding")))
            })
            .transpose()
    }

    /// A member that is an object if it is there.
    pub(crate) fn object(&self, name: &str, of: &str) -> Result<Option<&Object>, Malformed> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(Malformed::new(format!("{name} of {of} is not an object"))),
        }
    }
}

/// Reads a [`Value`]. The fault is handed out beside serde's error, whose text might quote the input.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: u8,
    fault: &'a Cell<Option<&'static str>>,
}

impl Strict<'_> {
    fn fail<T, E: serde::de::Error>(self, fault: &'static str) -> Result<T, E> {
        self.fault.set(Some(fault));
        Err(E::custom(fault))
    }

    fn one_deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Strict { depth_left, ..self }),
            None => self.fail("nests deeper than 8 levels"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.one_deeper()?;
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            match members.entry(name) {
                Entry::Occupied(_) => return self.fail("has the same member twice"),
                Entry::Vacant(place) => place.insert(map.next_value_seed(inner)?),
            };
        }
        Ok(Value::Object(Object(members)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.one_deeper()?;
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element_seed(inner)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> String {
        match Object::parse(json.as_bytes(), "it") {
            Ok(_) => panic!("{json} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_found_at_any_depth() {
        assert_eq!(fault(r#"{"a":1,"a":1}"#), "it has the same member twice (line 1, column 10)");
        assert_eq!(
            fault(r#"{"x":[{"a":1,"\u0061":2}]}"#),
            "it has the same member twice (line 1, column 21)"
        );
    }

    #[test]
    fn nesting_has_a_bound() {
        let nested = |depth: usize| format!("{}{}", r#"{"a":"#.repeat(depth - 1) + "{", "}".repeat(depth));
        assert!(Object::parse(nested(8).as_bytes(), "it").is_ok());
        assert!(fault(&nested(9)).starts_with("it nests deeper than 8 levels"));
        assert!(fault(&("{\"a\":".to_owned() + &"[".repeat(100_000))).starts_with("it nests deeper"));
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        assert_eq!(fault("[]"), "it is not a JSON object");
        assert_eq!(fault("\"text\""), "it is not a JSON object");
        assert_eq!(fault("{} {}"), "it is not JSON (line 1, column 4)");
        assert_eq!(fault("{\"a\":1"), "it ends too early (line 1, column 6)");
        assert_eq!(fault(""), "it ends too early (line 1, column 0)");
    }
}
