//! What the library promises about the bus before a TPM, met by programs of other people: tpm2-tools.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests; these helpers belong to them")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use hsm_sim::{Interposer, Process, Swtpm, Then, TpmCommand};

const SOON: Duration = Duration::from_secs(60);

fn interposer() -> Interposer {
    Interposer::before(Swtpm::start().unwrap()).unwrap()
}

/// How it went, and all it said.
fn run(mut command: Command, args: &[&str]) -> (bool, String) {
    command.args(args);
    let mut process = Process::spawn(command, "tpm2-tools").unwrap();
    let status = process.wait(SOON).unwrap();
    (status.success(), format!("{}{}", process.stdout_text(), process.stderr_text()))
}

fn through(interposer: &Interposer, tool: &str, args: &[&str]) -> (bool, String) {
    run(interposer.tool(tool).unwrap(), args)
}

fn ask(interposer: &Interposer, tool: &str, args: &[&str]) -> String {
    let (success, said) = through(interposer, tool, args);
    assert!(success, "{tool}: {said}");
    said
}

fn file(interposer: &Interposer, name: &str) -> (PathBuf, String) {
    let path = interposer.swtpm().dir().join(name);
    let text = path.display().to_string();
    (path, text)
}

#[test]
fn without_orders_the_tpm_is_the_one_behind_it_and_its_commands_are_counted() {
    let interposer = interposer();
    assert_ne!(interposer.tcti(), interposer.swtpm().tcti());
    assert!(ask(&interposer, "tpm2_getcap", &["properties-fixed"]).contains("value: \"2.0\""));
    let before = ask(&interposer, "tpm2_pcrread", &["sha256:16"]);
    interposer.swtpm().extend_pcr(16).unwrap();
    assert_ne!(ask(&interposer, "tpm2_pcrread", &["sha256:16"]), before);
    assert!(interposer.calls(TpmCommand::GET_CAPABILITY) >= 1, "{:?}", interposer.commands());
    assert_eq!(interposer.calls(TpmCommand::PCR_READ), 2);
    // What the TPM itself was asked on its own ports.
    assert_eq!(interposer.calls(TpmCommand(0x182)), 0);
    assert_eq!(
        format!("{:?} {:?}", TpmCommand::PCR_READ, TpmCommand(0x182)),
        "TPM2_PCR_Read TPM command 0x182"
    );
}

#[test]
fn a_code_is_answered_as_often_as_is_ordered() {
    let interposer = interposer();
    interposer.on(TpmCommand::GET_RANDOM, 2, Then::Answer(0x101));
    for _ in 0..2 {
        let (success, said) = through(&interposer, "tpm2_getrandom", &["--hex", "8"]);
        assert!(!success && said.contains("0x101"), "{said}");
    }
    ask(&interposer, "tpm2_getrandom", &["--hex", "8"]);
    interposer.on(TpmCommand::GET_RANDOM, usize::MAX, Then::Answer(0x101));
    assert!(!through(&interposer, "tpm2_getrandom", &["8"]).0);
    interposer.behave();
    ask(&interposer, "tpm2_getrandom", &["--hex", "8"]);
    // libtss2 retries these by itself.
    let before = interposer.calls(TpmCommand::GET_RANDOM);
    for code in [0x922, 0x908, 0x90a] {
        interposer.on(TpmCommand::GET_RANDOM, 1, Then::Answer(code));
    }
    ask(&interposer, "tpm2_getrandom", &["--hex", "8"]);
    assert_eq!(interposer.calls(TpmCommand::GET_RANDOM), before + 4);
}

#[test]
fn an_answer_that_is_cut_off_changed_or_made_up_reaches_nobody_whole() {
    let interposer = interposer();
    let huge = [&[0x80, 0x01][..], &u32::MAX.to_be_bytes(), &[0; 4]].concat();
    for then in [
        Then::cut_off(0),
        Then::cut_off(9),
        Then::cut_off(14),
        Then::Raw(Vec::new()),
        Then::Raw(vec![0xa5; 64]),
        Then::Raw(huge),
        Then::change(|answer| answer[6..10].copy_from_slice(&0x101u32.to_be_bytes())),
    ] {
        interposer.on(TpmCommand::GET_RANDOM, 1, then.clone());
        let (success, said) = through(&interposer, "tpm2_getrandom", &["--hex", "8"]);
        assert!(!success, "{then:?}: {said}");
    }
    ask(&interposer, "tpm2_getrandom", &["--hex", "8"]);
}

#[test]
fn something_happens_between_two_commands() {
    let interposer = interposer();
    let before = ask(&interposer, "tpm2_pcrread", &["sha256:16"]);
    interposer.on(TpmCommand::PCR_READ, 1, Then::first(|swtpm| swtpm.extend_pcr(16).unwrap()));
    let extended = ask(&interposer, "tpm2_pcrread", &["sha256:16"]);
    assert_ne!(extended, before);
    assert_eq!(ask(&interposer, "tpm2_pcrread", &["sha256:16"]), extended);
}

#[test]
fn a_tpm_that_is_killed_as_a_command_comes_is_back_on_the_same_bus() {
    let interposer = interposer();
    interposer.on(TpmCommand::GET_RANDOM, 1, Then::Kill);
    assert!(!through(&interposer, "tpm2_getrandom", &["8"]).0);
    assert!(!through(&interposer, "tpm2_getrandom", &["8"]).0, "it is gone");
    interposer.swtpm().restart().unwrap();
    ask(&interposer, "tpm2_getrandom", &["--hex", "8"]);
}

#[test]
fn another_tpm_takes_its_place_on_the_same_way() {
    let interposer = interposer();
    let fresh = ask(&interposer, "tpm2_pcrread", &["sha256:16"]);
    interposer.swtpm().extend_pcr(16).unwrap();
    assert_ne!(ask(&interposer, "tpm2_pcrread", &["sha256:16"]), fresh);
    let first = interposer.exchange(Swtpm::start().unwrap());
    assert_eq!(ask(&interposer, "tpm2_pcrread", &["sha256:16"]), fresh);
    assert_ne!(first.tcti(), interposer.swtpm().tcti());
    interposer.exchange(first);
    assert_ne!(ask(&interposer, "tpm2_pcrread", &["sha256:16"]), fresh);
}

#[test]
fn a_secret_that_a_command_carries_is_found_by_that_command() {
    let interposer = interposer();
    let [(_, primary), (_, public), (_, private), (_, key)] =
        ["primary", "public", "private", "key"].map(|name| file(&interposer, name));
    let [(plain, plain_name), (_, cipher)] = ["plain", "cipher"].map(|name| file(&interposer, name));
    std::fs::write(plain, b"known to the test alone").unwrap();
    ask(&interposer, "tpm2_createprimary", &["-Q", "-C", "o", "-G", "ecc", "-c", &primary]);
    let create = ["-Q", "-C", &primary, "-G", "rsa2048", "-u", &public, "-r", &private, "-c", &key];
    ask(&interposer, "tpm2_create", &create);
    let flush = || ask(&interposer, "tpm2_flushcontext", &["-t"]);
    flush();
    ask(&interposer, "tpm2_rsaencrypt", &["-Q", "-c", &key, "-o", &cipher, &plain_name]);
    flush();
    assert!(ask(&interposer, "tpm2_rsadecrypt", &["-c", &key, &cipher]).contains("known to the test alone"));
    // TPM2_RSA_Encrypt, on its way there; the other on its way back.
    let carriers = [TpmCommand(0x174), TpmCommand::RSA_DECRYPT];
    assert_eq!(interposer.carriers_of(b"known to the test alone"), carriers);
    assert_eq!(interposer.carriers_of(b"known to someone else"), []);
}

#[test]
fn dropping_it_ends_whoever_waits_on_it() {
    let interposer = interposer();
    let port = interposer.tcti().rsplit_once('=').unwrap().1.parse::<u16>().unwrap();
    interposer.on(TpmCommand::GET_RANDOM, 1, Then::Delay(Duration::from_secs(3600)));
    let mut delayed = TcpStream::connect(("127.0.0.1", port)).unwrap();
    delayed.write_all(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 8]).unwrap();
    let mut idle = TcpStream::connect(("127.0.0.1", port + 1)).unwrap();
    let arrived = Instant::now() + SOON;
    while interposer.calls(TpmCommand::GET_RANDOM) == 0 {
        assert!(Instant::now() < arrived);
        std::thread::yield_now();
    }
    let dir = interposer.swtpm().dir().to_owned();
    drop(interposer);
    assert!(!dir.exists());
    let mut rest = Vec::new();
    for stream in [&mut delayed, &mut idle] {
        stream.set_read_timeout(Some(SOON)).unwrap();
        // Closed or reset, but not left waiting.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
