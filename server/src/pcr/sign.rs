//! `holdfastd pcr sign`

use holdfast_tpm::{SignedPolicy, signatures};

use super::machine::Machine;
use super::{Pcrs, Report, Sign};
use crate::key;

/// Signs, and writes the policy to where it is wanted.
pub(super) fn run(options: &Sign) -> Result<Report, String> {
    let named = |why: String| format!("{}: {why}", options.key.display());
    // A file that cannot be used is found out before the TPM is asked for anything.
    let private = key::file::read(&options.key).map_err(named)?;
    let values = match &options.pcrs {
        Pcrs::Given(values) => values.clone(),
        Pcrs::Now(pcrs) => Machine::load(&options.config)?.values(pcrs)?,
    };
    let policy = SignedPolicy::sign(&private, &values).map_err(named)?;
    let text = match &options.output {
        None => signatures::merge(&[], &policy)?,
        Some(file) => {
            policy.add_to(file).map_err(|why| format!("{}: {why}; nothing was written", file.display()))?;
            format!("{}: {values}\n", file.display())
        }
    };
    Ok(Report { text, good: true })
}
