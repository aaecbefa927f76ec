//! What the library promises about swtpm: a TPM of one's own, whose state outlives a power cut.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests; these helpers belong to them")]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hsm_sim::{Process, Swtpm};

fn ask(swtpm: &Swtpm, tool: &str, args: &[&str]) -> String {
    let mut command = swtpm.tool(tool).unwrap();
    command.args(args);
    let mut process = Process::spawn(command, tool).unwrap();
    let status = process.wait(Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{tool}: {}", process.stderr_text());
    process.stdout_text()
}

#[test]
fn each_is_a_tpm_of_its_own() {
    let (one, other) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
    assert_ne!(one.tcti(), other.tcti());
    assert!(ask(&one, "tpm2_getcap", &["properties-fixed"]).contains("value: \"2.0\""));
    let before = ask(&other, "tpm2_pcrread", &["sha256:16"]);
    one.extend_pcr(16).unwrap();
    assert_ne!(ask(&one, "tpm2_pcrread", &["sha256:16"]), before);
    assert_eq!(ask(&other, "tpm2_pcrread", &["sha256:16"]), before);
}

#[test]
fn its_state_outlives_a_power_cut_and_its_pcrs_do_not() {
    let mut swtpm = Swtpm::start().unwrap();
    let tcti = swtpm.tcti();
    swtpm.provision().unwrap();
    swtpm.persist("0x81010002", &["-G", "rsa2048"]).unwrap();
    for handles in ["handles-transient", "handles-loaded-session"] {
        assert_eq!(ask(&swtpm, "tpm2_getcap", &[handles]), "", "{handles}");
    }
    let fresh = ask(&swtpm, "tpm2_pcrread", &["sha256:7"]);
    swtpm.extend_pcr(7).unwrap();
    swtpm.kill().unwrap();
    swtpm.restart().unwrap();
    assert_eq!(swtpm.tcti(), tcti);
    let persistent = ask(&swtpm, "tpm2_getcap", &["handles-persistent"]);
    assert!(persistent.contains("0x81000001") && persistent.contains("0x81010002"), "{persistent}");
    assert_eq!(ask(&swtpm, "tpm2_pcrread", &["sha256:7"]), fresh);
}

#[test]
fn its_endorsement_certificate_was_signed_by_its_authority() {
    let swtpm = Swtpm::start_with_certificates().unwrap();
    let certificate = swtpm.dir().join("ek.der");
    // The NV index of the RSA-2048 certificate (TCG EK Credential Profile, section 2.2.1.4).
    ask(&swtpm, "tpm2_nvread", &["-C", "o", "0x01c00002", "-o", &certificate.display().to_string()]);
    let mut verify = hsm_sim::command("openssl", "openssl").unwrap();
    verify
        .args(["verify", "-partial_chain", "-ignore_critical", "-trusted"])
        .arg(swtpm.authority())
        .arg(&certificate);
    let mut process = Process::spawn(verify, "openssl verify").unwrap();
    let status = process.wait(Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{}", process.stderr_text());
}

#[test]
fn nobody_else_looks_into_its_directory_and_nothing_of_it_stays() {
    let swtpm = Swtpm::start().unwrap();
    let dir = swtpm.dir().to_owned();
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    drop(swtpm);
    assert!(!dir.exists());
}
