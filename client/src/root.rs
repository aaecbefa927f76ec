//! Files of this machine, or of another system's root that lies in a directory (`--root`).
//!
//! Links are followed as that system would follow them, inside of its root: an absolute link in an image
//! never leads to a file of the machine that looks at it. Nobody is expected to change the root meanwhile.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;

/// Links that one path may lead over, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Where `/` is.
#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new(directory: &Path) -> Result<Root, Failure> {
        let at = directory.canonicalize().ok().filter(|at| at.is_dir());
        at.map(Root).ok_or_else(|| {
            Failure::line(format!(
                "{}: there is no such directory; name another with --root",
                directory.display()
            ))
        })
    }

    pub(crate) fn is_this_machine(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where an absolute path of that system is; its last parts may be missing.
    pub(crate) fn place(&self, path: &Path) -> io::Result<PathBuf> {
        let mut at = self.0.clone();
        let mut rest: VecDeque<OsString> = parts(path).collect();
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                if at != self.0 {
                    at.pop();
                }
                continue;
            }
            let next = at.join(&part);
            let Ok(target) = fs::read_link(&next) else {
                at = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many links"));
            }
            if target.is_absolute() {
                at.clone_from(&self.0);
            }
            for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                rest.push_front(part);
            }
        }
        Ok(at)
    }

    /// A text file of at most `max` bytes; `None` where there is none.
    pub(crate) fn read(&self, path: &Path, max: u64) -> io::Result<Option<String>> {
        let place = self.place(path)?;
        // A pipe in an image would keep whoever opens it waiting.
        if fs::metadata(&place).is_ok_and(|there| there.file_type().is_fifo()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe and not a file"));
        }
        let mut text = String::new();
        match fs::File::open(place).and_then(|open| open.take(max + 1).read_to_string(&mut text)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(len) if len as u64 > max => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {max} bytes")))
            }
            Ok(_) => Ok(Some(text)),
        }
    }

    /// Of what a path leads to.
    pub(crate) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::metadata(self.place(path)?)
    }

    /// The names in a directory, sorted; none where there is no directory.
    pub(crate) fn names(&self, directory: &Path) -> Vec<String> {
        let Ok(entries) = self.place(directory).and_then(fs::read_dir) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let inside = dir.path().canonicalize().unwrap();
        fs::create_dir_all(inside.join("etc/real")).unwrap();
        for (link, target) in [
            ("etc/absolute", "/etc/real"),
            ("etc/up", "../../../../etc/real"),
            ("etc/relative", "real"),
            ("etc/over", "absolute"),
        ] {
            symlink(target, inside.join(link)).unwrap();
            let place = root.place(&Path::new("/").join(link).join("file")).unwrap();
            assert_eq!(place, inside.join("etc/real/file"), "{link}");
        }
        symlink("/nowhere/yet", inside.join("dangling")).unwrap();
        assert_eq!(root.place(Path::new("/dangling")).unwrap(), inside.join("nowhere/yet"));
        assert_eq!(root.place(Path::new("/../../x")).unwrap(), inside.join("x"));
        symlink("loop", inside.join("loop")).unwrap();
        assert_eq!(root.place(Path::new("/loop")).unwrap_err().to_string(), "too many links");
    }

    #[test]
    fn nobody_waits_for_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
        assert!(pipe.success());
        let error = root.read(Path::new("/pipe"), 9).unwrap_err().to_string();
        assert_eq!(error, "it is a pipe and not a file");
        assert_eq!(root.read(Path::new("/nothing"), 9).unwrap(), None);
    }
}
