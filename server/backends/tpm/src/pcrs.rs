//! The values that the TPM's PCRs have now.

use std::collections::BTreeMap;

use holdfast_custody::{Error, PcrSelection, PcrValues};

use crate::device::Device;
use crate::errors::{Failure, failed};
use crate::policy;

/// PCRs' values of this moment.
pub(crate) fn current(device: &mut Device, pcrs: &PcrSelection) -> Result<PcrValues, Failure> {
    const READING: &str = "reading PCRs";
    // A TPM gives at most eight values at a time.
    const AT_ONCE: usize = 8;
    let mut values = BTreeMap::new();
    let numbers: Vec<u8> = pcrs.numbers().collect();
    for some in numbers.chunks(AT_ONCE) {
        let part = PcrSelection::new(pcrs.bank(), some.iter().copied().collect())
            .ok_or_else(|| Error::Internal("an empty selection of PCRs".into()))?;
        let selection = policy::new_selection(&part).map_err(|error| failed(error, READING))?;
        let (_, _, read) = device.context().pcr_read(selection).map_err(|error| failed(error, READING))?;
        if read.len() != some.len() {
            return Err(Error::KeyUnfit(format!(
                "the TPM has no PCRs {pcrs}; tpm2_getcap pcrs shows the banks that it has"
            ))
            .into());
        }
        values.extend(some.iter().copied().zip(read.value().iter().map(|value| value.value().to_vec())));
    }
    PcrValues::new(pcrs.bank(), values).ok_or_else(|| {
        Error::Internal("the TPM gave PCR values of another length than their bank's".into()).into()
    })
}
