use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Error, printable};

/// `oci:DIR[:TAG]`, split as skopeo splits it: DIR has no colon, TAG may have some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The layout's directory.
    pub directory: PathBuf,
    /// The image's `org.opencontainers.image.ref.name`.
    pub tag: Option<String>,
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference, Error> {
        let wrong = |what: &str| {
            Error::Reference(format!(
                "{what}; an image is named oci:DIR or oci:DIR:TAG, DIR being an OCI image layout"
            ))
        };
        let rest = text.strip_prefix("oci:").ok_or_else(|| wrong("this names no OCI layout"))?;
        let (directory, tag) = match rest.split_once(':') {
            Some((directory, tag)) => (directory, Some(tag)),
            None => (rest, None),
        };
        if directory.is_empty() {
            return Err(wrong("no directory given"));
        }
        if tag.is_some_and(str::is_empty) {
            return Err(wrong("the tag is empty"));
        }
        Ok(Reference { directory: directory.into(), tag: tag.map(str::to_owned) })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", printable(&self.directory.to_string_lossy()))?;
        match &self.tag {
            Some(tag) => write!(f, ":{}", printable(tag)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_as_skopeo_splits_them() {
        let parse = |text: &str| text.parse::<Reference>().map(|r| (r.directory, r.tag));
        assert_eq!(parse("oci:a/b").unwrap(), ("a/b".into(), None));
        assert_eq!(parse("oci:a:v1").unwrap(), ("a".into(), Some("v1".into())));
        assert_eq!(
            parse("oci:/x:docker.io/foo:latest").unwrap(),
            ("/x".into(), Some("docker.io/foo:latest".into()))
        );
    }

    #[test]
    fn what_is_no_reference_is_told_the_form() {
        for bad in ["", "a", "oci:", "oci::v1", "oci:a:", "docker://alpine"] {
            let error = bad.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains("oci:DIR or oci:DIR:TAG"), "{bad}: {error}");
        }
    }
}
