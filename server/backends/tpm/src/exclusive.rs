//! A TPM that nobody else uses, and what somebody who died left in it.
//!
//! Behind a resource manager the kernel flushes what a process leaves. Without one a killed daemon's keys and
//! sessions stay in the TPM's few slots until it is reset.

use holdfast_custody::Error;
use tss_esapi::Context;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::TpmHandle;
use tss_esapi::structures::CapabilityData;

use crate::Tcti;
use crate::errors::{Code, code, failed, is_gone};

/// The first handle of each kind that a slot holds (TPM 2.0 Library Part 2, section 7.2): loaded sessions, sessions
/// whose contexts are saved, and transient objects.
const KINDS: [u32; 3] = [0x0200_0000, 0x0300_0000, 0x8000_0000];
/// Handles of a kind; TPMs have 3 slots, and 64 sessions.
const MOST: u32 = 64;

const CLEARING: &str = "flushing what a daemon that died left in the TPM";

/// Flushes every key and every session.
pub(crate) fn clear(tcti: &Tcti) -> Result<(), Error> {
    let failed = |error| failed(error, CLEARING).error;
    let mut context = tcti.name().and_then(Context::new).map_err(failed)?;
    for kind in KINDS {
        let (capability, _) = context.get_capability(CapabilityType::Handles, kind, MOST).map_err(failed)?;
        let CapabilityData::Handles(handles) = capability else { continue };
        // TPMs answer with this kind alone, and with sessions of either type for both kinds of them.
        for handle in handles.into_inner() {
            flush(&mut context, handle).map_err(failed)?;
        }
    }
    Ok(())
}

fn flush(context: &mut Context, handle: TpmHandle) -> Result<(), tss_esapi::Error> {
    let flushed = context.tr_from_tpm_public(handle).and_then(|object| context.flush_context(object));
    match flushed {
        // The TPM has flushed a policy session, and the crate complains that it should not have been. And what is
        // gone meanwhile needs no flushing.
        Err(error) if code(error) == Code::Wrapper || is_gone(error) => Ok(()),
        result => result,
    }
}
