//! `hsm-sim up` and `down`: what is left stays usable, and is removed by name, and nothing else is.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests; these helpers belong to them")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hsm_sim::Process;

const SOON: Duration = Duration::from_secs(60);

fn hsm_sim(verb: &str, dir: &Path, more: &[&str]) -> (i32, Process) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hsm-sim"));
    command.arg(verb).arg("--dir").arg(dir).args(more);
    let mut process = Process::spawn(command, verb).unwrap();
    let code = process.wait(SOON).unwrap().code().unwrap();
    (code, process)
}

#[test]
fn a_shell_can_use_what_up_left_until_down() {
    let scratch = tempfile::tempdir().unwrap();
    // A name that a shell would take apart, were it not quoted.
    let dir = scratch.path().join("it's $HOME");
    let (code, up) =
        hsm_sim("up", &dir, &["--with", "softhsm", "--token", "prod", "--key", "images=ecc-p256"]);
    assert_eq!(code, 0, "{}", up.stderr_text());
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);

    let script = format!(
        "{}\nset -eu\ngrep -q 'BEGIN PUBLIC' \"$HSM_SIM_DIR/keys/images.pub.pem\"
        exec pkcs11-tool --module \"$HSM_SIM_PKCS11_MODULE\" --token-label \"$HSM_SIM_TOKEN\" \
            --login --pin \"$(cat \"$HSM_SIM_PIN_FILE\")\" --list-objects --type privkey",
        up.stdout_text()
    );
    let mut shell = hsm_sim::command("sh", "dash").unwrap();
    shell.args(["-c", &script]);
    let mut shell = Process::spawn(shell, "sh").unwrap();
    let status = shell.wait(SOON).unwrap();
    assert!(status.success(), "{}", shell.stderr_text());
    assert!(shell.stdout_text().contains("label:      images"));

    let (code, down) = hsm_sim("down", &dir, &[]);
    assert_eq!(code, 0, "{}", down.stderr_text());
    assert!(!dir.exists() && scratch.path().exists());
}

#[test]
fn up_twice_says_to_run_down_and_leaves_the_first_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("sim");
    assert_eq!(hsm_sim("up", &dir, &["--with", "softhsm"]).0, 0);
    let (code, again) = hsm_sim("up", &dir, &["--with", "softhsm"]);
    assert_eq!(code, 1);
    assert_eq!(
        again.stderr_text(),
        format!("hsm-sim: {0} holds a simulation already: run hsm-sim down --dir {0} first\n", dir.display())
    );
    assert!(dir.join("softhsm/softhsm2.conf").is_file());
    assert_eq!(hsm_sim("down", &dir, &[]).0, 0);
    let (code, gone) = hsm_sim("down", &dir, &[]);
    assert_eq!(code, 1);
    assert!(gone.stderr_text().contains("does not exist: there is nothing to end"));
}

#[test]
fn a_directory_of_somebody_elses_is_neither_used_nor_removed() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("thesis.tex"), "years").unwrap();
    let (code, up) = hsm_sim("up", scratch.path(), &["--with", "softhsm"]);
    assert_eq!(code, 1);
    assert!(up.stderr_text().contains("exists already and hsm-sim did not make it"));
    let (code, down) = hsm_sim("down", scratch.path(), &[]);
    assert_eq!(code, 1);
    assert!(down.stderr_text().contains("is no directory that hsm-sim made"));
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn an_up_that_fails_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("sim");
    let (code, _) = hsm_sim("up", &dir, &["--with", "softhsm", "--token", "x\ny"]);
    assert_eq!(code, 1);
    assert!(!dir.exists());
}

#[test]
fn an_up_that_nobody_hears_of_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("sim");
    let status = Command::new(env!("CARGO_BIN_EXE_hsm-sim"))
        .args(["up", "--with", "softhsm", "--dir"])
        .arg(&dir)
        .stdout(File::options().write(true).open("/dev/full").unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(!dir.exists());
}
