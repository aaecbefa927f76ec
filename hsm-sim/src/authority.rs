//! Certificate authorities for tests of TLS, by the `openssl` command: what our programs verify is somebody
//! else's doing, bad certificates included.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::make_private;
use crate::{Error, program};

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
/// In days: longer than any test, and no longer than what `hsm-sim up` left is likely to be used.
const VALID: &str = "30";

/// An authority with a key of its own (P-256), and what it has issued, in one directory.
#[derive(Debug, Clone)]
pub struct Authority {
    dir: PathBuf,
    certificate: PathBuf,
}

/// What a certificate shall say, besides the subject's common name.
#[derive(Debug, Clone)]
pub struct Leaf {
    names: String,
    usages: &'static str,
    /// From and until, as `openssl ca` reads it.
    valid: Option<[&'static str; 2]>,
}

/// A certificate and its private key: two files, PEM. The key is PKCS #8, unencrypted, mode 0600.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The certificate alone: its issuer is the root.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Leaf {
    /// Of a server, with these subject alternative names: `DNS:localhost,IP:127.0.0.1`.
    pub fn server(names: &str) -> Leaf {
        Leaf { names: names.to_owned(), usages: "serverAuth", valid: None }
    }

    /// Of a client that is known by its common name alone.
    pub fn client() -> Leaf {
        Leaf { names: String::new(), usages: "clientAuth", valid: None }
    }

    /// Of either: a client, or a server, of these subject alternative names.
    pub fn peer(names: &str) -> Leaf {
        Leaf { names: names.to_owned(), usages: "serverAuth,clientAuth", valid: None }
    }

    /// Without subject alternative names and without a word of what it may be used for.
    pub fn plain() -> Leaf {
        Leaf { names: String::new(), usages: "", valid: None }
    }

    /// The same, but it was valid in January 2020 and no longer.
    pub fn expired(self) -> Leaf {
        Leaf { valid: Some(["20200101000000Z", "20200131000000Z"]), ..self }
    }

    /// The same, but valid from 2090 on.
    pub fn not_yet_valid(self) -> Leaf {
        Leaf { valid: Some(["20900101000000Z", "20900131000000Z"]), ..self }
    }

    fn extensions(&self) -> String {
        let line = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!("{name}={value}\n"),
        };
        format!(
            "basicConstraints=critical,CA:FALSE\n{}{}",
            line("extendedKeyUsage", self.usages),
            line("subjectAltName", &self.names)
        )
    }
}

impl Authority {
    /// Makes one in the new directory `dir`/`name`, mode 0700.
    pub fn new(dir: &Path, name: &str) -> Result<Authority, Error> {
        let dir = dir.join(name);
        make_private(&dir)?;
        let dir = dir.canonicalize().map_err(Error::io("resolving", &dir))?;
        let certificate = dir.join("ca.pem");
        let mut make = openssl(&["req", "-x509", "-days", VALID, "-subj"])?;
        make.arg(format!("/CN={name}")).args(KEY);
        make.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        make.arg("-keyout").arg(dir.join("ca.key")).arg("-out").arg(&certificate);
        program::run(make, "openssl req")?;
        Ok(Authority { dir, certificate })
    }

    /// Where its files are, and those of what it has issued: `NAME.pem` and `NAME.key`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its own certificate, PEM.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Issues a certificate with `name` as its common name, which is also that of its files: each once.
    pub fn issue(&self, name: &str, leaf: &Leaf) -> Result<Credentials, Error> {
        let file = |kind: &str| self.dir.join(format!("{name}.{kind}"));
        let [certificate, key, request] = ["pem", "key", "csr"].map(file);
        let mut ask = openssl(&["req", "-subj"])?;
        ask.arg(format!("/CN={name}")).args(KEY);
        ask.arg("-keyout").arg(&key).arg("-out").arg(&request);
        program::run(ask, "openssl req")?;

        // Its list of what was issued is for this certificate alone: others may be made at the same time.
        let [index, conf, extensions] = ["index", "conf", "extensions"].map(file);
        write(&index, "")?;
        write(&extensions, &leaf.extensions())?;
        let settings = format!(
            "[ca]\ndefault_ca=this\n[this]\ndatabase={name}.index\nnew_certs_dir=.\nrand_serial=yes\n\
             default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
        );
        write(&conf, &settings)?;
        let mut sign = openssl(&["ca", "-batch", "-notext", "-config"])?;
        // Where its configuration need not name the directory, which it would interpret.
        sign.current_dir(&self.dir);
        sign.arg(&conf).arg("-cert").arg(&self.certificate).arg("-keyfile").arg(self.dir.join("ca.key"));
        match leaf.valid {
            Some([from, until]) => sign.args(["-startdate", from, "-enddate", until]),
            None => sign.args(["-days", VALID]),
        };
        sign.arg("-in").arg(&request).arg("-extfile").arg(&extensions).arg("-out").arg(&certificate);
        program::run(sign, "openssl ca")?;
        Ok(Credentials { certificate, key })
    }
}

fn openssl(args: &[&str]) -> Result<Command, Error> {
    let mut command = program::command("openssl", "openssl")?;
    command.args(args);
    Ok(command)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io("writing", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::scratch_dir;

    fn verify(authority: &Authority, leaf: &Credentials, purpose: &str) -> Result<(), String> {
        let mut verify = openssl(&["verify", "-x509_strict", "-purpose", purpose, "-CAfile"]).unwrap();
        verify.arg(authority.certificate()).arg(&leaf.certificate);
        program::run(verify, "openssl verify").map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn each_certificate_is_good_or_bad_in_the_one_way_that_was_asked_for() {
        let scratch = scratch_dir("hsm-sim-ca-").unwrap();
        let ours = Authority::new(scratch.path(), "ours").unwrap();
        let other = Authority::new(scratch.path(), "other").unwrap();
        let server = ours.issue("server", &Leaf::server("DNS:localhost,IP:127.0.0.1")).unwrap();
        let client = ours.issue("client", &Leaf::client()).unwrap();
        assert_eq!(verify(&ours, &server, "sslserver"), Ok(()));
        assert_eq!(verify(&ours, &client, "sslclient"), Ok(()));
        for (issued, purpose, says) in [
            (&server, "sslclient", "purpose"),
            (&client, "sslserver", "purpose"),
            (&ours.issue("old", &Leaf::client().expired()).unwrap(), "sslclient", "expired"),
            (&ours.issue("early", &Leaf::client().not_yet_valid()).unwrap(), "sslclient", "not yet valid"),
            (&other.issue("client", &Leaf::client()).unwrap(), "sslclient", "unable to get local issuer"),
        ] {
            let error = verify(&ours, issued, purpose).unwrap_err();
            assert!(error.contains(says), "{issued:?}: {error}");
        }
    }
}
