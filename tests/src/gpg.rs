//! gpg with a home of its own: keys that a token gets, their certificates, and messages to them.

mod private;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::house::{House, file, me};
use crate::must;

/// gpg's home in a scratch directory. Its agent is ended when this is dropped.
pub struct Gpg {
    home: PathBuf,
}

/// Whom the certificates of these tests are for.
pub const EMAIL: &str = "images@test.invalid";

/// A token with the encryption subkey of a certificate of EMAIL, both of this type, as the key `images`, and the
/// certificate's home. In the key's options CERTIFICATE stands for the option that names the certificate.
pub fn house_of(kind: &str, options: &str) -> (House, Gpg) {
    let mut house = House::new();
    let gpg = Gpg::new(house.dir.path());
    gpg.make(EMAIL, kind);
    house.hsm.import(&house.token, "images", &[1], &gpg.private_key(EMAIL), false).expect("a key");
    let certificate = gpg.certificate(EMAIL);
    let options = options.replace("CERTIFICATE", &format!("openpgp = \"{}\"", certificate.display()));
    house.configure("images", "images", &options);
    house.allow(&format!("user = {}\nto = [\"unwrap\"]\nkeys = [\"images\"]", me()));
    (house, gpg)
}

impl Gpg {
    /// A home without keys.
    pub fn new(scratch: &Path) -> Gpg {
        let home = scratch.join("gnupg");
        fs::DirBuilder::new().mode(0o700).create(&home).expect("gpg's home");
        Gpg { home }
    }

    /// `GNUPGHOME`
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// gpg, which asks nobody anything.
    pub fn command(&self) -> Command {
        let mut command = hsm_sim::command("gpg", "gpg").expect("gpg");
        command.arg("--homedir").arg(&self.home).args(["--batch", "--quiet", "--yes", "--no-tty"]);
        command.args(["--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always"]);
        command
    }

    /// Makes a certificate of EMAIL: a primary key that signs, and a subkey for encryption, both of this type
    /// ("rsa3072", "nistp256").
    pub fn make(&self, email: &str, kind: &str) {
        must(self.command().args(["--quick-generate-key", email, kind, "sign", "never"]));
        let listed = must(self.command().args(["--with-colons", "--list-keys", email]));
        let fingerprint = listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::"));
        let fingerprint = fingerprint.expect("a fingerprint").trim_end_matches(':');
        must(self.command().args(["--quick-add-key", fingerprint, kind, "encrypt", "never"]));
    }

    /// The certificate in a file, armored.
    pub fn certificate(&self, email: &str) -> PathBuf {
        let armored = must(self.command().args(["--armor", "--export", email]));
        file(&self.home, &format!("{email}.asc"), armored)
    }

    /// The private half of the encryption subkey in a file, PEM.
    pub fn private_key(&self, email: &str) -> PathBuf {
        let exported = self.command().args(["--export-secret-keys", email]).output().expect("gpg");
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        file(&self.home, &format!("{email}.pem"), private::subkey_pem(&exported.stdout))
    }

    /// Encrypts with these options more, `--recipient EMAIL` among them.
    pub fn encrypt(&self, options: &[&str], data: &[u8]) -> Vec<u8> {
        let mut command = self.command();
        command.args(["--compress-algo", "none"]).args(options).arg("--encrypt");
        let mut gpg =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("gpg");
        gpg.stdin.take().expect("its input").write_all(data).expect("what it encrypts");
        let output = gpg.wait_with_output().expect("an end");
        assert!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // The agent that gpg started for this home, by its socket there.
        if let Ok(mut gpgconf) = hsm_sim::command("gpgconf", "gpgconf") {
            let _ = gpgconf.arg("--homedir").arg(&self.home).args(["--kill", "gpg-agent"]).output();
        }
    }
}
