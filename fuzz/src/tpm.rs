//! What lies beside a TPM: the firmware's log, a signer's policies, key files.

use holdfast_custody::{PcrBank, PcrSelection};
use holdfast_tpm::file::KeyFile;
use holdfast_tpm::{EventLog, POLICY_AUTHORIZE, PolicyKey, signatures};

use crate::one_printable_line;

/// Event logs: what is taken has something to say in one line for each event, and replays or says why not.
pub fn event_log(bytes: &[u8]) {
    let log = match EventLog::parse(bytes) {
        Ok(log) => log,
        Err(error) => return one_printable_line(&error),
    };
    assert!((1..=bytes.len()).contains(&log.events().len()));
    for (number, event) in log.events().iter().enumerate() {
        assert_eq!(event.number, number);
        one_printable_line(&event.kind);
        assert!(event.description.chars().count() <= 128);
        assert!(!event.description.chars().any(char::is_control), "{:?}", event.description);
    }
    for bank in [PcrBank::Sha256, PcrBank::Sha384] {
        let all = PcrSelection::new(bank, (0..=PcrSelection::LAST).collect()).expect("PCRs");
        match log.replay(&all) {
            Ok(values) => {
                assert!(log.banks().contains(&bank));
                for (pcr, value) in values.iter() {
                    assert_eq!(value.len(), bank.digest_len());
                    // Nothing extends a PCR that the log does not name.
                    let plain = value.iter().all(|byte| *byte == value[0]);
                    assert!(pcr == 0 || plain || log.of_pcr(pcr).next().is_some());
                }
            }
            Err(error) => one_printable_line(&error),
        }
    }
}

/// Signed policies: each that is read can be added to the file it was read from, and to a new one.
pub fn signed_policies(bytes: &[u8]) {
    let policies = match signatures::parse(bytes) {
        Ok(policies) => policies,
        Err(error) => return one_printable_line(&error),
    };
    for policy in policies.iter().take(8) {
        let alone = signatures::merge(&[], policy).expect("a new file");
        assert_eq!(signatures::parse(alone.as_bytes()).as_deref(), Ok(&[policy.clone()][..]));
        let merged = signatures::merge(bytes, policy).expect("a file that was read");
        let again = signatures::parse(merged.as_bytes()).expect("a file that was written");
        assert!(again.contains(policy), "a policy was lost");
        if let Some(values) = &policy.values {
            assert_eq!(values.selection(), policy.pcrs);
        }
    }
}

/// TSS2 PRIVATE KEY files: what is taken can be written, and reads back as the same.
pub fn tpm_key_file(bytes: &[u8]) {
    for read in [KeyFile::from_pem(bytes), KeyFile::from_der(bytes)] {
        let file = match read {
            Ok(file) => file,
            Err(error) => {
                one_printable_line(&error);
                continue;
            }
        };
        let pem = file.to_pem().expect("PEM");
        if pem.len() <= holdfast_tpm::file::MAX_LEN {
            assert_eq!(KeyFile::from_pem(pem.as_bytes()), Ok(file.clone()));
        }
        for command in file.policy.iter().filter(|command| command.code == POLICY_AUTHORIZE) {
            if let Some(key) = PolicyKey::from_command_parameters(&command.parameters) {
                assert_eq!(key.command_parameters(), command.parameters);
            }
        }
    }
}
