use std::collections::BTreeSet;
use std::str::FromStr;

use crate::{Error, KeyKind};

/// A key as asked for on the command line: `LABEL=KIND` or `LABEL:ID=KIND`, the id in hex (`02`) or as
/// it stands in a PKCS#11 URI (`%02`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpec {
    /// CKA_LABEL, and the name of its file under `keys/`: 1 to 64 of `A-Z a-z 0-9 . _ -`, the first
    /// a letter or digit.
    pub label: String,
    /// CKA_ID, 1 to 32 bytes; by default the key's place in the list.
    pub id: Option<Vec<u8>>,
    /// What to make.
    pub kind: KeyKind,
}

impl KeySpec {
    /// Gives every key its id: the one it names, otherwise its place in the list, from 1. A label or an
    /// id that stands twice is an error: their files, and a reader, could not tell them apart.
    pub fn number(specs: &[KeySpec]) -> Result<Vec<(&KeySpec, Vec<u8>)>, Error> {
        let mut labels = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let mut numbered = Vec::new();
        for (place, spec) in (1u8..=u8::MAX).zip(specs) {
            let id = spec.id.clone().unwrap_or_else(|| vec![place]);
            if !labels.insert(&spec.label) {
                return Err(Error::Invalid(format!("--key {} stands twice", spec.label)));
            }
            if !ids.insert(id.clone()) {
                return Err(Error::Invalid(format!(
                    "--key {} has the id of another key: give it its own, as in {}:a1={}",
                    spec.label, spec.label, spec.kind
                )));
            }
            numbered.push((spec, id));
        }
        if numbered.len() < specs.len() {
            return Err(Error::Invalid("more than 255 keys".to_owned()));
        }
        Ok(numbered)
    }
}

impl FromStr for KeySpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<KeySpec, Error> {
        let (name, kind) = text.split_once('=').ok_or_else(|| {
            Error::Invalid(format!("{text:?} is no key: write LABEL=KIND, as in images=rsa-3072"))
        })?;
        let (label, id) = match name.split_once(':') {
            Some((label, id)) => (label, Some(parse_id(id)?)),
            None => (name, None),
        };
        check_label(label)?;
        Ok(KeySpec { label: label.to_owned(), id, kind: kind.parse()? })
    }
}

fn check_label(label: &str) -> Result<(), Error> {
    let fits = (1..=64).contains(&label.len())
        && label.starts_with(|first: char| first.is_ascii_alphanumeric())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if fits {
        Ok(())
    } else {
        Err(Error::Invalid(format!(
            "{label:?} is no label for a key: use 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"
        )))
    }
}

fn parse_id(text: &str) -> Result<Vec<u8>, Error> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'%').collect();
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
        }
        _ => None,
    });
    match bytes.collect::<Option<Vec<u8>>>() {
        Some(id) if (1..=32).contains(&id.len()) => Ok(id),
        _ => Err(Error::Invalid(format!(
            "{text:?} is no id for a key: use 1 to 32 bytes in hex, as in 02 or %02"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KeySpec, String> {
        text.parse::<KeySpec>().map_err(|error| error.to_string())
    }

    #[test]
    fn an_id_is_given_or_follows_the_order() {
        let specs = ["a=rsa-2048", "b:%0a%FF=ecc-p256", "c:10=ecc-p521"].map(|text| parse(text).unwrap());
        let ids: Vec<_> = KeySpec::number(&specs).unwrap().into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, [vec![1], vec![10, 255], vec![16]]);
        assert_eq!(specs[2].kind, KeyKind::EcP521);
    }

    #[test]
    fn two_keys_never_share_a_label_or_an_id() {
        let twice = ["a=rsa-2048", "a=ecc-p256"].map(|text| parse(text).unwrap());
        let error = KeySpec::number(&twice).unwrap_err().to_string();
        assert_eq!(error, "--key a stands twice");
        let clash = ["a:02=rsa-2048", "b=ecc-p256"].map(|text| parse(text).unwrap());
        let error = KeySpec::number(&clash).unwrap_err().to_string();
        assert!(error.contains("--key b has the id of another key"), "{error}");
    }

    #[test]
    fn each_defect_has_its_own_line() {
        for (spec, says) in [
            ("images", "write LABEL=KIND"),
            ("images=rsa-1024", "use one of rsa-2048, rsa-3072"),
            ("=rsa-2048", "no label"),
            ("../x=rsa-2048", "no label"),
            ("-x=rsa-2048", "no label"),
            (".x=rsa-2048", "no label"),
            ("a:=rsa-2048", "no id"),
            ("a:0=rsa-2048", "no id"),
            ("a:xy=rsa-2048", "no id"),
            ("a:+1=rsa-2048", "no id"),
        ] {
            let error = parse(spec).unwrap_err();
            assert!(error.contains(says), "{spec}: {error}");
        }
    }
}
