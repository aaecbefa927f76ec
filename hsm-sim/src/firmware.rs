//! What a machine's firmware does with its TPM while it boots: it measures, and writes an event log of that (TCG PC
//! Client Platform Firmware Profile, section 10).

use std::path::Path;

use crate::{Error, Swtpm, program};

/// TPM_ALG_ID of each bank that swtpm has, by the name that tpm2-tools give it, and the bytes of its digests.
const BANKS: [(&str, u16, u16); 4] =
    [("sha1", 0x0004, 20), ("sha256", 0x000b, 32), ("sha384", 0x000c, 48), ("sha512", 0x000d, 64)];

/// The log of one boot.
#[derive(Debug, Clone)]
pub struct Firmware {
    banks: Vec<(u16, u16)>,
    log: Vec<u8>,
}

impl Firmware {
    /// A log with its header, and digests of all banks of swtpm.
    pub fn new() -> Firmware {
        Firmware::with_banks(&BANKS.map(|(_, id, len)| (id, len)))
    }

    /// A log with digests of these banks: TPM_ALG_ID, and bytes.
    pub fn with_banks(banks: &[(u16, u16)]) -> Firmware {
        let mut header = b"Spec ID Event03\0".to_vec();
        // a client; version 2.0, errata 0; numbers of 64 bits
        header.extend_from_slice(&[0, 0, 0, 0, 0, 2, 0, 2]);
        header.extend_from_slice(&(banks.len() as u32).to_le_bytes());
        for (id, len) in banks {
            header.extend_from_slice(&[id.to_le_bytes(), len.to_le_bytes()].concat());
        }
        header.push(0);
        let mut firmware = Firmware { banks: banks.to_vec(), log: Vec::new() };
        firmware.sha1_entry(0, 3, [0; 20], &header);
        firmware
    }

    /// A log of the old form, SHA-1 alone, without a header.
    pub fn old() -> Firmware {
        Firmware { banks: Vec::new(), log: Vec::new() }
    }

    /// The log so far.
    pub fn log(&self) -> &[u8] {
        &self.log
    }

    /// Writes an entry of the old form.
    pub fn sha1_entry(&mut self, pcr: u32, kind: u32, digest: [u8; 20], data: &[u8]) {
        self.log.extend_from_slice(&[pcr.to_le_bytes(), kind.to_le_bytes()].concat());
        self.log.extend_from_slice(&digest);
        self.log.extend_from_slice(&(data.len() as u32).to_le_bytes());
        self.log.extend_from_slice(data);
    }

    /// Writes an entry with one digest for each bank, in the order of the banks, whatever the TPM was told.
    pub fn entry(&mut self, pcr: u32, kind: u32, digests: &[Vec<u8>], data: &[u8]) {
        self.log.extend_from_slice(&[pcr, kind, digests.len() as u32].map(u32::to_le_bytes).concat());
        for ((id, _), digest) in self.banks.iter().zip(digests) {
            self.log.extend_from_slice(&id.to_le_bytes());
            self.log.extend_from_slice(digest);
        }
        self.log.extend_from_slice(&(data.len() as u32).to_le_bytes());
        self.log.extend_from_slice(data);
    }

    /// A remark that extends no PCR, EV_NO_ACTION.
    pub fn remark(&mut self, pcr: u32, data: &[u8]) {
        let digests: Vec<_> = self.banks.iter().map(|(_, len)| vec![0; usize::from(*len)]).collect();
        self.entry(pcr, 3, &digests, data);
    }

    /// Measures: the TPM hashes what is `measured` and extends the PCR with it, and the log says so, with `data` to
    /// explain it.
    pub fn measure(
        &mut self,
        tpm: &Swtpm,
        pcr: u32,
        kind: u32,
        measured: &[u8],
        data: &[u8],
    ) -> Result<(), Error> {
        let file =
            tempfile::NamedTempFile::new().map_err(Error::io("making a file in", Path::new("/tmp")))?;
        std::fs::write(file.path(), measured).map_err(Error::io("writing", file.path()))?;
        let mut event = tpm.tool("tpm2_pcrevent")?;
        event.arg(pcr.to_string()).arg(file.path());
        let said = String::from_utf8_lossy(&program::run(event, "tpm2_pcrevent")?).into_owned();
        let digest_of = |id: u16| {
            let (name, ..) = BANKS.into_iter().find(|(_, known, _)| *known == id)?;
            let hex = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
        };
        let digests: Vec<Vec<u8>> = self.banks.iter().filter_map(|(id, _)| digest_of(*id)).collect();
        self.entry(pcr, kind, &digests, data);
        Ok(())
    }
}

impl Default for Firmware {
    fn default() -> Firmware {
        Firmware::new()
    }
}
