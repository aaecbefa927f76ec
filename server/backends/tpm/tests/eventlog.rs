//! Event logs held against tpm2_eventlog, and against a TPM that was extended as they say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use holdfast_custody::PcrValues;
use holdfast_tpm::EventLog;
use hsm_sim::Firmware;
use support::{Scene, run};

const EV_SEPARATOR: u32 = 4;
const EV_S_CRTM_VERSION: u32 = 8;
const EV_IPL: u32 = 13;
const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn variable(name: &str, value: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let lengths = [name.len() as u64 / 2, value.len() as u64].map(u64::to_le_bytes).concat();
    [&[0x61; 16][..], &lengths, &name, value].concat()
}

/// A boot: firmware, Secure Boot's variables, a unified kernel image.
fn boot(scene: &Scene) -> Firmware {
    let mut firmware = Firmware::new();
    let mut measure = |pcr, kind, measured: &[u8], data: &[u8]| {
        firmware.measure(&scene.swtpm, pcr, kind, measured, data).unwrap();
    };
    let version = wide("1.0");
    measure(0, EV_S_CRTM_VERSION, &version, &version);
    let secure_boot = variable("SecureBoot", &[1]);
    measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &secure_boot, &secure_boot);
    for pcr in 0..8 {
        measure(pcr, EV_SEPARATOR, &[0; 4], &[0; 4]);
    }
    for section in [".linux", ".osrel", ".cmdline"] {
        measure(11, EV_IPL, &wide(section), &wide(section));
        measure(11, EV_IPL, section.as_bytes(), &wide(section));
    }
    firmware
}

/// The values that tpm2_eventlog replays a log to. (That of Debian 12 extends PCRs with remarks too.)
fn of_tpm2_eventlog(scene: &Scene, log: &[u8], bank: &str) -> PcrValues {
    let file = scene.dir.path().join("log");
    fs::write(&file, log).unwrap();
    let mut eventlog = scene.swtpm.tool("tpm2_eventlog").unwrap();
    eventlog.arg(&file);
    let yaml = String::from_utf8(run(eventlog)).unwrap();
    let replayed = yaml.split("\npcrs:\n").nth(1).unwrap();
    // "  sha256:", then "    0  : 0x…"
    let bank_lines = replayed.lines().skip_while(|line| line.trim() != format!("{bank}:")).skip(1);
    let values: Vec<String> = bank_lines
        .map_while(|line| line.trim().split_once(": 0x"))
        .map(|(pcr, value)| format!("{}={value}", pcr.trim()))
        .collect();
    format!("{bank}:{}", values.join("+")).parse().unwrap()
}

#[test]
fn a_log_replays_to_what_tpm2_eventlog_and_the_tpm_have() {
    let scene = Scene::new();
    let firmware = boot(&scene);
    let log = EventLog::parse(firmware.log()).unwrap();
    assert_eq!(log.of_pcr(11).last().unwrap().description, ".cmdline");
    for bank in ["sha256", "sha384"] {
        let theirs = of_tpm2_eventlog(&scene, firmware.log(), bank);
        assert_eq!(theirs.iter().count(), 9, "PCRs 0 to 7, and 11");
        let ours = log.replay(&theirs.selection()).unwrap();
        assert_eq!(ours, theirs);
        let of_the_tpm = scene.token.pcr_values(&theirs.selection()).unwrap();
        assert_eq!(ours, of_the_tpm);
    }
}

/// Resets the TPM and starts it from locality 3, as a processor's own firmware does. Through its socket: tpm2-tss
/// always says locality 0.
fn start_from_locality_3(scene: &Scene) {
    let tcti = scene.swtpm.tcti();
    let port: u16 = tcti.rsplit_once('=').unwrap().1.parse().unwrap();
    for order in [&["-i"][..], &["-l", "3"]] {
        let mut control = hsm_sim::command("swtpm_ioctl", "swtpm-tools").unwrap();
        control.arg("--tcp").arg(format!("127.0.0.1:{}", port + 1)).args(order);
        run(control);
    }
    // TPM2_Startup(TPM_SU_CLEAR), and the header of its answer.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0]).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0]);
}

#[test]
fn pcr_0_begins_with_the_locality_that_the_tpm_was_started_from() {
    let scene = Scene::new();
    start_from_locality_3(&scene);
    let mut firmware = Firmware::new();
    firmware.remark(0, b"StartupLocality\0\x03");
    firmware.measure(&scene.swtpm, 0, EV_S_CRTM_VERSION, b"1.0", b"1.0").unwrap();
    let log = EventLog::parse(firmware.log()).unwrap();
    for pcrs in ["sha256:0+1", "sha384:0"] {
        let pcrs = pcrs.parse().unwrap();
        assert_eq!(log.replay(&pcrs).unwrap(), scene.token.pcr_values(&pcrs).unwrap());
    }
}
