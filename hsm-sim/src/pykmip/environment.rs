//! The Python that has PyKMIP.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::{Error, program};

/// Chooses another Python than that of `scripts/pykmip`.
const VARIABLE: &str = "HSM_SIM_PYKMIP_PYTHON";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/pykmip");

/// The path of it. None is made here: a test that needs it fails without it, and says what to run.
pub(super) fn python() -> Result<PathBuf, Error> {
    static FOUND: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(|broken| broken.into_inner());
    match &*found {
        Some(python) => Ok(python.clone()),
        None => Ok(found.insert(find(std::env::var_os(VARIABLE), Command::new(SCRIPT))?).clone()),
    }
}

fn find(chosen: Option<OsString>, mut script: Command) -> Result<PathBuf, Error> {
    if let Some(path) = chosen.map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Error::Invalid(format!(
                "{VARIABLE} is {}, which is not a file: correct it or unset it",
                path.display()
            )))
        };
    }
    script.arg("--no-make");
    let path = program::run(script, "scripts/pykmip")?;
    let path = String::from_utf8_lossy(&path).trim_end().to_owned();
    Ok(Path::new(&path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_chosen_is_never_replaced_by_another() {
        let error = find(Some("/nonexistent/python".into()), Command::new(SCRIPT)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "HSM_SIM_PYKMIP_PYTHON is /nonexistent/python, which is not a file: correct it or unset it"
        );
    }

    #[test]
    fn one_that_is_missing_is_not_made_but_told_with_what_to_run() {
        let empty = tempfile::tempdir().unwrap();
        let mut script = Command::new(SCRIPT);
        script.env("HOLDFAST_CACHE", empty.path());
        let error = find(None, script).unwrap_err().to_string();
        assert!(error.contains("PyKMIP is not in") && error.ends_with("run: make setup"), "{error}");
        assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    }
}
