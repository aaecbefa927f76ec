//! Files, and parts of files, that a command owns among those of others: looked at first, then printed,
//! written or taken away, all or none.
//!
//! An edit is a function from the text that is there to the text that shall be, so that a second time
//! changes nothing, and what is not ours shows before anything is touched.

pub(crate) mod section;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use holdfast_image::printable;

use crate::failure::Failure;
use crate::file::write_whole;
use crate::root::Root;

/// Longest file that is edited, in bytes.
const MAX_FILE_LEN: u64 = 1024 * 1024;

/// The text that is there, if there is a file, to the text that shall be, if there shall be one; or what
/// is wrong with it and what to do.
pub(crate) type Edit = Box<dyn Fn(Option<&str>) -> Result<Option<String>, String>>;

/// What shall be at a path.
pub(crate) enum Wanted {
    File(Edit),
    /// A directory, which stays when all else is taken away: it may hold others' files.
    Directory,
}

/// One path, looked at.
pub(crate) struct Step {
    pub(crate) path: PathBuf,
    pub(crate) act: Act,
    /// The file's text afterwards.
    pub(crate) text: Option<String>,
    place: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Change,
    Remove,
    MakeDirectory,
    Nothing,
}

/// Paths of a root and what shall be there.
pub(crate) struct Plan {
    root: Root,
    wanted: Vec<(PathBuf, Wanted)>,
}

impl Plan {
    pub(crate) fn new(root: Root) -> Plan {
        Plan { root, wanted: Vec::new() }
    }

    pub(crate) fn file(&mut self, path: impl Into<PathBuf>, edit: Edit) {
        self.wanted.push((path.into(), Wanted::File(edit)));
    }

    pub(crate) fn directory(&mut self, path: impl Into<PathBuf>) {
        self.wanted.push((path.into(), Wanted::Directory));
    }

    /// What there is to do; nothing is written.
    pub(crate) fn steps(&self) -> Result<Vec<Step>, Failure> {
        self.wanted.iter().map(|(path, wanted)| self.step(path, wanted)).collect()
    }

    fn step(&self, path: &Path, wanted: &Wanted) -> Result<Step, Failure> {
        let unread = |error: &io::Error| told(path, &format!("cannot be read: {error}; run as one who may"));
        let place = self.root.place(path).map_err(|error| unread(&error))?;
        let step = |act, text| Step { path: path.to_owned(), act, text, place: place.clone() };
        let edit = match wanted {
            Wanted::Directory if place.is_dir() => return Ok(step(Act::Nothing, None)),
            Wanted::Directory => return Ok(step(Act::MakeDirectory, None)),
            Wanted::File(edit) => edit,
        };
        let before = self.root.read(path, MAX_FILE_LEN).map_err(|error| unread(&error))?;
        let after = edit(before.as_deref()).map_err(|what| told(path, &what))?;
        let act = match (&before, &after) {
            _ if before == after => Act::Nothing,
            (None, _) => Act::Create,
            (_, None) => Act::Remove,
            _ => Act::Change,
        };
        Ok(step(act, after))
    }
}

/// Carries steps out. A directory that a file needs is made.
pub(crate) fn carry_out(steps: &[Step]) -> Result<(), Failure> {
    for step in steps {
        let done = match (step.act, &step.text) {
            (Act::MakeDirectory, _) => make(&step.place),
            (Act::Remove, _) => fs::remove_file(&step.place),
            (Act::Create | Act::Change, Some(text)) => {
                let parent = step.place.parent().map_or(Ok(()), make);
                parent.and_then(|()| write_whole(&step.place, text.as_bytes()))
            }
            _ => Ok(()),
        };
        done.map_err(|error| told(&step.path, &format!("cannot be written: {error}; run as one who may")))?;
    }
    Ok(())
}

/// A directory and those above it, open to all (0755) whatever the umask is: users read what is in them.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    directory.parent().map_or(Ok(()), make)?;
    fs::create_dir(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

/// A file that is ours alone: `text` under a comment that says so.
pub(crate) fn whole(mark: &'static str, text: String, remove: bool, force: bool) -> Edit {
    Box::new(move |before| {
        let ours = before.is_none_or(|text| text.starts_with(mark));
        match (ours || force, remove) {
            (true, true) => Ok(None),
            (true, false) => Ok(Some(format!("{mark}\n{text}"))),
            (false, true) => Ok(before.map(str::to_owned)),
            (false, false) => Err("this command did not write it; move it away, or --force".to_owned()),
        }
    })
}

fn told(path: &Path, what: &str) -> Failure {
    Failure::line(format!("{}: {what}", printable(&path.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "# ours";

    #[test]
    fn a_file_of_others_is_neither_replaced_nor_taken_away() {
        let edit = |before, remove, force| whole(MARK, "x\n".to_owned(), remove, force)(before);
        assert_eq!(edit(None, false, false), Ok(Some("# ours\nx\n".to_owned())));
        assert_eq!(edit(Some("# ours\nold\n"), false, false), Ok(Some("# ours\nx\n".to_owned())));
        assert_eq!(edit(Some("# ours\nold\n"), true, false), Ok(None));
        assert!(edit(Some("theirs\n"), false, false).unwrap_err().contains("or --force"));
        assert_eq!(edit(Some("theirs\n"), true, false), Ok(Some("theirs\n".to_owned())));
        assert_eq!(edit(Some("theirs\n"), true, true), Ok(None));
    }

    #[test]
    fn nothing_is_written_where_one_path_does_not_allow_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "theirs").unwrap();
        let mut plan = Plan::new(Root::new(dir.path()).unwrap());
        plan.file("/a", whole(MARK, String::new(), false, false));
        plan.file("/b", whole(MARK, String::new(), false, false));
        assert!(plan.steps().err().unwrap().to_string().starts_with("/b: "));
        assert!(!dir.path().join("a").exists());
    }
}
