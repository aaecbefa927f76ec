//! Who is calling, as the kernel says it.

use std::fmt;

use tonic::transport::server::UdsConnectInfo;

/// A caller's identity, settled before a byte of its request is parsed.
///
/// A unix socket's peer credentials (SO_PEERCRED) name the process that connected. That is a *node
/// service*: every pull of containerd is root, and so is a root container into which the socket was
/// mounted. It is never a pod or a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Primary group id; supplementary groups are not looked at.
    pub gid: u32,
    /// Process id, for the log only: it may have been reused by the time anyone looks.
    pub pid: Option<i32>,
}

impl Caller {
    /// From a connection; `None` where the kernel gave no credentials.
    pub fn of(connection: Option<&UdsConnectInfo>) -> Option<Caller> {
        let credentials = connection?.peer_cred?;
        Some(Caller { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() })
    }

    /// With the user's name, for people. The user database may be a file read anew or a server on the
    /// network: not for what happens at every request.
    pub fn with_name(&self) -> String {
        match uzers::get_user_by_uid(self.uid) {
            Some(user) => format!("uid {} ({}), gid {}", self.uid, user.name().to_string_lossy(), self.gid),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, gid {}", self.uid, self.gid)
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
