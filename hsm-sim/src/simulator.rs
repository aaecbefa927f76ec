use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The simulators this version can start: each has a module of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulator {
    /// SoftHSM2, a PKCS#11 token: [`SoftHsm`](crate::SoftHsm).
    SoftHsm,
    /// swtpm, a TPM 2.0: [`Swtpm`](crate::Swtpm).
    Swtpm,
    /// PyKMIP, a KMIP server: [`Pykmip`](crate::Pykmip).
    Pykmip,
}

impl Simulator {
    /// All of them.
    pub const ALL: [Simulator; 3] = [Simulator::SoftHsm, Simulator::Swtpm, Simulator::Pykmip];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Simulator::SoftHsm => "softhsm",
            Simulator::Swtpm => "swtpm",
            Simulator::Pykmip => "pykmip",
        }
    }
}

impl fmt::Display for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Simulator {
    type Err = Error;

    fn from_str(text: &str) -> Result<Simulator, Error> {
        Simulator::ALL.into_iter().find(|simulator| simulator.name() == text).ok_or_else(|| {
            let names = Simulator::ALL.map(Simulator::name).join(", ");
            Error::Invalid(format!("{text:?} is no simulator: use {names}"))
        })
    }
}
