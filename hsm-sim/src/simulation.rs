use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Home, KeyKind, SoftHsm, Token};

/// What `hsm-sim run` and `hsm-sim up` start: SoftHSM2 with one token, in a [`Home`], and beside it
/// `keys/LABEL.pub.pem` for every key pair. Dropping it ends and removes everything.
#[derive(Debug)]
pub struct Simulation {
    softhsm: SoftHsm,
    token: Token,
    home: Home,
}

impl Simulation {
    /// Starts it with a token that has no keys yet.
    pub fn start(home: Home, token: &str) -> Result<Simulation, Error> {
        let softhsm = SoftHsm::start_in(&home.path().join("softhsm"))?;
        let token = softhsm.init_token(token)?;
        let keys = home.path().join("keys");
        fs::create_dir(&keys).map_err(Error::io("making", &keys))?;
        Ok(Simulation { softhsm, token, home })
    }

    /// Makes a key that cannot leave the token. Gives back the file of its public half
    /// (SubjectPublicKeyInfo, PEM), if it has one. `label` becomes part of the file's name and must fit.
    pub fn add_key(&self, label: &str, id: &[u8], kind: KeyKind) -> Result<Option<PathBuf>, Error> {
        let key = self.softhsm.generate(&self.token, label, id, kind)?;
        if kind.is_secret() {
            return Ok(None);
        }
        let pem = self.softhsm.public_key_pem(&self.token, &key)?;
        let file = self.home.path().join("keys").join(format!("{label}.pub.pem"));
        fs::write(&file, pem).map_err(Error::io("writing", &file))?;
        Ok(Some(file))
    }

    /// What a child process needs to find all of it.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        let mut env = self.softhsm.env();
        env.extend([
            ("HSM_SIM_DIR", self.home.path().into()),
            ("HSM_SIM_PKCS11_MODULE", self.softhsm.module().into()),
            ("HSM_SIM_TOKEN", self.token.label().into()),
            ("HSM_SIM_PIN_FILE", self.token.pin_file().into()),
        ]);
        env
    }

    /// Its directory, absolute.
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// Leaves everything there, for [`Home::down`].
    pub fn keep(mut self) {
        self.home.keep();
    }

    /// Ends and removes it now, and says when that fails.
    pub fn remove(self) -> Result<(), Error> {
        self.home.remove()
    }
}
