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
fn a_tpm_stays_with_its_certificates_until_down() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("it's $HOME");
    let (code, up) = hsm_sim("up", &dir, &["--with", "swtpm", "--with", "softhsm", "--certificates"]);
    assert_eq!(code, 0, "{}", up.stderr_text());
    // From another shell each, as long as it is up.
    let run = |script: &str| {
        let mut shell = hsm_sim::command("sh", "dash").unwrap();
        shell.args(["-c", &format!("{}\nset -eu\n{script}", up.stdout_text())]);
        let mut shell = Process::spawn(shell, "sh").unwrap();
        (shell.wait(SOON).unwrap().success(), format!("{}{}", shell.stdout_text(), shell.stderr_text()))
    };
    let must = |script: &str| {
        let (success, said) = run(script);
        assert!(success, "{script}: {said}");
        said
    };
    assert!(runs_in(&dir));
    let fresh = must("tpm2_pcrread sha256:16");
    must("tpm2_pcrextend 16:sha256=$(printf %064d 0)");
    assert_ne!(must("tpm2_pcrread sha256:16"), fresh);
    let verify = r#"
        cd "$HSM_SIM_DIR"
        tpm2_nvread -C o 0x01c00002 -o ek.der
        openssl verify -partial_chain -ignore_critical -trusted "$HSM_SIM_TPM_AUTHORITY" ek.der
        test "$HSM_SIM_TCTI" = "$TPM2TOOLS_TCTI" && test "$HSM_SIM_TCTI" = "$TPM2OPENSSL_TCTI"
        pkcs11-tool --module "$HSM_SIM_PKCS11_MODULE" --list-token-slots
    "#;
    let said = must(verify);
    assert!(said.contains("ek.der: OK") && said.contains("token label        : hsm-sim"), "{said}");
    let (code, down) = hsm_sim("down", &dir, &[]);
    assert_eq!(code, 0, "{}", down.stderr_text());
    assert!(!dir.exists());
    assert!(!run("tpm2_getrandom --hex 8").0 && !runs_in(&dir), "swtpm still runs");
}

#[test]
fn a_kmip_server_stays_with_its_keys_until_down() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("it's $HOME");
    let keys = ["--key", "images=rsa-2048", "--key", "backup=aes-256"];
    let (code, up) = hsm_sim("up", &dir, &[&["--with", "pykmip"][..], &keys].concat());
    assert_eq!(code, 0, "{}", up.stderr_text());
    assert!(runs_in(&dir));
    let script = format!(
        "{}\nset -eu
        grep -q 'BEGIN PUBLIC' \"$HSM_SIM_DIR/keys/images.pub.pem\"
        ! [ -e \"$HSM_SIM_DIR/keys/backup.pub.pem\" ]
        exec openssl s_client -connect \"$HSM_SIM_KMIP_ADDRESS\" -CAfile \"$HSM_SIM_KMIP_CA\" \
            -cert \"$HSM_SIM_KMIP_CERT\" -key \"$HSM_SIM_KMIP_KEY\" -verify_return_error -verify_ip 127.0.0.1",
        up.stdout_text()
    );
    let mut shell = hsm_sim::command("sh", "dash").unwrap();
    shell.args(["-c", &script]);
    let mut shell = Process::spawn(shell, "sh").unwrap();
    let status = shell.wait(SOON).unwrap();
    assert!(status.success(), "{}", shell.stderr_text());
    assert!(shell.stdout_text().contains("Verification: OK"), "{}", shell.stdout_text());
    let (code, down) = hsm_sim("down", &dir, &[]);
    assert_eq!(code, 0, "{}", down.stderr_text());
    assert!(!dir.exists());
    // Killed with its helpers, which the kernel may still be at.
    let mut sleep = hsm_sim::command("sleep", "coreutils").unwrap();
    sleep.arg("600");
    Process::spawn(sleep, "the server's end").unwrap().ready_when(SOON, |_| !runs_in(&dir)).unwrap();
}

#[test]
fn a_key_that_could_be_anybodys_or_nobodys_is_refused_before_anything_starts() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("sim");
    for (options, says) in [
        (&["--with", "pykmip", "--with", "softhsm", "--key", "a=aes-256"][..], "start them one by one"),
        (
            &["--with", "pykmip", "--key", "a:01=aes-256"],
            "--key a has an id, which pykmip gives itself: write a=aes-256",
        ),
        (
            &["--with", "pykmip", "--key", "a=ecc-p256"],
            "pykmip makes no ecc-p256 keys: use rsa-3072 or aes-256",
        ),
        (
            &["--with", "swtpm", "--key", "a=aes-256"],
            "--key is for softhsm or pykmip: add --with softhsm or pykmip",
        ),
        (&["--with", "pykmip", "--token", "a"], "--token is for softhsm: add --with softhsm"),
    ] {
        let (code, up) = hsm_sim("up", &dir, options);
        assert_eq!(code, 1);
        assert!(up.stderr_text().contains(says), "{options:?}: {}", up.stderr_text());
        assert!(!dir.exists() && !runs_in(&dir));
    }
}

#[test]
fn an_up_that_fails_late_ends_the_tpm_that_it_had_started() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("sim");
    let options = ["--with", "swtpm", "--with", "softhsm", "--token", "x\ny"];
    let (code, up) = hsm_sim("up", &dir, &options);
    assert_eq!(code, 1);
    assert!(up.stderr_text().contains("is no label for a token"), "{}", up.stderr_text());
    assert!(!dir.exists());
    assert!(!runs_in(&dir), "swtpm still runs");
}

#[test]
fn a_directory_that_swtpm_would_misread_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("a,b");
    let (code, up) = hsm_sim("up", &dir, &["--with", "swtpm"]);
    assert_eq!(code, 1);
    assert!(up.stderr_text().contains("use a path without a comma"), "{}", up.stderr_text());
    assert!(!dir.exists());
}

/// Whether the command line of any process names the directory.
fn runs_in(dir: &Path) -> bool {
    let name = dir.to_str().unwrap().as_bytes();
    let lines = fs::read_dir("/proc").unwrap().flatten().map(|entry| fs::read(entry.path().join("cmdline")));
    lines.flatten().any(|line| line.windows(name.len()).any(|part| part == name))
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
