//! The unix socket: taking the path, its owner and mode, and giving it back.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::config::Listen;

/// A bound socket. Dropping it removes the path, unless somebody else has taken it meanwhile.
pub(crate) struct Socket {
    path: PathBuf,
    inode: u64,
}

/// Binds the socket of `[listen]`. A socket that nobody answers on is left over from a daemon that
/// was killed, and is replaced; anything else at its path is left alone.
pub(crate) async fn bind(listen: &Listen) -> io::Result<(UnixListener, Socket)> {
    let path = &listen.unix;
    if let Some(in_the_way) = what_is_at(path).await? {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("{}: {in_the_way}; stop or remove it, or set another [listen] unix", path.display()),
        ));
    }
    // Bound under another name and renamed when owner and mode are right: there is no moment in which
    // the socket is there for the wrong people.
    let draft = path.with_file_name(format!(".{}.{}", name_of(path), std::process::id()));
    let _ = std::fs::remove_file(&draft);
    let told = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot make the socket {}: {error}", path.display()))
    };
    let listener = UnixListener::bind(&draft).map_err(told)?;
    let finished = (|| {
        if let Some(group) = listen.group {
            std::os::unix::fs::chown(&draft, None, Some(group)).map_err(|error| {
                let what =
                    format!("{error}; the daemon's user must be in [listen] group (SupplementaryGroups=)");
                io::Error::new(error.kind(), what)
            })?;
        }
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(listen.mode))?;
        let inode = std::fs::symlink_metadata(&draft)?.ino();
        std::fs::rename(&draft, path)?;
        Ok(inode)
    })();
    match finished {
        Ok(inode) => Ok((listener, Socket { path: path.clone(), inode })),
        Err(error) => {
            let _ = std::fs::remove_file(&draft);
            Err(told(error))
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn what_is_at(path: &Path) -> io::Result<Option<&'static str>> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Ok(Some("something that is not a socket is there"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        _ => Ok(Some("another program answers on it")),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(path: PathBuf) -> Listen {
        Listen { unix: path, mode: 0o600, group: None, timeout: Duration::from_secs(1), tcp: None }
    }

    #[tokio::test]
    async fn the_socket_has_its_mode_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let listen = at(dir.path().join("s.sock"));
        let (_listener, socket) = bind(&listen).await.unwrap();
        assert_eq!(std::fs::metadata(&listen.unix).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(socket);
        assert!(!listen.unix.exists());
    }

    #[tokio::test]
    async fn a_socket_that_somebody_answers_on_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let listen = at(dir.path().join("s.sock"));
        let (_listener, _socket) = bind(&listen).await.unwrap();
        let error = bind(&listen).await.err().unwrap().to_string();
        assert!(error.contains("another program answers on it"), "{error}");
    }

    #[tokio::test]
    async fn a_socket_left_by_a_killed_daemon_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let listen = at(dir.path().join("s.sock"));
        let (listener, socket) = bind(&listen).await.unwrap();
        drop(listener);
        let _killed = std::mem::ManuallyDrop::new(socket);
        bind(&listen).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = bind(&at(path.clone())).await.err().unwrap().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_directory_that_is_missing_is_told() {
        let error = bind(&at("/nonexistent/s.sock".into())).await.err().unwrap().to_string();
        assert!(error.starts_with("cannot make the socket /nonexistent/s.sock: "), "{error}");
    }
}
