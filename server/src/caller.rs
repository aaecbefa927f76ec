//! Who is calling, as the kernel or a certificate says it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A caller's identity, settled before a byte of its request is parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A unix socket's peer credentials (SO_PEERCRED): the process that connected. That is a *node
    /// service*: every pull of containerd is root, and so is a root container into which the socket was
    /// mounted. It is never a pod or a tenant.
    Unix {
        /// User id.
        uid: u32,
        /// Primary group id; supplementary groups are not looked at.
        gid: u32,
    },
    /// The subject alternative names of a client certificate that our CA signed: DNS names in lower
    /// case, URIs and IP addresses as they are written.
    Tls {
        /// In the certificate's order; at least one.
        names: Arc<[String]>,
    },
    /// Plaintext TCP from this machine: any local process, and every pod on the host's network.
    Loopback,
}

/// The other end of a connection. Clones are about the same connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Who it is.
    pub caller: Caller,
    /// Process id, for the log only: it may have been reused by the time anyone looks.
    pub pid: Option<i32>,
    /// Address, for the log only.
    pub address: Option<SocketAddr>,
    last_request: Arc<Mutex<Option<Instant>>>,
}

impl Peer {
    /// The peer of a new connection.
    pub fn new(caller: Caller, pid: Option<i32>, address: Option<SocketAddr>) -> Peer {
        Peer { caller, pid, address, last_request: Arc::default() }
    }

    /// Notes that a request which may hold key material begins.
    pub(crate) fn note_request(&self) {
        *self.last_request() = Some(Instant::now());
    }

    /// When the last one began.
    pub(crate) fn last_request(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last_request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    /// With the user's name, for people. The user database may be a file read anew or a server on the
    /// network: not for what happens at every request.
    pub fn with_name(&self) -> String {
        match self {
            Caller::Unix { uid, gid } => match uzers::get_user_by_uid(*uid) {
                Some(user) => format!("uid {uid} ({}), gid {gid}", user.name().to_string_lossy()),
                None => self.to_string(),
            },
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Unix { uid, gid } => write!(f, "uid {uid}, gid {gid}"),
            Caller::Tls { names } => write!(f, "TLS client {}", names.join(", ")),
            Caller::Loopback => f.write_str("loopback without TLS"),
        }
    }
}

/// The id the kernel shows for users and groups that do not exist in our user namespace. It stands for
/// anybody, so it never matches a rule.
pub fn overflow_id(file: &str) -> u32 {
    const KERNEL_DEFAULT: u32 = 65534;
    std::fs::read_to_string(format!("/proc/sys/kernel/{file}"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(KERNEL_DEFAULT)
}
