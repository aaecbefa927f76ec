//! What an [`Interposer`](crate::Interposer) is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Swtpm;

type WithTpm = dyn Fn(&mut Swtpm) + Send + Sync;
type WithAnswer = dyn Fn(&mut Vec<u8>) + Send + Sync;

/// What becomes of a command.
#[derive(Clone)]
pub enum Then {
    /// It is passed on, and the TPM's answer back.
    Pass,
    /// This response code is answered, and the TPM sees nothing.
    Answer(u32),
    /// These bytes are answered, and the TPM sees nothing; then the connection is closed. No bytes: it is
    /// closed without an answer.
    Raw(Vec<u8>),
    /// As [`Then::Pass`], but later.
    Delay(Duration),
    /// As [`Then::Pass`], after something else. See [`Then::first`].
    First(Arc<WithTpm>),
    /// The TPM carries it out, and its answer is changed; then the connection is closed. See [`Then::change`].
    Change(Arc<WithAnswer>),
    /// The TPM is killed as it comes, and the connection closed.
    Kill,
}

impl Then {
    /// Does something with the TPM before the command reaches it.
    pub fn first(deed: impl Fn(&mut Swtpm) + Send + Sync + 'static) -> Then {
        Then::First(Arc::new(deed))
    }

    /// Changes the TPM's answer.
    pub fn change(deed: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Then {
        Then::Change(Arc::new(deed))
    }

    /// Lets no more than the first `len` bytes of the TPM's answer through.
    pub fn cut_off(len: usize) -> Then {
        Then::change(move |answer| answer.truncate(len))
    }
}

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Then::Pass => f.write_str("Pass"),
            Then::Answer(code) => write!(f, "Answer({code:#x})"),
            Then::Raw(bytes) => write!(f, "Raw({} bytes)", bytes.len()),
            Then::Delay(time) => write!(f, "Delay({time:?})"),
            Then::First(_) => f.write_str("First"),
            Then::Change(_) => f.write_str("Change"),
            Then::Kill => f.write_str("Kill"),
        }
    }
}
