use std::collections::BTreeMap;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Malformed;

/// What a key was wrapped for: names and values that stand in the packet's protected header, so that
/// the content's tag covers them, and that a policy rule can ask for.
///
/// At most 16. A name has 1 to 64 bytes of `A-Z a-z 0-9 . _ / -`, a value at most 256 bytes without
/// control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Most labels a packet may have.
    pub const MAX: usize = 16;

    /// Adds one. A second value for the same name is an error unless it is the same value.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), Malformed> {
        let name_ok = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b));
        if !name_ok {
            return Err(Malformed::new("a label's name has 1 to 64 letters, digits, '.', '_', '/' or '-'"));
        }
        if value.len() > 256 || value.chars().any(char::is_control) {
            return Err(Malformed::new("a label's value has at most 256 bytes and no control characters"));
        }
        match self.0.get(name) {
            Some(known) if known == value => Ok(()),
            Some(_) => Err(Malformed::new(format!("label {name} has two different values"))),
            None if self.0.len() == Labels::MAX => Err(Malformed::new("more than 16 labels")),
            None => {
                self.0.insert(name.to_owned(), value.to_owned());
                Ok(())
            }
        }
    }

    /// Whether every pair of `wanted` is here too.
    pub fn contains_all(&self, wanted: &Labels) -> bool {
        wanted.iter().all(|(name, value)| self.get(name) == Some(value))
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;
        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = Labels;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("labels, strings by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::default();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if labels.get(&name).is_some() {
                        return Err(A::Error::custom("a label stands twice"));
                    }
                    labels.insert(&name, &value).map_err(A::Error::custom)?;
                }
                Ok(labels)
            }
        }
        deserializer.deserialize_map(LabelsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_without_labels_matches_any_packet() {
        let mut labels = Labels::default();
        labels.insert("env", "prod").unwrap();
        assert!(labels.contains_all(&Labels::default()));
    }

    #[test]
    fn every_pair_must_match() {
        let mut packet = Labels::default();
        packet.insert("env", "prod").unwrap();
        let mut rule = packet.clone();
        assert!(packet.contains_all(&rule));
        rule.insert("team", "a").unwrap();
        assert!(!packet.contains_all(&rule));
    }

    #[test]
    fn conflicting_values_and_a_seventeenth_label_are_errors() {
        let mut labels = Labels::default();
        for i in 0..16 {
            labels.insert(&format!("l{i}"), "x").unwrap();
        }
        labels.insert("l3", "x").unwrap();
        assert_eq!(labels.insert("l3", "y").unwrap_err().to_string(), "label l3 has two different values");
        assert_eq!(labels.insert("l16", "x").unwrap_err().to_string(), "more than 16 labels");
    }

    #[test]
    fn only_strings_are_values_and_none_stands_twice() {
        assert!(serde_json::from_str::<Labels>(r#"{"a":1}"#).is_err());
        assert!(serde_json::from_str::<Labels>(r#"{"a":"1","a":"1"}"#).is_err());
        assert!(serde_json::from_str::<Labels>(r#"{"a b":"1"}"#).is_err());
        assert!(serde_json::from_str::<Labels>("{\"a\":\"x\\u001b[2J\"}").is_err());
    }
}
