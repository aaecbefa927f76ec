//! What belongs to one request and to no other.

use std::fmt;
use std::time::{Duration, Instant};

use holdfast_wire::Malformed;

use crate::caller::{Caller, Peer};
use crate::limits::Place;

/// Eight random bytes, shown in the answer, the log and the audit record of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 8]);

impl RequestId {
    /// A new one. Without random numbers it is zero: an id is no secret, and no reason to fail.
    #[allow(clippy::new_without_default)] // a default that differs each time would surprise
    pub fn new() -> RequestId {
        let mut id = [0; 8];
        let _ = aws_lc_rs::rand::fill(&mut id);
        RequestId(id)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Who asks, under which id, since when and until when.
#[derive(Debug)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// Who asks.
    pub peer: Peer,
    /// When it came.
    pub begun: Instant,
    /// When its time is up.
    pub deadline: Instant,
    /// Digest of the manifest that the packets stand in, as the caller says.
    pub manifest: Option<String>,
    /// Among its caller's requests. It goes with the request, which outlives a caller that hangs up.
    _place: Option<Place<Caller>>,
}

impl Request {
    /// A request that comes now.
    pub fn begin(peer: Peer, timeout: Duration) -> Request {
        let begun = Instant::now();
        Request { id: RequestId::new(), peer, begun, deadline: begun + timeout, manifest: None, _place: None }
    }

    /// The same with its place among its caller's requests.
    pub(crate) fn at(self, place: Place<Caller>) -> Request {
        Request { _place: Some(place), ..self }
    }

    /// Takes the manifest that its caller names, or "". It must look like a digest: it goes into the audit log.
    pub(crate) fn name_manifest(&mut self, digest: String) -> Result<(), Malformed> {
        let is_digest = digest.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        if !is_digest && !digest.is_empty() {
            return Err(Malformed::new("manifest is not sha256: and 64 lower-case hexadecimal digits"));
        }
        self.manifest = is_digest.then_some(digest);
        Ok(())
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.peer.caller
    }
}
