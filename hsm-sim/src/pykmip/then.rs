//! What a [`KmipInterposer`](crate::KmipInterposer) is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::message;
use crate::Pykmip;

type WithServer = dyn Fn(&mut Pykmip) + Send + Sync;
type WithAnswer = dyn Fn(&mut Vec<u8>) + Send + Sync;

/// What becomes of a request. A connection on which something else than one whole message was answered is closed
/// behind it.
#[derive(Clone)]
pub enum KmipThen {
    /// It is passed on, and the server's answer back.
    Pass,
    /// These bytes are answered, and the server sees nothing. No bytes: the connection is closed without an answer.
    Raw(Vec<u8>),
    /// A message is begun whose length is said to be 2 GiB, and goes on until the client leaves. The server sees
    /// nothing.
    Endless,
    /// Nothing is answered until the client leaves, and the server sees nothing.
    Never,
    /// As [`KmipThen::Pass`], but later.
    Delay(Duration),
    /// As [`KmipThen::Pass`], but half of the answer comes so much later than the other.
    Halves(Duration),
    /// As [`KmipThen::Pass`], but the answer comes byte by byte, each so much later than the one before.
    Drip(Duration),
    /// As [`KmipThen::Pass`], after something else. See [`KmipThen::first`].
    First(Arc<WithServer>),
    /// The server carries it out, and its answer is changed. See [`KmipThen::change`].
    Change(Arc<WithAnswer>),
    /// The server is killed as it comes, and the connection closed.
    Kill,
}

impl KmipThen {
    /// Does something with the server before the request reaches it.
    pub fn first(deed: impl Fn(&mut Pykmip) + Send + Sync + 'static) -> KmipThen {
        KmipThen::First(Arc::new(deed))
    }

    /// Changes the server's answer: a whole Response Message in TTLV.
    pub fn change(deed: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> KmipThen {
        KmipThen::Change(Arc::new(deed))
    }

    /// Lets no more than the first `len` bytes of the server's answer through; none with 0: the request was carried
    /// out, and nobody heard of it.
    pub fn cut_off(len: usize) -> KmipThen {
        KmipThen::change(move |answer| answer.truncate(len))
    }

    /// A Response Message of `depth` structures, each in the one before.
    pub fn nested(depth: usize) -> KmipThen {
        KmipThen::Raw(message::nested(depth))
    }
}

impl fmt::Debug for KmipThen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KmipThen::Pass => f.write_str("Pass"),
            KmipThen::Raw(bytes) => write!(f, "Raw({} bytes)", bytes.len()),
            KmipThen::Endless => f.write_str("Endless"),
            KmipThen::Never => f.write_str("Never"),
            KmipThen::Delay(time) => write!(f, "Delay({time:?})"),
            KmipThen::Halves(time) => write!(f, "Halves({time:?})"),
            KmipThen::Drip(time) => write!(f, "Drip({time:?})"),
            KmipThen::First(_) => f.write_str("First"),
            KmipThen::Change(_) => f.write_str("Change"),
            KmipThen::Kill => f.write_str("Kill"),
        }
    }
}
