//! The directory of one simulation: made by hsm-sim, marked as such, and removed only then.
//!
//! The marker is written before anything else, so that what a killed `hsm-sim` leaves behind can still
//! be ended with `down`. It also holds the processes that outlive the `hsm-sim` that started them.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{Error, Recorded};

const MARKER: &str = ".hsm-sim.json";
const MADE_BY: &str = "hsm-sim";
const VERSION: u32 = 1;

/// A directory of mode 0700 that is removed on drop, unless it was kept.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    marker: Marker,
    kept: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    made_by: String,
    version: u32,
    processes: Vec<Recorded>,
}

impl Home {
    /// Makes a directory with a name of its own in the system's place for temporary files.
    pub fn temporary() -> Result<Home, Error> {
        let scratch = scratch_dir("hsm-sim-")?;
        Home::mark(scratch.keep())
    }

    /// Makes the directory `path`, whose parent must exist and which itself must not: what is there
    /// already may be somebody's, and `down` would remove it.
    pub fn create(path: &Path) -> Result<Home, Error> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(match Marker::read(path) {
                    Ok(_) => {
                        let command = format!("hsm-sim down --dir {}", path.display());
                        Error::directory(path, format!("holds a simulation already: run {command} first"))
                    }
                    Err(_) => Error::directory(
                        path,
                        "exists already and hsm-sim did not make it: name a directory that does not exist yet",
                    ),
                });
            }
            Err(error) => return Err(Error::io("making", path)(error)),
        }
        Home::mark(path.to_owned())
    }

    /// Ends the simulation in `path` and removes the directory. Only a directory that hsm-sim made for
    /// this user is touched. Gives back how many processes were ended.
    pub fn down(path: &Path) -> Result<usize, Error> {
        let marker = Marker::read(path)?;
        let mut ended = 0;
        for process in &marker.processes {
            ended += usize::from(process.end()?);
        }
        // Follows no symbolic link, neither inside nor `path` itself.
        fs::remove_dir_all(path).map_err(Error::io("removing", path))?;
        Ok(ended)
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a process that `down` shall end.
    pub fn record(&mut self, process: Recorded) -> Result<(), Error> {
        self.marker.processes.push(process);
        self.marker.write(&self.path)
    }

    /// Leaves the directory where it is, for `down`.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Removes it now, and says when that fails.
    pub fn remove(mut self) -> Result<(), Error> {
        self.kept = true;
        Home::down(&self.path).map(drop)
    }

    fn mark(path: PathBuf) -> Result<Home, Error> {
        let mut home = Home {
            marker: Marker { made_by: MADE_BY.to_owned(), version: VERSION, processes: Vec::new() },
            path,
            kept: false,
        };
        home.marker.write(&home.path)?;
        home.path = home.path.canonicalize().map_err(Error::io("resolving", &home.path))?;
        Ok(home)
    }
}

/// A directory for temporary files that nobody else can look into: tempfile itself leaves that to the umask.
pub(crate) fn scratch_dir(prefix: &str) -> Result<TempDir, Error> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(Error::io("making a scratch directory in", &std::env::temp_dir()))
}

/// A directory of mode 0700; one that is there already stays as it is.
pub(crate) fn make_private(dir: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::io("making", dir)(error)),
        _ => Ok(()),
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.kept {
            // A failure has nobody to hear it; `remove` is for those who want to.
            let _ = Home::down(&self.path);
        }
    }
}

impl Marker {
    fn read(home: &Path) -> Result<Marker, Error> {
        let not_ours = || {
            Error::directory(
                home,
                "is no directory that hsm-sim made: nothing was ended or removed; name the one given to hsm-sim up",
            )
        };
        let us = rustix::process::geteuid().as_raw();
        let meta = match fs::symlink_metadata(home) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::directory(home, "does not exist: there is nothing to end"));
            }
            meta => meta.map_err(Error::io("reading", home))?,
        };
        if !meta.is_dir() || meta.uid() != us {
            return Err(not_ours());
        }
        let file = home.join(MARKER);
        let genuine = fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file() && meta.uid() == us);
        if !genuine {
            return Err(not_ours());
        }
        let text = fs::read(&file).map_err(Error::io("reading", &file))?;
        let marker: Marker = serde_json::from_slice(&text).map_err(|_| not_ours())?;
        if marker.made_by != MADE_BY {
            return Err(not_ours());
        }
        if marker.version != VERSION {
            return Err(Error::directory(
                home,
                format!(
                    "was made by a hsm-sim of another version ({}): end it with that one",
                    marker.version
                ),
            ));
        }
        Ok(marker)
    }

    /// By rename, so that a reader never finds half of it.
    fn write(&self, home: &Path) -> Result<(), Error> {
        let path = home.join(MARKER);
        let io = || Error::io("writing", &path);
        let mut file = tempfile::NamedTempFile::new_in(home).map_err(io())?;
        serde_json::to_writer(&mut file, self).map_err(|error| io()(error.into()))?;
        file.write_all(b"\n").map_err(io())?;
        file.persist(&path).map_err(|error| io()(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;
    use std::time::Duration;

    #[test]
    fn a_home_is_private_and_goes_away() {
        let home = Home::temporary().unwrap();
        let path = home.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn down_ends_the_processes_that_were_recorded() {
        let scratch = tempfile::tempdir().unwrap();
        let mut home = Home::create(&scratch.path().join("sim")).unwrap();
        let mut sleep = crate::command("sleep", "coreutils").unwrap();
        sleep.arg("600");
        let mut process = Process::spawn(sleep, "sleep").unwrap();
        home.record(Recorded::of("sleep", process.id()).unwrap()).unwrap();
        home.keep();
        let path = home.path().to_owned();
        drop(home);
        assert_eq!(Home::down(&path).unwrap(), 1);
        process.wait(Duration::from_secs(5)).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_is_not_ours_is_never_touched() {
        let scratch = tempfile::tempdir().unwrap();
        let strange = |name: &str, marker: Option<&str>| {
            let dir = scratch.path().join(name);
            fs::create_dir(&dir).unwrap();
            if let Some(marker) = marker {
                fs::write(dir.join(MARKER), marker).unwrap();
            }
            dir
        };
        let link = scratch.path().join("link");
        let home = Home::temporary().unwrap();
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        for (dir, says) in [
            (strange("no_marker", None), "is no directory that hsm-sim made"),
            (strange("empty_marker", Some("")), "is no directory that hsm-sim made"),
            (
                strange("other_maker", Some(r#"{"made_by":"x","version":1,"processes":[]}"#)),
                "is no directory that hsm-sim made",
            ),
            (
                strange("other_version", Some(r#"{"made_by":"hsm-sim","version":9,"processes":[]}"#)),
                "another version (9)",
            ),
            (link, "is no directory that hsm-sim made"),
        ] {
            let error = Home::down(&dir).unwrap_err().to_string();
            assert!(error.contains(says), "{}: {error}", dir.display());
            assert!(dir.exists());
        }
        assert!(home.path().exists());
    }
}
