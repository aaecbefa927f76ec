use std::path::PathBuf;

use crate::Error;

/// What stands behind the transport, split as skopeo splits it: FILE has no colon, the name may have some.
pub(super) fn split(text: &str, transport: &str, form: &str) -> Result<(PathBuf, Option<String>), Error> {
    let wrong = |what: &str| Error::Reference(format!("{what}; an image in an archive is named {form}"));
    let rest = text.strip_prefix(transport).ok_or_else(|| wrong("this names no archive"))?;
    let (file, name) = match rest.split_once(':') {
        Some((file, name)) => (file, Some(name)),
        None => (rest, None),
    };
    if file.is_empty() {
        return Err(wrong("no file given"));
    }
    if name.is_some_and(str::is_empty) {
        return Err(wrong("the image's name is empty"));
    }
    Ok((file.into(), name.map(str::to_owned)))
}
