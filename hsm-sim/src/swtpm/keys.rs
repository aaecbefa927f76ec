//! Keys of other people's making: by tpm2-tools, as an operator would make them.

use std::path::{Path, PathBuf};

use super::Swtpm;
use crate::home::scratch_dir;
use crate::{Error, program};

impl Swtpm {
    /// Puts the owner hierarchy's storage key (ECC P-256) at the persistent handle 0x81000001, where it is by convention
    /// (TCG TPM v2.0 Provisioning Guidance, table 2), as whoever provisions a machine does.
    pub fn provision(&self) -> Result<(), Error> {
        let scratch = scratch_dir("hsm-sim-tpm2-")?;
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
        let primary = self.primary(scratch.path(), &["-a", attributes])?;
        self.evict(&primary, "0x81000001")
    }

    /// Makes a key at a persistent handle (`0x81010002`), with these options of tpm2_create: `["-G", "rsa2048"]`. By
    /// its defaults the key may do everything, has no password, and counts wrong ones.
    pub fn persist(&self, handle: &str, options: &[&str]) -> Result<(), Error> {
        let scratch = scratch_dir("hsm-sim-tpm2-")?;
        let primary = self.primary(scratch.path(), &[])?;
        let [public, private, key] = ["public", "private", "key"].map(|name| scratch.path().join(name));
        let mut create = self.tool("tpm2_create")?;
        create.args(["-Q", "-C"]).arg(primary).args(options);
        create.arg("-u").arg(public).arg("-r").arg(private).arg("-c").arg(&key);
        program::run(create, "tpm2_create")?;
        self.flush()?;
        self.evict(&key, handle)
    }

    /// Takes all that is not persistent out of the TPM, whoever put it there: keys, and sessions loaded or saved.
    pub fn flush(&self) -> Result<(), Error> {
        for kind in ["--transient-object", "--loaded-session", "--saved-session"] {
            let mut flush = self.tool("tpm2_flushcontext")?;
            flush.arg(kind);
            program::run(flush, "tpm2_flushcontext")?;
        }
        Ok(())
    }

    fn primary(&self, scratch: &Path, options: &[&str]) -> Result<PathBuf, Error> {
        let context = scratch.join("primary");
        let mut create = self.tool("tpm2_createprimary")?;
        create.args(["-Q", "-C", "o", "-G", "ecc"]).args(options).arg("-c").arg(&context);
        program::run(create, "tpm2_createprimary")?;
        Ok(context)
    }

    fn evict(&self, key: &Path, handle: &str) -> Result<(), Error> {
        let mut evict = self.tool("tpm2_evictcontrol")?;
        evict.args(["-Q", "-C", "o", "-c"]).arg(key).arg(handle);
        program::run(evict, "tpm2_evictcontrol")?;
        self.flush()
    }
}
