use holdfast_image::printable;

/// Why a registry was not read or written. Each text is one line: what happened, then what to do. None holds
/// a credential, and what a registry said in it is fit for a terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for does not name an image in a registry.
    #[error("{0}")]
    Reference(String),
    /// The credentials of this user could not be read.
    #[error("{0}")]
    Credentials(String),
    /// It refuses this user, or does not know him (401, 403).
    #[error("{0}")]
    Denied(String),
    /// There is no such repository, manifest or blob (404).
    #[error("{0}")]
    NotFound(String),
    /// The tag leads to another manifest than it did when it was read.
    #[error("{0}")]
    Moved(String),
    /// It cannot be reached, or goes on failing (429, 5xx).
    #[error("{0}")]
    Unavailable(String),
    /// It has forgotten what it had of a blob that was being sent.
    #[error("{0}")]
    Lost(String),
    /// What it answers is not as the OCI distribution-spec says.
    #[error("{0}")]
    Odd(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// Whether there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound(_))
    }
}

/// A registry's own words behind ours; it may have none.
pub(crate) fn in_its_words(message: &str) -> String {
    const MOST: usize = 200;
    let text = printable(message.trim());
    match text.char_indices().nth(MOST) {
        _ if text.is_empty() => String::new(),
        Some((end, _)) => format!(" (it says: {}…)", &text[..end]),
        None => format!(" (it says: {text})"),
    }
}
