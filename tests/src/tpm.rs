//! Keys in a TPM, for the daemon of a house.

use std::path::PathBuf;
use std::process::Command;

use crate::house::{House, me};
use crate::{binary, must};

/// The house with a TPM beside its PKCS#11 token; `options` are lines of its `[[token]]`.
pub fn section(house: House, tcti: &str, options: &str) -> House {
    house.section(&format!("[[token]]\nuri = \"tpm:\"\ntcti = \"{tcti}\"\n{options}\n"))
}

/// `holdfastd` with a verb, and the house's configuration.
pub fn holdfastd(house: &House, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("holdfastd"));
    command.args(arguments).arg("--config").arg(house.write_config()).envs(house.hsm.env());
    command
}

/// Makes a key in the TPM and gives it to the test's user under its name. Returns the file of its public half.
pub fn make(house: House, name: &str, options: &[&str]) -> (House, PathBuf) {
    let uri = format!("tpm:file={}", key_file(&house, name).display());
    let public = house.dir.path().join(format!("{name}.pub.pem"));
    let mut create = holdfastd(&house, &["key", "create", &uri]);
    let said = must(create.args(options).arg("--public").arg(&public));
    assert!(said.contains("generated in the token, never extractable"), "{said}");
    let lines = format!("[[key]]\nalias = \"{name}\"\nuri = \"{uri}\"\n");
    assert!(said.contains(&lines), "{said}");
    (configure(house, name, &uri), public)
}

/// A key that is there already, under a name with which the test's user may do everything.
pub fn configure(house: House, name: &str, uri: &str) -> House {
    let mut house = house.section(&format!("[[key]]\nalias = \"{name}\"\nuri = \"{uri}\"\n"));
    house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"{name}\"]", me()));
    house
}

/// Where [`make`] puts a key.
pub fn key_file(house: &House, name: &str) -> PathBuf {
    house.dir.path().join(format!("{name}.tss"))
}
