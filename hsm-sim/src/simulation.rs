use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::home::make_private;
use crate::{Error, Home, KeyKind, Pykmip, SoftHsm, Swtpm, Token};

/// What `hsm-sim run` and `hsm-sim up` start, in a [`Home`]: any of the simulators, one of each. Dropping it ends
/// and removes everything.
#[derive(Debug)]
pub struct Simulation {
    softhsm: Option<(SoftHsm, Token)>,
    swtpm: Option<Swtpm>,
    certified: bool,
    pykmip: Option<Pykmip>,
    /// Last, because the directory goes after those who use it.
    home: Home,
}

impl Simulation {
    /// Nothing yet.
    pub fn new(home: Home) -> Simulation {
        Simulation { softhsm: None, swtpm: None, certified: false, pykmip: None, home }
    }

    /// Starts SoftHSM2 with one token that has no keys yet.
    pub fn start_softhsm(&mut self, token: &str) -> Result<(), Error> {
        let softhsm = SoftHsm::start_in(&self.home.path().join("softhsm"))?;
        let token = softhsm.init_token(token)?;
        make_private(&self.keys())?;
        self.softhsm = Some((softhsm, token));
        Ok(())
    }

    /// Makes a key that cannot leave the token. Gives back the file of its public half, `keys/LABEL.pub.pem`
    /// (SubjectPublicKeyInfo, PEM), if it has one. `label` becomes part of the file's name and must fit.
    pub fn add_key(&self, label: &str, id: &[u8], kind: KeyKind) -> Result<Option<PathBuf>, Error> {
        let Some((softhsm, token)) = &self.softhsm else {
            return Err(Error::Invalid("there is no token to make a key on: start softhsm first".to_owned()));
        };
        let key = softhsm.generate(token, label, id, kind)?;
        if kind.is_secret() {
            return Ok(None);
        }
        self.write_public(label, softhsm.public_key_pem(token, &key)?).map(Some)
    }

    /// As [`Simulation::add_key`], in the KMIP server: `name` is the key's Name attribute, and the server gives it
    /// its unique identifier. PyKMIP makes no keys on elliptic curves.
    pub fn add_named_key(&self, name: &str, kind: KeyKind) -> Result<Option<PathBuf>, Error> {
        let Some(pykmip) = &self.pykmip else {
            return Err(Error::Invalid("there is no server to make a key in: start pykmip first".to_owned()));
        };
        Simulation::check_named_key(kind)?;
        let Some(bits) = kind.rsa_bits() else {
            return pykmip.create_aes(name).map(|_| None);
        };
        let pair = pykmip.create_rsa(name, bits)?;
        self.write_public(name, pykmip.public_key_pem(&pair)?).map(Some)
    }

    /// Whether PyKMIP can make such a key.
    pub fn check_named_key(kind: KeyKind) -> Result<(), Error> {
        if kind.is_secret() || kind.rsa_bits().is_some() {
            Ok(())
        } else {
            Err(Error::Invalid(format!("pykmip makes no {kind} keys: use rsa-3072 or aes-256")))
        }
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

    /// Starts PyKMIP, in which RSA keys decrypt too.
    pub fn start_pykmip(&mut self) -> Result<(), Error> {
        let pykmip = Pykmip::start_in(&self.home.path().join("pykmip"), true)?;
        // At once: `down` ends it also when we are killed.
        self.home.record(pykmip.recorded()?)?;
        make_private(&self.keys())?;
        self.pykmip = Some(pykmip);
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
        if let Some(pykmip) = &self.pykmip {
            env.extend(pykmip.env());
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
        if let Some(pykmip) = &mut self.pykmip {
            pykmip.keep();
        }
        self.home.keep();
    }

    /// Ends and removes it now, and says when that fails.
    pub fn remove(self) -> Result<(), Error> {
        drop((self.swtpm, self.pykmip));
        self.home.remove()
    }

    /// Where the public halves are.
    fn keys(&self) -> PathBuf {
        self.home.path().join("keys")
    }

    fn write_public(&self, label: &str, pem: String) -> Result<PathBuf, Error> {
        let file = self.keys().join(format!("{label}.pub.pem"));
        fs::write(&file, pem).map_err(Error::io("writing", &file))?;
        Ok(file)
    }
}
