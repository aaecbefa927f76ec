//! Endorsement key and certificates, made by swtpm_setup with an authority of their own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::home::make_private;
use crate::{Error, program};

/// Makes the TPM's state with certificates in its NV memory. `dir` gets the authority beside the state.
pub(super) fn make(dir: &Path, state: &Path) -> Result<(), Error> {
    let authority = dir.join("authority");
    make_private(&authority)?;
    let signer = program::command("swtpm_localca", "swtpm-tools")?;
    // Its own configuration: that of the system needs root, and that of the user changes the user's home.
    let at = |name: &str| authority.join(name).display().to_string();
    let options = write(
        dir,
        "swtpm-localca.options",
        "--platform-manufacturer hsm-sim\n--platform-version 1\n--platform-model simulated\n",
    )?;
    let authority_conf = write(
        dir,
        "swtpm-localca.conf",
        &format!(
            "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
            authority.display(),
            at("signkey.pem"),
            at("issuercert.pem"),
            at("certserial")
        ),
    )?;
    let conf = write(
        dir,
        "swtpm_setup.conf",
        &format!(
            "create_certs_tool={}\ncreate_certs_tool_config={}\ncreate_certs_tool_options={}\n",
            signer.get_program().to_string_lossy(),
            authority_conf.display(),
            options.display()
        ),
    )?;
    let mut setup = program::command("swtpm_setup", "swtpm-tools")?;
    setup
        .args([
            "--tpm2",
            "--create-ek-cert",
            "--create-platform-cert",
            "--lock-nvram",
            "--pcr-banks",
            "sha256",
        ])
        .arg("--config")
        .arg(conf)
        .arg("--tpmstate")
        .arg(state);
    if rustix::process::geteuid().is_root() {
        // Else it becomes the user tss, who cannot look into the directory.
        setup.args(["--runas", "root"]);
    }
    program::run(setup, "swtpm_setup").map(drop)
}

pub(super) fn authority(dir: &Path) -> PathBuf {
    dir.join("authority").join("issuercert.pem")
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(Error::io("writing", &path))?;
    Ok(path)
}
