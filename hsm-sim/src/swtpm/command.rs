//! Commands of a TPM 2.0, by their codes.

use std::fmt;

/// The code of a command (TPM_CC, TPM 2.0 Library Part 2, section 6.5.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TpmCommand(pub u32);

macro_rules! named {
    ($($constant:ident = $code:literal, $name:literal;)*) => {
        impl TpmCommand {
            $(#[doc = concat!("TPM2_", $name, ".")]
            pub const $constant: TpmCommand = TpmCommand($code);)*

            const NAMES: &[(TpmCommand, &str)] = &[$((TpmCommand($code), $name),)*];
        }
    };
}

// Those that a test is likely to ask for; any other is as good by its number.
named! {
    EVICT_CONTROL = 0x120, "EvictControl";
    CREATE_PRIMARY = 0x131, "CreatePrimary";
    CREATE = 0x153, "Create";
    ECDH_ZGEN = 0x154, "ECDH_ZGen";
    IMPORT = 0x156, "Import";
    LOAD = 0x157, "Load";
    RSA_DECRYPT = 0x159, "RSA_Decrypt";
    CONTEXT_LOAD = 0x161, "ContextLoad";
    CONTEXT_SAVE = 0x162, "ContextSave";
    FLUSH_CONTEXT = 0x165, "FlushContext";
    LOAD_EXTERNAL = 0x167, "LoadExternal";
    POLICY_AUTHORIZE = 0x16a, "PolicyAuthorize";
    READ_PUBLIC = 0x173, "ReadPublic";
    START_AUTH_SESSION = 0x176, "StartAuthSession";
    VERIFY_SIGNATURE = 0x177, "VerifySignature";
    GET_CAPABILITY = 0x17a, "GetCapability";
    GET_RANDOM = 0x17b, "GetRandom";
    PCR_READ = 0x17e, "PCR_Read";
    POLICY_PCR = 0x17f, "PolicyPCR";
    POLICY_RESTART = 0x180, "PolicyRestart";
}

impl fmt::Debug for TpmCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TpmCommand::NAMES.iter().find(|(known, _)| known == self) {
            Some((_, name)) => write!(f, "TPM2_{name}"),
            None => write!(f, "TPM command {:#x}", self.0),
        }
    }
}
