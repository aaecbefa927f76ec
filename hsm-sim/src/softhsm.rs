//! SoftHSM2: a PKCS#11 module that keeps its tokens in files. There is no process to start: whoever
//! loads the module with the right `SOFTHSM2_CONF` has the HSM.
//!
//! Tokens and keys are made by `softhsm2-util` and `pkcs11-tool`, as an operator would make them, and
//! not by code of ours: what the backend later reads of them is then somebody else's doing.

mod keys;
mod objects;
mod spki;
mod token;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;
use crate::home::{make_private, scratch_dir};
pub use keys::{Key, Which};
pub use objects::{Object, ObjectKind};
pub use token::Token;

/// Where distributions put the module: Debian, Debian's multiarch, Fedora, and built from source.
const MODULES: [&str; 6] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// One SoftHSM2 with its own configuration and tokens. Several run side by side.
#[derive(Debug)]
pub struct SoftHsm {
    dir: PathBuf,
    module: PathBuf,
    _scratch: Option<TempDir>,
}

impl SoftHsm {
    /// In a scratch directory (mode 0700) that is removed on drop.
    pub fn start() -> Result<SoftHsm, Error> {
        let scratch = scratch_dir("hsm-sim-softhsm-")?;
        let mut softhsm = SoftHsm::start_in(scratch.path())?;
        softhsm._scratch = Some(scratch);
        Ok(softhsm)
    }

    /// In `dir`, which is made (mode 0700) if it is not there, and stays.
    pub fn start_in(dir: &Path) -> Result<SoftHsm, Error> {
        let module = find_module(std::env::var_os("SOFTHSM2_MODULE"))?;
        make_private(dir)?;
        let dir = dir.canonicalize().map_err(Error::io("resolving", dir))?;
        let conf = dir.join("softhsm2.conf");
        if conf.exists() {
            return Err(Error::directory(&dir, "holds a SoftHSM already: use another"));
        }
        let tokens = dir.join("tokens");
        let text = configuration(&tokens)?;
        make_private(&tokens)?;
        make_private(&dir.join("pins"))?;
        fs::write(&conf, text).map_err(Error::io("writing", &conf))?;
        Ok(SoftHsm { dir, module, _scratch: None })
    }

    /// Its directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The PKCS#11 module: the path of `libsofthsm2.so`.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// What a process that loads the module needs in its environment:
    /// `command.envs(softhsm.env())`. Without it the module finds the system's tokens, or none.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        vec![("SOFTHSM2_CONF", self.dir.join("softhsm2.conf").into())]
    }
}

fn find_module(chosen: Option<OsString>) -> Result<PathBuf, Error> {
    if let Some(path) = chosen.map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(Error::ModuleNotThere { path }) };
    }
    MODULES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
        .ok_or_else(|| Error::NoModule { looked_in: MODULES.join(", ") })
}

fn configuration(tokens: &Path) -> Result<String, Error> {
    // SoftHSM ends a value at '#', '=' and the end of the line, trims it, and reads lines of 1 KiB.
    let path = tokens
        .to_str()
        .filter(|path| path.len() < 900 && !path.contains(['#', '=', '\n', '\r']))
        .ok_or_else(|| {
            Error::directory(
                tokens,
                "cannot stand in SoftHSM's configuration: use a shorter path, in UTF-8, without '#' and '='",
            )
        })?;
    Ok(format!(
        "directories.tokendir = {path}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_was_chosen_is_never_replaced_by_another() {
        let error = find_module(Some("/nonexistent/libsofthsm2.so".into())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "SOFTHSM2_MODULE is /nonexistent/libsofthsm2.so, which is not a file: correct it or unset it"
        );
    }

    #[test]
    fn a_path_that_softhsm_would_cut_off_is_refused() {
        for path in ["/tmp/a#b", "/tmp/a=b", "/tmp/a\nb"] {
            assert!(configuration(Path::new(path)).is_err(), "{path:?}");
        }
        assert!(configuration(Path::new("/tmp/a b")).is_ok());
    }
}
