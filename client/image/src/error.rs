use std::io;
use std::path::Path;

use crate::Digest;

/// Why an image was not read, opened or written. Each text is one line: what happened, then what to
/// do; it quotes names from an image only with control characters escaped, and never a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for does not name an image, or not just one, or none of its layers.
    #[error("{0}")]
    Reference(String),
    /// The image is not made as its specification says.
    #[error("{0}")]
    Image(String),
    /// A check of content failed: MAC, size, digest or diff id.
    #[error("{0}")]
    Damaged(String),
    /// The [`Opener`](crate::Opener) did not open a layer's key; its own words.
    #[error("{0}")]
    NotOpened(Box<dyn std::error::Error + Send + Sync>),
    /// The [`Wrapper`](crate::Wrapper) did not wrap a layer's key; its own words.
    #[error("{0}")]
    NotWrapped(Box<dyn std::error::Error + Send + Sync>),
    /// Where the documents lie they could not be read; its own words.
    #[error("{0}")]
    Elsewhere(Box<dyn std::error::Error + Send + Sync>),
    /// Files could not be read or written.
    #[error("{what}: {}", io_text(.source))]
    Io {
        /// What was done, with the path.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("interrupted; nothing was written")]
    Cancelled,
    /// One of the above, met in a layer.
    #[error("{} of {of} ({}): {source}", layer_text(.platform, *.position), .digest.short())]
    Layer {
        /// `os/arch[/variant]`, where the image has several.
        platform: Option<String>,
        /// From 1.
        position: usize,
        /// How many layers the manifest has.
        of: usize,
        /// The layer as the source's manifest names it.
        digest: Digest,
        /// What happened.
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn image(text: impl Into<String>) -> Error {
        Error::Image(text.into())
    }

    pub(crate) fn damaged(text: impl Into<String>) -> Error {
        Error::Damaged(text.into())
    }

    /// For `map_err`: `what` is done to `path`.
    pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let what = format!("cannot {what} {}", printable(&path.to_string_lossy()));
        move |source| Error::Io { what, source }
    }

    /// For `map_err`: a blob is written to `place`, which is fit for a terminal.
    pub(crate) fn writing(place: String) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what: format!("cannot write to {place}"), source }
    }

    /// Whether a target lost a blob that was being written, which can be begun again.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::ConnectionReset)
    }

    /// Whether it is, at its root, the caller's own wish.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Error::Cancelled => true,
            Error::Layer { source, .. } => source.is_cancelled(),
            _ => false,
        }
    }
}

/// Text from an image or a daemon as a terminal may show it: control characters, line breaks and
/// invisible characters (direction marks among them) are escaped, the rest stays.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// A name from an image, for an error: [`printable`], and no longer than a line can bear.
pub(crate) fn shown(name: &str) -> String {
    const MOST: usize = 64;
    let text = printable(name);
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn layer_text(platform: &Option<String>, position: usize) -> String {
    match platform {
        Some(platform) => format!("{}, layer {position}", shown(platform)),
        None => format!("layer {position}"),
    }
}

fn io_text(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free space there and run again",
        io::ErrorKind::PermissionDenied => "; run as a user who may",
        io::ErrorKind::ReadOnlyFilesystem => "; name a place that can be written",
        _ => "",
    };
    format!("{error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shown(&"é".repeat(64)), "é".repeat(64));
        assert_eq!(shown(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }

    #[test]
    fn escapes_and_direction_marks_are_never_printed_raw() {
        assert_eq!(printable("v1\u{1b}[2J\n\u{202e}\u{9b}'x'é"), r"v1\u{1b}[2J\n\u{202e}\u{9b}'x'é");
    }
}
