//! The document itself: `{"key-providers": {NAME: {"grpc": …} or {"cmd": …}}}`, and whatever else its
//! owner keeps in it, in the order it has.

use holdfast_wire::Malformed;
use serde_json::{Map, Value};

const PROVIDERS: &str = "key-providers";

/// Whether the document is another than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Made,
    None,
}

/// A configuration whose `key-providers`, where they are, are an object.
#[derive(Default)]
pub(super) struct Config(Map<String, Value>);

impl Config {
    /// An empty text is an empty configuration.
    pub(super) fn parse(text: &str) -> Result<Config, String> {
        if text.trim().is_empty() {
            return Ok(Config::default());
        }
        let document: Value = serde_json::from_str(text).map_err(|error| {
            format!("{}; mend it, or name another with --file", Malformed::json("its text", &error))
        })?;
        let Value::Object(mut document) = document else {
            return Err("it holds no JSON object; mend it, or name another with --file".to_owned());
        };
        match document.get(PROVIDERS) {
            None | Some(Value::Object(_)) => Ok(Config(document)),
            Some(Value::Null) => {
                document.remove(PROVIDERS);
                Ok(Config(document))
            }
            Some(_) => {
                Err("its key-providers are no JSON object; mend it, or name another with --file".to_owned())
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(PROVIDERS)?.get(name)
    }

    pub(super) fn set(&mut self, name: &str, entry: Value) -> Change {
        if self.get(name) == Some(&entry) {
            return Change::None;
        }
        let providers = self.0.entry(PROVIDERS).or_insert_with(|| Map::new().into());
        if let Value::Object(providers) = providers {
            providers.insert(name.to_owned(), entry);
        }
        Change::Made
    }

    pub(super) fn remove(&mut self, name: &str) -> Change {
        let providers = self.0.get_mut(PROVIDERS).and_then(Value::as_object_mut);
        // The others keep their order.
        match providers.and_then(|providers| providers.shift_remove(name)) {
            Some(_) => Change::Made,
            None => Change::None,
        }
    }

    /// Whether nothing but the frame is left.
    pub(super) fn is_empty(&self) -> bool {
        match self.0.get(PROVIDERS) {
            Some(Value::Object(providers)) => providers.is_empty() && self.0.len() == 1,
            _ => self.0.is_empty(),
        }
    }

    /// With a last newline.
    pub(super) fn text(&self) -> String {
        format!("{:#}\n", Value::Object(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_providers_and_their_order_stay() {
        let text = r#"{"z": 1, "key-providers": {"kp": {"grpc": "a:1"}, "b": {"cmd": {"path": "/x"}}}}"#;
        let mut config = Config::parse(text).unwrap();
        assert_eq!(config.set("holdfast", json!({"grpc": "unix:///s"})), Change::Made);
        assert_eq!(config.set("holdfast", json!({"grpc": "unix:///s"})), Change::None);
        let names = |config: &Config| {
            let written: Value = serde_json::from_str(&config.text()).unwrap();
            written[PROVIDERS].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&config), ["kp", "b", "holdfast"]);
        assert_eq!(config.remove("kp"), Change::Made);
        assert_eq!(config.remove("kp"), Change::None);
        assert_eq!(names(&config), ["b", "holdfast"]);
        assert!(!config.is_empty());
    }

    #[test]
    fn what_is_left_without_providers_is_empty() {
        for (text, empty) in [
            ("", true),
            (" \n", true),
            ("{}", true),
            (r#"{"key-providers":{}}"#, true),
            (r#"{"key-providers":null}"#, true),
            (r#"{"other":1}"#, false),
            (r#"{"other":1,"key-providers":{}}"#, false),
        ] {
            assert_eq!(Config::parse(text).unwrap().is_empty(), empty, "{text}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_not_touched() {
        for (text, says) in [
            ("{", "ends too early"),
            ("hello", "is not JSON"),
            ("[]", "no JSON object"),
            (r#"{"key-providers":[]}"#, "key-providers are no JSON object"),
        ] {
            let error = Config::parse(text).err().unwrap();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
