use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Home, KeyKind, SoftHsm, Swtpm, Token};

/// What `hsm-sim run` and `hsm-sim up` start, in a [`Home`]: any of the simulators, one of each. Dropping it ends
/// and removes everything.
#[derive(Debug)]
pub struct Simulation {
    softhsm: Option<(SoftHsm, Token)>,
    swtpm: Option<Swtpm>,
    certified: bool,
    /// Last, because the directory goes after those who use it.
    home: Home,
}

impl Simulation {
    /// Nothing yet.
    pub fn new(home: Home) -> Simulation {
        Simulation { softhsm: None, swtpm: None, certified: false, home }
    }

    /// Starts SoftHSM2 with one token that has no keys yet. For every key pair there will be
    /// `keys/LABEL.pub.pem`.
    pub fn start_softhsm(&mut self, token: &str) -> Result<(), Error> {
        let softhsm = SoftHsm::start_in(&self.home.path().join("softhsm"))?;
        let token = softhsm.init_token(token)?;
        let keys = self.home.path().join("keys");
        fs::create_dir(&keys).map_err(Error::io("making", &keys))?;
        self.softhsm = Some((softhsm, token));
        Ok(())
    }

    /// Makes a key that cannot leave the token. Gives back the file of its public half
    /// (SubjectPublicKeyInfo, PEM), if it has one. `label` becomes part of the file's name and must fit.
    pub fn add_key(&self, label: &str, id: &[u8], kind: KeyKind) -> Result<Option<PathBuf>, Error> {
        let Some((softhsm, token)) = &self.softhsm else {
            return Err(Error::Invalid("there is no token to make a key on: start softhsm first".to_owned()));
        };
        let key = softhsm.generate(token, label, id, kind)?;
        if kind.is_secret() {
            return Ok(None);
        }
        let pem = softhsm.public_key_pem(token, &key)?;
        let file = self.home.path().join("keys").join(format!("{label}.pub.pem"));
        fs::write(&file, pem).map_err(Error::io("writing", &file))?;
        Ok(Some(file))
    }

    /// Starts swtpm; with an endorsement key and certificates, if asked for.
    pub fn start_swtpm(&mut self, certificates: bool) -> Result<(), Error> {
        let dir = self.home.path().join("swtpm");
        let swtpm =
            if certificates { Swtpm::start_with_certificates_in(&dir)? } else { Swtpm::start_in(&dir)? };
        // At once: `down` ends it also when we are killed.
        self.home.record(swtpm.recorded()?)?;
        self.swtpm = Some(swtpm);
        self.certified = certificates;
        Ok(())
    }

    /// What a child process needs to find all of it.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        let mut env: Vec<(&'static str, OsString)> = vec![("HSM_SIM_DIR", self.home.path().into())];
        if let Some((softhsm, token)) = &self.softhsm {
            env.extend(softhsm.env());
            env.extend([
                ("HSM_SIM_PKCS11_MODULE", softhsm.module().into()),
                ("HSM_SIM_TOKEN", token.label().into()),
                ("HSM_SIM_PIN_FILE", token.pin_file().into()),
            ]);
        }
        if let Some(swtpm) = &self.swtpm {
            env.extend(swtpm.env());
            if self.certified {
                env.push(("HSM_SIM_TPM_AUTHORITY", swtpm.authority().into()));
            }
        }
        env
    }

    /// Its directory, absolute.
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// Leaves everything there, for [`Home::down`].
    pub fn keep(mut self) {
        if let Some(swtpm) = &mut self.swtpm {
            swtpm.keep();
        }
        self.home.keep();
    }

    /// Ends and removes it now, and says when that fails.
    pub fn remove(self) -> Result<(), Error> {
        drop(self.swtpm);
        self.home.remove()
    }
}
