//! What can go wrong after a packet was parsed. What is wrong with its form is [`Malformed`].

use holdfast_wire::{Algorithm, Malformed};

/// A packet could not be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FinishError {
    /// What was opened does not lead to the content: another key, a damaged wrapped key, a damaged
    /// content, tag, iv or additional data, or an opened value of the wrong length. Deliberately one
    /// error with one text, so that it says nothing about which of them it was.
    #[error("the key does not open this packet: it was sealed to another key, or altered since")]
    Rejected,
    /// The content is authentic, but it is no optsdata.
    #[error("the packet opened, but what it holds cannot be used: {0}")]
    Malformed(Malformed),
}

/// A packet could not be sealed. Recipients are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No recipient was given.
    #[error("a packet needs a recipient: give at least one key")]
    NoRecipient,
    /// More recipients than a reader takes.
    #[error(
        "more than {max} recipients; give fewer keys, or seal a packet for some and another for the rest"
    )]
    TooManyRecipients {
        /// How many there may be.
        max: usize,
    },
    /// The algorithm is not for this type of key.
    #[error(
        "recipient {recipient}: {algorithm} cannot seal to a key of type {key_type}; choose another algorithm"
    )]
    Unfit {
        /// Which recipient.
        recipient: usize,
        /// The algorithm that was asked for.
        algorithm: Algorithm,
        /// What the key is, as [`PublicKey::type_name`](holdfast_wire::PublicKey::type_name) tells.
        key_type: String,
    },
    /// The key itself is unusable.
    #[error("recipient {recipient}: {why}; give another key")]
    Key {
        /// Which recipient.
        recipient: usize,
        /// What is wrong with the key.
        why: Malformed,
    },
    /// What a token gave is no A256GCMKW of the content encryption key.
    #[error(
        "recipient {recipient}: the token did not seal the content key by AES-256-GCM; check its backend"
    )]
    NotSealed {
        /// Which recipient.
        recipient: usize,
    },
    /// The library failed at a step that has no reason to fail.
    #[error("{0} failed in the cryptographic library; nothing was sealed")]
    Library(&'static str),
}
