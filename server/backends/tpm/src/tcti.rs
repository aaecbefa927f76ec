//! How the TPM is reached: the `tcti` of the configuration.
//!
//! Two ways are taken, and each in one spelling: what tss-esapi itself would take is wider, and it reads some
//! of it as something else (`swtpm:path=…` as localhost:2321, without a word).

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tss_esapi::TctiNameConf;
use tss_esapi::tcti_ldr::{DeviceConfig, NetworkTPMConfig};

/// A way to a TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tcti {
    /// `device:/dev/tpmrm0`: a TPM of this machine, best behind the kernel's resource manager.
    Device(PathBuf),
    /// `swtpm:host=127.0.0.1,port=2321`: a simulated TPM, on this machine. Its control channel is one port up.
    Swtpm {
        /// An address of the loopback interface.
        host: IpAddr,
        /// The command channel.
        port: u16,
    },
}

const SPELLINGS: &str =
    "tcti is \"device:/dev/tpmrm0\", or for a simulated TPM \"swtpm:host=127.0.0.1,port=2321\"";

impl FromStr for Tcti {
    type Err = String;

    fn from_str(text: &str) -> Result<Tcti, String> {
        match text.split_once(':') {
            Some(("device", path)) if Path::new(path).is_absolute() && !path.contains('\0') => {
                Ok(Tcti::Device(path.into()))
            }
            Some(("swtpm", address)) => swtpm(address),
            _ => Err(SPELLINGS.into()),
        }
    }
}

fn swtpm(address: &str) -> Result<Tcti, String> {
    let wrong = || format!("{SPELLINGS}, both host and port, and no path");
    let (host, port) = address.split_once(',').ok_or_else(wrong)?;
    let host: IpAddr = host.strip_prefix("host=").and_then(|host| host.parse().ok()).ok_or_else(wrong)?;
    let port = port.strip_prefix("port=").and_then(|port| port.parse().ok()).ok_or_else(wrong)?;
    if !host.is_loopback() {
        return Err(
            "a simulated TPM keeps nothing from who can reach it: host must be a loopback address".into()
        );
    }
    if !(1..u16::MAX).contains(&port) {
        return Err(wrong());
    }
    Ok(Tcti::Swtpm { host, port })
}

impl fmt::Display for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tcti::Device(path) => write!(f, "device:{}", path.display()),
            Tcti::Swtpm { host, port } => write!(f, "swtpm:host={host},port={port}"),
        }
    }
}

impl Tcti {
    /// As tss-esapi has it.
    pub(crate) fn name(&self) -> Result<TctiNameConf, tss_esapi::Error> {
        match self {
            Tcti::Device(path) => DeviceConfig::from_str(&path.to_string_lossy()).map(TctiNameConf::Device),
            Tcti::Swtpm { host, port } => {
                NetworkTPMConfig::from_str(&format!("host={host},port={port}")).map(TctiNameConf::Swtpm)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_read_back_as_they_are_written() {
        for text in ["device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321", "swtpm:host=::1,port=9"] {
            let tcti: Tcti = text.parse().unwrap();
            assert_eq!(tcti.to_string(), text);
            tcti.name().unwrap();
        }
    }

    #[test]
    fn what_would_be_read_as_something_else_is_refused() {
        for text in [
            "",
            "device",
            "device:",
            "device:tpmrm0",
            "swtpm",
            "swtpm:",
            "swtpm:path=/run/tpm.sock",
            "swtpm:port=2321",
            "swtpm:host=127.0.0.1",
            "swtpm:port=2321,host=127.0.0.1",
            "swtpm:host=127.0.0.1,port=0",
            "swtpm:host=127.0.0.1,port=65535",
            "swtpm:host=127.0.0.1,port=2321,path=/x",
            "mssim:host=127.0.0.1,port=2321",
            "tabrmd:",
        ] {
            let why = text.parse::<Tcti>().unwrap_err();
            assert!(why.contains("device:/dev/tpmrm0"), "{text}: {why}");
        }
        assert!("swtpm:host=10.0.0.1,port=2321".parse::<Tcti>().unwrap_err().contains("loopback"));
    }
}
