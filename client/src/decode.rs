//! What surrounds the opening of one layer for containerd: what this process was given, how its failure
//! reaches the caller, where the layer lies.

mod ask;
mod blob;
mod hold;
mod inherited;

pub(crate) use ask::ask;
pub(crate) use blob::{PREFIX_LEN, find};
pub(crate) use hold::{Holder, VERB as HOLD, hold};
pub(crate) use inherited::{Inherited, prefix, readable};
