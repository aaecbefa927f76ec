//! `hsm-sim run`: a command gets an HSM, its exit code comes back, and nothing remains.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests; these helpers belong to them")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hsm_sim::Process;
use rustix::process::Signal;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

/// `hsm-sim run` with a place for temporary files of its own, so that one can see what remains.
struct Fixture {
    scratch: TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { scratch: tempfile::tempdir().unwrap() }
    }

    fn start(&self, args: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hsm-sim"));
        command.arg("run").args(args).env("TMPDIR", self.scratch.path());
        Process::spawn(command, "hsm-sim run").unwrap()
    }

    fn run(&self, args: &[&str]) -> (i32, Process) {
        let mut process = self.start(args);
        let code = process.wait(SOON).unwrap().code().unwrap();
        self.assert_nothing_remains();
        (code, process)
    }

    fn assert_nothing_remains(&self) {
        let left: Vec<_> = fs::read_dir(self.scratch.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn the_command_finds_a_token_with_its_keys() {
    let script = r#"
        set -eu
        pkcs11-tool --module "$HSM_SIM_PKCS11_MODULE" --token-label "$HSM_SIM_TOKEN" \
            --login --pin "$(cat "$HSM_SIM_PIN_FILE")" --list-objects --type privkey
        cd "$HSM_SIM_DIR/keys" && head -n1 images.pub.pem old.pub.pem
    "#;
    let (code, process) = Fixture::new().run(&[
        "--with",
        "softhsm",
        "--token",
        "prod",
        "--key",
        "old:0a=rsa-2048",
        "--key",
        "images=ecc-p256",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let seen = process.stdout_text();
    assert_eq!(code, 0, "{}", process.stderr_text());
    assert!(seen.contains("label:      images\n  ID:         02"), "{seen}");
    assert!(seen.contains("label:      old\n  ID:         0a"), "{seen}");
    assert_eq!(seen.matches("BEGIN PUBLIC KEY").count(), 2, "{seen}");
    assert_eq!(seen.matches("sensitive, always sensitive, never extractable, local").count(), 2);
}

#[test]
fn the_command_finds_a_tpm_beside_the_token() {
    let script = r#"
        set -eu
        tpm2_getcap properties-fixed
        echo "$HSM_SIM_TCTI"
        pkcs11-tool --module "$HSM_SIM_PKCS11_MODULE" --list-token-slots
    "#;
    let (code, process) =
        Fixture::new().run(&["--with", "softhsm", "--with", "swtpm", "--", "sh", "-c", script]);
    let seen = process.stdout_text();
    assert_eq!(code, 0, "{}", process.stderr_text());
    for part in ["TPM2_PT_FAMILY_INDICATOR", "swtpm:host=127.0.0.1,port=", "token label        : hsm-sim"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
}

#[test]
fn a_tpm_that_a_killed_run_left_is_ended_by_down() {
    let fixture = Fixture::new();
    let mut process = fixture
        .start(&["--with", "swtpm", "--", "sh", "-c", "echo \"$HSM_SIM_DIR $HSM_SIM_TCTI\"; exec sleep 600"])
        .ready_when(SOON, |process| process.stdout_text().contains('\n'))
        .unwrap();
    let said = process.stdout_text();
    let (dir, tcti) = said.trim_end().split_once(' ').unwrap();
    process.kill().unwrap();
    let random = || {
        let mut command = hsm_sim::command("tpm2_getrandom", "tpm2-tools").unwrap();
        command.args(["--hex", "8"]).env("TPM2TOOLS_TCTI", tcti);
        Process::spawn(command, "tpm2_getrandom").unwrap().wait(SOON).unwrap().success()
    };
    assert!(random(), "it is a process of its own");
    let mut down = Command::new(env!("CARGO_BIN_EXE_hsm-sim"));
    down.args(["down", "--dir", dir]);
    assert!(Process::spawn(down, "hsm-sim down").unwrap().wait(SOON).unwrap().success());
    assert!(!random());
    fixture.assert_nothing_remains();
}

#[test]
fn the_exit_code_is_the_commands() {
    let fixture = Fixture::new();
    let (code, _) = fixture.run(&["--with", "softhsm", "--", "sh", "-c", "exit 42"]);
    assert_eq!(code, 42);
    let (code, _) = fixture.run(&["--with", "softhsm", "--", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(code, 128 + 9);
}

#[test]
fn a_command_that_cannot_be_started_is_told_as_a_shell_does() {
    let fixture = Fixture::new();
    let (code, process) = fixture.run(&["--with", "softhsm", "--", "/nonexistent/command"]);
    assert_eq!(code, 127);
    assert_eq!(
        process.stderr_text(),
        "hsm-sim: /nonexistent/command cannot be started: No such file or directory (os error 2)\n"
    );
    let (code, _) = fixture.run(&["--with", "softhsm", "--", "/etc/passwd"]);
    assert_eq!(code, 126);
}

#[test]
fn signals_are_passed_on_and_nothing_remains() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP")] {
        let fixture = Fixture::new();
        let script = format!("trap 'exit 33' {name}; echo up; while :; do sleep 0.05; done");
        let mut process = fixture
            .start(&["--with", "softhsm", "--", "sh", "-c", &script])
            .ready_when(SOON, |process| process.stdout_text().contains("up"))
            .unwrap();
        process.signal(signal).unwrap();
        assert_eq!(process.wait(SOON).unwrap().code(), Some(33), "{name}");
        fixture.assert_nothing_remains();
    }
}

#[test]
fn a_command_that_a_signal_ends_gives_128_and_its_number() {
    let fixture = Fixture::new();
    let mut process = fixture
        .start(&["--with", "softhsm", "--", "sh", "-c", "echo up; exec sleep 600"])
        .ready_when(SOON, |process| process.stdout_text().contains("up"))
        .unwrap();
    process.signal(Signal::TERM).unwrap();
    assert_eq!(process.wait(SOON).unwrap().code(), Some(128 + 15));
    fixture.assert_nothing_remains();
}

#[test]
fn a_signal_before_the_command_started_ends_the_preparations() {
    let fixture = Fixture::new();
    let keys: Vec<_> = (0..40).map(|n| format!("--key=k{n}=rsa-2048")).collect();
    let mut args = vec!["--with", "softhsm"];
    args.extend(keys.iter().map(String::as_str));
    args.extend(["--", "echo", "started"]);
    let mut process = fixture.start(&args).ready_when(SOON, |_| has_token(fixture.scratch.path())).unwrap();
    process.signal(Signal::TERM).unwrap();
    assert_eq!(process.wait(SOON).unwrap().code(), Some(128 + 15));
    assert_eq!(process.stdout_text(), "");
    fixture.assert_nothing_remains();
}

fn has_token(scratch: &Path) -> bool {
    let homes = fs::read_dir(scratch).unwrap().flatten();
    homes
        .filter_map(|home| fs::read_dir(home.path().join("softhsm/pins")).ok())
        .any(|mut pins| pins.next().is_some())
}

#[test]
fn a_missing_program_names_its_package() {
    let fixture = Fixture::new();
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hsm-sim"));
    command
        .args(["run", "--with", "softhsm", "--", "true"])
        .env("TMPDIR", fixture.scratch.path())
        .env("PATH", empty.path());
    let mut process = Process::spawn(command, "hsm-sim run").unwrap();
    assert_eq!(process.wait(SOON).unwrap().code(), Some(125));
    assert_eq!(process.stderr_text(), "hsm-sim: softhsm2-util is not installed: apt-get install softhsm2\n");
    fixture.assert_nothing_remains();
}

#[test]
fn what_cannot_be_is_refused_before_anything_starts() {
    let fixture = Fixture::new();
    for (args, code, says) in [
        (&["--with", "nitro", "--", "true"][..], 2, "\"nitro\" is no simulator: use softhsm, swtpm, pykmip"),
        (&["--", "true"], 2, "--with <SIMULATOR>"),
        (&["--with", "softhsm"], 2, "<COMMAND>"),
        (&["--with", "softhsm", "--key", "a=rsa-512", "--", "true"], 2, "use one of rsa-2048"),
        (
            &["--with", "softhsm", "--key", "a=ecc-p256", "--key", "a=ecc-p256", "--", "true"],
            125,
            "--key a stands twice",
        ),
        (&["--with", "softhsm", "--token", "", "--", "true"], 125, "is no label for a token"),
        (
            &["--with", "swtpm", "--key", "a=ecc-p256", "--", "true"],
            125,
            "--key is for softhsm or pykmip: add --with softhsm or pykmip",
        ),
        (&["--with", "swtpm", "--token", "a", "--", "true"], 125, "--token is for softhsm"),
        (&["--with", "softhsm", "--certificates", "--", "true"], 125, "--certificates is for swtpm"),
    ] {
        let (exit, process) = fixture.run(args);
        assert_eq!(exit, code, "{args:?}");
        assert!(process.stderr_text().contains(says), "{}", process.stderr_text());
    }
}
