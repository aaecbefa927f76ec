use std::borrow::Cow;

/// Input that does not have the form it must have: what is wrong, in one line.
///
/// The text is made of our own words, positions and lengths. It never quotes the input, which may
/// hold key material or a terminal escape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(Cow<'static, str>);

impl Malformed {
    /// `what` is the whole line, without the input.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Malformed(what.into())
    }

    /// Says where JSON went wrong. serde_json's own text may quote the value it met, so only its
    /// kind and position are kept.
    pub fn json(what: &str, error: &serde_json::Error) -> Self {
        use serde_json::error::Category;
        let kind = match error.classify() {
            Category::Eof => "ends too early",
            Category::Syntax => "is not JSON",
            Category::Data | Category::Io => "does not have the expected form",
        };
        Malformed(Cow::Owned(format!("{what} {kind} (line {}, column {})", error.line(), error.column())))
    }
}
