use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::{Error, printable};

/// `os/arch[/variant]`, as an index or an image's config has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`
    pub architecture: String,
    /// `v7`; most have none.
    pub variant: Option<String>,
}

impl Platform {
    /// From the members `os`, `architecture` and `variant`; `None` without the first two.
    pub(crate) fn of(json: &Value) -> Option<Platform> {
        let field = |name| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(Platform {
            os: field("os")?.to_owned(),
            architecture: field("architecture")?.to_owned(),
            variant: field("variant").map(str::to_owned),
        })
    }

    /// Whether this is what `wanted` asks for; a wish without a variant takes any.
    pub(crate) fn satisfies(&self, wanted: &Platform) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || wanted.variant == self.variant)
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Platform, Error> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture, variant @ ..] if variant.len() <= 1 && parts.iter().all(|p| !p.is_empty()) => {
                Ok(Platform {
                    os: (*os).to_owned(),
                    architecture: (*architecture).to_owned(),
                    variant: variant.first().map(|v| (*v).to_owned()),
                })
            }
            _ => Err(Error::Reference(
                "a platform is os/arch or os/arch/variant, such as linux/arm64".to_owned(),
            )),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", printable(&self.os), printable(&self.architecture))?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", printable(variant)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_without_a_variant_takes_any() {
        let v7: Platform = "linux/arm/v7".parse().unwrap();
        assert!(v7.satisfies(&"linux/arm".parse().unwrap()));
        assert!(v7.satisfies(&v7));
        assert!(!v7.satisfies(&"linux/arm/v6".parse().unwrap()));
        assert!("linux".parse::<Platform>().is_err());
        assert!("linux//".parse::<Platform>().is_err());
        assert!("a/b/c/d".parse::<Platform>().is_err());
    }
}
