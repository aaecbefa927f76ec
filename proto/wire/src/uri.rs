use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::Malformed;

/// Which kind of token a URI leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// An HSM behind a PKCS#11 module (RFC 7512).
    Pkcs11,
    /// A TPM 2.0.
    Tpm,
    /// A KMIP server.
    Kmip,
}

impl Scheme {
    const ALL: [Scheme; 3] = [Scheme::Pkcs11, Scheme::Tpm, Scheme::Kmip];

    /// The URI's scheme, without the colon.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Pkcs11 => "pkcs11",
            Scheme::Tpm => "tpm",
            Scheme::Kmip => "kmip",
        }
    }

    /// Attributes that say which token.
    fn token_attributes(self) -> &'static [&'static str] {
        match self {
            Scheme::Pkcs11 => &[
                "token",
                "manufacturer",
                "serial",
                "model",
                "slot-id",
                "slot-description",
                "slot-manufacturer",
            ],
            Scheme::Tpm => &[],
            Scheme::Kmip => &["server"],
        }
    }

    /// Attributes that say which key on it.
    fn key_attributes(self) -> &'static [&'static str] {
        match self {
            Scheme::Pkcs11 => &["object", "id", "type"],
            Scheme::Tpm => &["handle", "file"],
            Scheme::Kmip => &["id", "name"],
        }
    }
}

/// The URI of a token or of a key on it: `pkcs11:token=prod;object=images-2026;id=%02`.
///
/// The grammar is the path part of RFC 7512 for every scheme: `name=value` pairs between semicolons,
/// values percent-encoded. A query (`?pin-value=…`) is refused: a PIN in a URI ends up in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyUri {
    scheme: Scheme,
    attributes: BTreeMap<&'static str, Vec<u8>>,
}

impl KeyUri {
    /// Longest URI, in bytes, as given and as written.
    pub const MAX_LEN: usize = 4096;

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The decoded bytes of an attribute.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.attributes.get(name).map(Vec::as_slice)
    }

    /// An attribute that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether it says which key, and not only which token.
    pub fn names_key(&self) -> bool {
        self.scheme.key_attributes().iter().any(|name| *name != "type" && self.attributes.contains_key(name))
    }

    /// Whether this is the URI of a token on which `key` lies: same scheme, and every attribute it
    /// has stands in `key` with the same value.
    pub fn is_token_of(&self, key: &KeyUri) -> bool {
        self.scheme == key.scheme
            && self.attributes.iter().all(|(name, value)| key.attributes.get(name) == Some(value))
    }

    /// The same with one attribute more, or another value of it.
    pub fn with(&self, name: &str, value: &[u8]) -> Result<KeyUri, Malformed> {
        let name = known_attribute(self.scheme, name)?;
        let mut attributes = self.attributes.clone();
        attributes.insert(name, value.to_vec());
        let uri = KeyUri { scheme: self.scheme, attributes };
        // What is written must read back.
        uri.to_string().parse()
    }

    /// The part that says which token.
    pub fn token(&self) -> KeyUri {
        let names = self.scheme.token_attributes();
        KeyUri {
            scheme: self.scheme,
            attributes: self
                .attributes
                .iter()
                .filter(|(name, _)| names.contains(*name))
                .map(|(name, value)| (*name, value.clone()))
                .collect(),
        }
    }
}

impl FromStr for KeyUri {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<KeyUri, Malformed> {
        let too_long =
            || Malformed::new(format!("a key URI of more than {} bytes once it is encoded", KeyUri::MAX_LEN));
        if text.len() > KeyUri::MAX_LEN {
            return Err(too_long());
        }
        let (scheme, path) = text
            .split_once(':')
            .and_then(|(name, rest)| {
                let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name)?;
                Some((scheme, rest))
            })
            .ok_or_else(|| Malformed::new("a key URI begins with pkcs11:, tpm: or kmip:"))?;
        if path.contains('?') {
            return Err(Malformed::new(
                "a key URI here has no ?query: a PIN or a module in a URI ends up in logs; set pin and module in [[token]]",
            ));
        }
        let mut attributes = BTreeMap::new();
        for pair in path.split(';').filter(|_| !path.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| Malformed::new("a key URI is made of name=value pairs between semicolons"))?;
            let name = known_attribute(scheme, name)?;
            let value = percent_decode(value)
                .ok_or_else(|| Malformed::new(format!("the value of {name} is not percent-encoded text")))?;
            if value.is_empty() {
                return Err(Malformed::new(format!("{name} is empty")));
            }
            if attributes.insert(name, value).is_some() {
                return Err(Malformed::new(format!("{name} stands twice")));
            }
        }
        let uri = KeyUri { scheme, attributes };
        // Written, an id of letters is three times as long; what is written must read back.
        if uri.to_string().len() > KeyUri::MAX_LEN { Err(too_long()) } else { Ok(uri) }
    }
}

fn known_attribute(scheme: Scheme, name: &str) -> Result<&'static str, Malformed> {
    let known = || scheme.token_attributes().iter().chain(scheme.key_attributes());
    known().copied().find(|attribute| *attribute == name).ok_or_else(|| {
        let names: Vec<_> = known().copied().collect();
        Malformed::new(format!(
            "an attribute that {}: URIs do not have here; they have {}",
            scheme.name(),
            names.join(", ")
        ))
    })
}

/// The characters that stand for themselves in RFC 7512's pk11-pchar, but for `&` kept out of values
/// by nobody: unreserved, and `: [ ] @ ! $ ' ( ) * + , = &`, and `/` as paths have it.
fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=&/".contains(&byte)
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte if stands_for_itself(byte) => out.push(byte),
            _ => return None,
        }
    }
    Some(out)
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme.name())?;
        let order = self.scheme.token_attributes().iter().chain(self.scheme.key_attributes());
        let pairs = order.filter_map(|name| Some((name, self.attributes.get(name)?)));
        for (i, (name, value)) in pairs.enumerate() {
            write!(f, "{}{name}=", if i > 0 { ";" } else { "" })?;
            for byte in value {
                // CKA_ID is bytes, not text: all of it is encoded, as other tools print it.
                if stands_for_itself(*byte) && *name != "id"
                    || (self.scheme == Scheme::Kmip && stands_for_itself(*byte))
                {
                    write!(f, "{}", char::from(*byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUri({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KeyUri, String> {
        text.parse::<KeyUri>().map_err(|e| e.to_string())
    }

    #[test]
    fn values_are_percent_decoded() {
        let uri = parse("pkcs11:token=My%20HSM;object=images-2026;id=%02%ff").unwrap();
        assert_eq!(uri.text("token"), Some("My HSM"));
        assert_eq!(uri.get("id"), Some(&[2, 0xff][..]));
        assert_eq!(uri.to_string(), "pkcs11:token=My%20HSM;object=images-2026;id=%02%FF");
        assert!(uri.names_key());
        assert_eq!(uri.token(), parse("pkcs11:token=My%20HSM").unwrap());
    }

    #[test]
    fn a_token_owns_the_keys_that_have_all_its_attributes() {
        let key = parse("pkcs11:token=prod;serial=1;object=a").unwrap();
        assert!(parse("pkcs11:token=prod").unwrap().is_token_of(&key));
        assert!(parse("pkcs11:").unwrap().is_token_of(&key));
        assert!(!parse("pkcs11:token=test").unwrap().is_token_of(&key));
        assert!(!parse("pkcs11:model=x").unwrap().is_token_of(&key));
        assert!(!parse("tpm:").unwrap().is_token_of(&key));
    }

    #[test]
    fn a_query_is_refused_with_the_reason_and_without_the_pin() {
        let error = parse("pkcs11:token=prod?pin-value=98765").unwrap_err();
        assert!(error.contains("PIN") && !error.contains("98765"), "{error}");
    }

    #[test]
    fn what_is_taken_can_be_written_and_read_again() {
        let longest = parse(&format!("pkcs11:id={}", "a".repeat(1362))).unwrap();
        assert_eq!(parse(&longest.to_string()).unwrap(), longest);
        let error = parse(&format!("pkcs11:id={}", "a".repeat(1363))).unwrap_err();
        assert!(error.contains("more than 4096 bytes"), "{error}");
    }

    #[test]
    fn each_defect_has_its_own_line() {
        for (uri, says) in [
            ("prod", "begins with"),
            ("file:/x", "begins with"),
            ("pkcs11:token", "name=value"),
            ("pkcs11:token=a;;object=b", "name=value"),
            ("pkcs11:token=a;token=b", "stands twice"),
            ("pkcs11:token=", "is empty"),
            ("pkcs11:token=%zz", "percent-encoded"),
            ("pkcs11:token=%4", "percent-encoded"),
            ("pkcs11:token=a b", "percent-encoded"),
            ("pkcs11:label=a", "do not have here"),
            ("tpm:token=a", "do not have here"),
        ] {
            let error = parse(uri).unwrap_err();
            assert!(error.contains(says), "{uri}: {error}");
        }
    }

    #[test]
    fn an_attribute_can_be_added() {
        let uri = parse("pkcs11:token=prod;object=a").unwrap();
        let named = uri.with("id", &[2, 0xff]).unwrap();
        assert_eq!(named, parse("pkcs11:token=prod;object=a;id=%02%ff").unwrap());
        assert!(uri.is_token_of(&named));
        assert!(uri.with("id", &[]).is_err());
        assert!(uri.with("handle", b"1").is_err());
        assert!(uri.with("id", &[7; 2000]).is_err());
    }

    #[test]
    fn the_other_schemes_have_the_same_grammar() {
        assert_eq!(parse("tpm:handle=0x81010002").unwrap().text("handle"), Some("0x81010002"));
        assert_eq!(
            parse("tpm:file=/etc/holdfast/images.tss").unwrap().to_string(),
            "tpm:file=/etc/holdfast/images.tss"
        );
        assert!(!parse("tpm:").unwrap().names_key());
        assert_eq!(parse("kmip:server=kms-1;id=42").unwrap().to_string(), "kmip:server=kms-1;id=42");
    }
}
