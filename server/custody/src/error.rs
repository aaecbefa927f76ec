/// Why a custodian, or the pool before it, did not do what it was asked.
///
/// The text is for the log and for `holdfastd check`: it may name a library's own words, never a PIN or
/// key material. What a caller is told is made in the server, from the variant alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No object matches the URI.
    #[error("no key matches its URI on this token")]
    KeyNotFound,
    /// More than one object matches.
    #[error("{0} keys match its URI; add id= or object= until one does")]
    KeyAmbiguous(usize),
    /// It is there but cannot or must not be used.
    #[error("{0}")]
    KeyUnfit(String),
    /// The key does not open this. Wrong key, bad padding and damaged ciphertext are all this.
    #[error("the key does not open this")]
    Rejected,
    /// The token has no native command for it.
    #[error("this token cannot do {0} with this key")]
    Unsupported(&'static str),
    /// The PIN is wrong, or was and is not tried again.
    #[error("{0}")]
    PinRefused(String),
    /// The token has locked itself.
    #[error("{0}")]
    TokenLocked(String),
    /// The machine is not in the state that the key is bound to.
    #[error("{why}")]
    StateRefused {
        /// The PCRs that are known to have another value; none where only that some have is known.
        differ: Vec<u8>,
        /// For the log.
        why: String,
    },
    /// Another token answers than the one that is configured.
    #[error("{0}")]
    TokenReplaced(String),
    /// The token, or the way to it, does not answer. The connection is of no more use.
    #[error("{0}")]
    Unavailable(String),
    /// Every place in the token's queue is taken.
    #[error("every place in the token's queue is taken")]
    Busy,
    /// The deadline passed before an answer came.
    #[error("the token did not answer in time")]
    OutOfTime,
    /// A fault of this program.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// Whether another try, later or elsewhere, may succeed with the same input.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::Busy | Error::OutOfTime)
    }
}
