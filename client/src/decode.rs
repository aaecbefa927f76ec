//! What surrounds the opening of one layer for containerd: what this process was given, where the layer lies,
//! who says how it is opened, and how a failure reaches the caller.

mod ask;
mod blob;
mod candidates;
mod hold;
mod inherited;
mod source;

pub(crate) use ask::ask;
pub(crate) use blob::Blob;
pub(crate) use candidates::{Candidate, candidates};
pub(crate) use hold::{Holder, VERB as HOLD, hold};
pub(crate) use inherited::Inherited;
pub(crate) use source::{Selected, Source, at_end};
