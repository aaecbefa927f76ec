//! `holdfastd pcr`: why a bound key does not open, whether it will after the next boot, and what a signer approves.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_e2e::house::{House, file};
use holdfast_e2e::{must, must_fail, run};
use hsm_sim::{Firmware, KeyKind, Swtpm};
use serde_json::{Value, json};

const EV_IPL: u32 = 13;

/// A machine with a TPM, and `images` on a PKCS#11 token.
struct Machine {
    house: House,
    swtpm: Swtpm,
}

impl Machine {
    fn new() -> Machine {
        Machine::of(Swtpm::start().unwrap())
    }

    fn of(swtpm: Swtpm) -> Machine {
        let section = format!("[[token]]\nuri = \"tpm:\"\ntcti = \"{}\"", swtpm.tcti());
        Machine { house: House::new().key("images", KeyKind::EcP256).section(&section), swtpm }
    }

    fn dir(&self) -> &Path {
        self.house.dir.path()
    }

    /// `holdfastd pcr …`
    fn pcr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(holdfast_e2e::binary("holdfastd"));
        command.arg("pcr").args(arguments).arg("--config").arg(self.house.write_config());
        command
    }

    /// Makes a key that is bound to the values that PCRs have now.
    fn bound(self, alias: &str, pcrs: &str) -> Machine {
        self.made(alias, &["--pcrs", pcrs])
    }

    fn made(mut self, alias: &str, to: &[&str]) -> Machine {
        let uri = format!("tpm:file={}", self.dir().join(format!("{alias}.tss")).display());
        let mut create = Command::new(holdfast_e2e::binary("holdfastd"));
        create.args(["key", "create", &uri, "--algorithm", "ecc-p256"]).args(to);
        must(create.arg("--config").arg(self.house.write_config()));
        self.house = self.house.section(&format!("[[key]]\nalias = \"{alias}\"\nuri = \"{uri}\"\n"));
        self
    }

    /// What `key create` has noted of a key beside its file.
    fn record(&self, alias: &str) -> PathBuf {
        self.dir().join(format!("{alias}.tss.pcrs"))
    }

    /// Boots a kernel: the stub measures its name, then itself, into PCR 11. Returns the file of the event log.
    fn boot(&mut self, kernel: &str) -> String {
        self.swtpm.restart().unwrap();
        let mut firmware = Firmware::new();
        for (measured, data) in [(".linux", ".linux"), (kernel, ".linux"), ("quiet", ".cmdline")] {
            firmware.measure(&self.swtpm, 11, EV_IPL, measured.as_bytes(), data.as_bytes()).unwrap();
        }
        file(self.dir(), &format!("{kernel}.log"), firmware.log()).display().to_string()
    }

    /// The digest that a kernel is measured as.
    fn boot_elsewhere(mut self, kernel: &str) -> String {
        let log = self.boot(kernel);
        let shown = self.json(&["show", "--pcrs", "sha256:11", "--events", "--log", &log]);
        shown["event_log"]["events"][1]["digest"].as_str().unwrap().to_owned()
    }

    /// Gives a key's record the events of a log: the kernel has none here that `key create` could have read.
    fn note_events(&self, alias: &str, log: &str) {
        let shown: Value = self.json(&["show", "--pcrs", "sha256:11", "--events", "--log", log]);
        let mut record: Value = serde_json::from_slice(&std::fs::read(self.record(alias)).unwrap()).unwrap();
        record["events"] = json!({ "11": shown["event_log"]["events"] });
        std::fs::write(self.record(alias), record.to_string()).unwrap();
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&run(self.pcr(arguments).arg("--json")).stdout).unwrap()
    }
}

/// A private key of the repository's test keys.
fn key(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("vectors/keys/{name}.pem")).display().to_string()
}

/// PCR 11 with a value, as systemd-measure calculated it for its first phase.
const MEASURED: &str = "sha256:11=7c502c6009dbf94a735c3d33172aff67f3d62bed732008d0099297d8587fb6ad";

#[test]
fn the_pcr_that_differs_is_named_and_without_a_record_only_that_one_does() {
    let machine = Machine::new().bound("sealed", "sha256:7+11");
    let said = must(&mut machine.pcr(&["show"]));
    assert!(said.contains("sealed: bound to sha256:7+11, exact values: met now"), "{said}");
    assert!(said.contains("no event log: "), "{said}");

    machine.swtpm.extend_pcr(11).unwrap();
    let said = must_fail(&mut machine.pcr(&["show", "sealed"]));
    assert!(said.contains("exact values: NOT met now\n  PCR 11 differs"), "{said}");
    let told = machine.json(&["show", "sealed"]);
    assert_eq!(told["keys"][0]["open"], json!(false));
    let why = "PCR 11 differs: f5a5fd42… where it was 00000000…";
    assert_eq!(told["keys"][0]["why"], json!([why]));
    assert_eq!(told["pcrs"]["7"], json!({"value": "00".repeat(32), "as_logged": null}));

    let record = machine.record("sealed");
    let good = std::fs::read_to_string(&record).unwrap();
    let other = good.replace("11=00", "11=01");
    for (content, says) in [(Some(other.as_str()), "of another key, or was changed"), (None, "No such file")]
    {
        match content {
            Some(content) => std::fs::write(&record, content).unwrap(),
            None => std::fs::remove_file(&record).unwrap(),
        }
        let said = must_fail(&mut machine.pcr(&["show"]));
        assert!(said.contains("at least one of sha256:7+11 differs; which one cannot be told"), "{said}");
        assert!(said.contains(says) && !said.contains("PCR 11 differs"), "{said}");
    }
}

#[test]
fn the_step_of_the_boot_that_differs_is_named() {
    let mut machine = Machine::new();
    let old = machine.boot("linux-6.1");
    let mut machine = machine.bound("sealed", "sha256:11");
    machine.note_events("sealed", &old);
    must(&mut machine.pcr(&["show", "--log", &old]));

    let new = machine.boot("linux-6.2");
    let said = must_fail(&mut machine.pcr(&["show", "--log", &new]));
    assert!(said.contains("PCR 11 differs from event 11.2, EV_IPL \".linux\": it measured "), "{said}");
    let listed = must_fail(&mut machine.pcr(&["show", "--events", "--pcrs", "sha256:11", "--log", &new]));
    assert!(listed.contains("\n  11.3    ") && listed.contains("  EV_IPL .cmdline\n"), "{listed}");

    let log = machine.boot("linux-6.1");
    machine.swtpm.extend_pcr(11).unwrap();
    let said = must_fail(&mut machine.pcr(&["show", "--log", &log]));
    assert!(said.contains("  not what the event log gives"), "{said}");
    assert!(
        said.contains("PCR 11 differs: something that is not in the event log has extended it"),
        "{said}"
    );
}

#[test]
fn a_prediction_is_what_the_next_boot_gives() {
    let mut machine = Machine::new();
    let log = machine.boot("linux-6.1");
    let mut machine = machine.bound("sealed", "sha256:11");
    let said = must(&mut machine.pcr(&["predict", "--pcrs", "sha256:11", "--log", &log]));
    assert!(said.contains("sealed: bound to sha256:11, exact values: would be met"), "{said}");

    // What the next kernel will be measured as, from the log of a machine that has booted it.
    let elsewhere = Machine::new().boot_elsewhere("linux-6.2");
    let replace = format!("11.2={elsewhere}");
    let arguments = ["predict", "--pcrs", "sha256:7+11", "--log", &log, "--replace", &replace];
    let said = must_fail(&mut machine.pcr(&arguments));
    let predicted = said.lines().next().unwrap().to_owned();
    assert!(said.contains("PCR 11 will differ: it has ") && !said.contains("PCR 7 will"), "{said}");
    assert!(said.contains("exact values: would NOT be met\n  PCR 11 differs"), "{said}");
    let told = machine.json(&arguments);
    assert_eq!(told["values"], json!(predicted));
    assert_eq!(
        (&told["pcrs"]["11"]["differs"], &told["pcrs"]["7"]["differs"]),
        (&json!(true), &json!(false))
    );

    // The log alone is enough.
    let without = House::new().key("images", KeyKind::EcP256);
    let mut alone = Command::new(holdfast_e2e::binary("holdfastd"));
    let said = must(alone.arg("pcr").args(arguments).arg("--config").arg(without.write_config()));
    assert!(said.starts_with(&format!("{predicted}\n")), "{said}");
    assert!(said.contains("no TPM is configured"), "{said}");

    machine.boot("linux-6.2");
    let now = machine.json(&["show", "--pcrs", "sha256:7+11"]);
    let value = |pcr: &str| now["pcrs"][pcr]["value"].as_str().unwrap().to_owned();
    assert_eq!(predicted, format!("sha256:7={}+11={}", value("7"), value("11")));

    machine.swtpm.extend_pcr(11).unwrap();
    let said = must_fail(&mut machine.pcr(&arguments));
    assert!(said.contains("PCR 11: the event log does not give the value that the TPM has now"), "{said}");
}

#[test]
fn a_key_of_a_signer_opens_in_the_states_that_he_has_signed() {
    let signatures = tempfile::tempdir().unwrap();
    let swtpm = Swtpm::start().unwrap();
    let section = format!(
        "[[token]]\nuri = \"tpm:\"\ntcti = \"{}\"\npcr_signatures = [\"{}\"]",
        swtpm.tcti(),
        signatures.path().display()
    );
    let house = House::new().key("images", KeyKind::EcP256).section(&section);
    let public = key("ec-P-256").replace(".pem", ".pub.pem");
    let mut machine = Machine { house, swtpm }.made("sealed", &["--policy-key", &public]);
    let said = must_fail(&mut machine.pcr(&["show"]));
    assert!(
        said.contains("sealed: bound to PCR policies signed by P-256 f64f54b7aaf2e2cd: NOT met now"),
        "{said}"
    );
    assert!(said.contains("  no policy that P-256 f64f54b7aaf2e2cd has signed is there\n"), "{said}");

    let log = machine.boot("linux-6.1");
    let output = signatures.path().join("linux-6.1.json").display().to_string();
    must(&mut machine.pcr(&["sign", "--key", &key("ec-P-256"), "--pcrs", "sha256:11", "-o", &output]));
    let said = must(&mut machine.pcr(&["show"]));
    assert!(said.contains("f64f54b7aaf2e2cd: met now\n  a policy for sha256:11 fits\n"), "{said}");

    // The next kernel's, before it is booted.
    let next = format!("11.2={}", Machine::new().boot_elsewhere("linux-6.2"));
    let predict = ["predict", "--pcrs", "sha256:11", "--log", &log, "--replace", &next];
    let said = must_fail(&mut machine.pcr(&predict));
    assert!(said.contains("would NOT be met\n  the one policy that"), "{said}");
    assert!(said.contains("  the nearest is one for sha256:11:\n  PCR 11 differs: "), "{said}");
    let output = signatures.path().join("linux-6.2.json").display().to_string();
    let values = said.lines().next().unwrap();
    must(&mut machine.pcr(&["sign", "--key", &key("ec-P-256"), "--pcrs", values, "-o", &output]));
    assert!(must(&mut machine.pcr(&predict)).contains("would be met\n  a policy for sha256:11 fits\n"));
    machine.boot("linux-6.2");
    must(&mut machine.pcr(&["show"]));

    std::fs::write(&output, "damaged").unwrap();
    let said = must_fail(&mut machine.pcr(&["show"]));
    assert!(said.contains("linux-6.2.json: damaged: not JSON from line 1, column 1\n"), "{said}");
}

#[test]
fn what_is_signed_is_what_systemd_measure_signs_and_takes_no_configuration() {
    let mut sign = Command::new(holdfast_e2e::binary("holdfastd"));
    sign.args(["pcr", "sign", "--key", &key("rsa2048"), "--pcrs", MEASURED]);
    let ours: Value = serde_json::from_str(&must(&mut sign)).unwrap();
    let theirs = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../server/backends/tpm/tests/vectors/systemd-measure/rsa2048.json");
    let theirs: Value = serde_json::from_slice(&std::fs::read(theirs).unwrap()).unwrap();
    for member in ["pcrs", "pkfp", "pol", "sig"] {
        assert_eq!(ours["sha256"][0][member], theirs["sha256"][0][member], "{member}");
    }
}

#[test]
fn systemd_opens_a_credential_in_the_state_that_was_signed_and_in_no_other() {
    let machine = Machine::new();
    let at = |name: &str| machine.dir().join(name);
    let sign = |output: &str, pcrs: &str| {
        let output = at(output).display().to_string();
        must(&mut machine.pcr(&["sign", "--key", &key("rsa2048"), "--pcrs", pcrs, "--output", &output]));
    };
    sign("now.json", "sha256:11");
    sign("another.json", MEASURED);
    file(machine.dir(), "plain", "a secret");
    let creds = |arguments: &[&str], signature: &str| {
        let mut creds = hsm_sim::command("systemd-creds", "systemd").unwrap();
        creds.args(arguments).arg("--name=key").arg(format!("--tpm2-device={}", machine.swtpm.tcti()));
        creds.arg(format!("--tpm2-signature={}", at(signature).display()));
        creds
    };
    let public = format!("--tpm2-public-key={}", key("rsa2048").replace(".pem", ".pub.pem"));
    let mut encrypt = creds(&["encrypt", "--with-key=tpm2-with-public-key", "--tpm2-pcrs="], "now.json");
    encrypt.args(["--tpm2-public-key-pcrs=11", &public]);
    must(encrypt.arg(at("plain")).arg(at("encrypted")));
    assert_eq!(must(creds(&["decrypt"], "now.json").arg(at("encrypted"))), "a secret");
    let said = must_fail(creds(&["decrypt"], "another.json").arg(at("encrypted")));
    assert!(said.contains("Couldn't find signature"), "{said}");
    // It leaves its sessions behind then.
    must(machine.swtpm.tool("tpm2_flushcontext").unwrap().arg("--loaded-session"));
    // The state that was signed last stands beside the first.
    sign("another.json", "sha256:11");
    assert_eq!(must(creds(&["decrypt"], "another.json").arg(at("encrypted"))), "a secret");
}

#[test]
fn a_policy_is_added_to_a_file_once_and_another_file_is_left_as_it_is() {
    let machine = Machine::new();
    let output = machine.dir().join("policies.json");
    let sign = |key_file: &str, pcrs: &str| {
        let output = output.display().to_string();
        machine.pcr(&["sign", "--key", key_file, "--pcrs", pcrs, "--output", &output])
    };
    let count = || {
        let root: Value = serde_json::from_slice(&std::fs::read(&output).unwrap()).unwrap();
        root["sha256"].as_array().unwrap().len()
    };
    let [rsa, ec] = ["rsa2048", "ec-P-256"].map(key);
    must(&mut sign(&ec, "sha256:11"));
    must(&mut sign(&ec, "sha256:11"));
    assert_eq!(count(), 1);
    must(&mut sign(&ec, MEASURED));
    must(&mut sign(&rsa, MEASURED));
    assert_eq!(count(), 3);

    std::fs::write(&output, "{\"sha256\": 7}").unwrap();
    let said = must_fail(&mut sign(&ec, MEASURED));
    assert!(said.contains("policies.json: damaged: ") && said.contains("nothing was written"), "{said}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "{\"sha256\": 7}");
}

#[test]
fn what_cannot_be_told_or_signed_says_why() {
    // Made with one bank of PCRs.
    let machine = Machine::of(Swtpm::start_with_certificates().unwrap());
    let damaged = file(machine.dir(), "damaged.log", [1; 40]).display().to_string();
    let public = key("ec-P-256").replace(".pem", ".pub.pem");
    let hex = "00".repeat(32);
    let given = format!("sha256:7={hex}");
    let [p256, p384] = ["ec-P-256", "ec-P-384"].map(key);
    for (arguments, says) in [
        (vec!["show", "--pcrs", "sha1:7"], "sha256:7+11"),
        (vec!["show", "--pcrs", "sha384:7"], "tpm2_getcap pcrs"),
        (vec!["show", "nobody"], "no [[key]] has the alias \"nobody\""),
        (vec!["show", "images"], "\"images\" is no key in the TPM"),
        (vec!["predict", "--pcrs", "sha256:7"], "nothing to predict from"),
        (vec!["predict", "--pcrs", "sha256:7", "--log", &damaged], "not an event log"),
        (vec!["predict", "--pcrs", "sha256:7", "--replace", "7=00"], "as in 4.2="),
        (vec!["sign", "--key", &p256, "--pcrs", "sha1:7"], "sha256:7+11"),
        (vec!["sign", "--key", &p256, "--pcrs", &given[..given.len() - 1]], "whole value in hexadecimal"),
        (vec!["sign", "--key", &p256, "--pcrs", "sha384:7"], "tpm2_getcap pcrs"),
        (vec!["sign", "--key", &p384, "--pcrs", &given], "signs with RSA and P-256 keys"),
        (vec!["sign", "--key", &public, "--pcrs", &given], "no PEM block with a private key"),
        (vec!["sign", "--key", "/none.pem", "--pcrs", &given], "/none.pem: No such file"),
    ] {
        let said = must_fail(&mut machine.pcr(&arguments));
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    let log = file(machine.dir(), "good.log", Firmware::new().log()).display().to_string();
    let predict = |replace: &str| {
        let arguments = ["predict", "--pcrs", "sha256:7", "--log", &log, "--replace", replace];
        must_fail(&mut machine.pcr(&arguments))
    };
    assert!(predict(&format!("7.1={hex}")).contains("no event 7.1 to replace"));
    assert!(predict(&format!("4.1={hex}")).contains("PCR 4 is not one of sha256:7"));

    let without = House::new().key("images", KeyKind::EcP256);
    let mut show = Command::new(holdfast_e2e::binary("holdfastd"));
    let said = must_fail(show.args(["pcr", "show", "--config"]).arg(without.write_config()));
    assert!(said.contains("no [[token]] is a TPM"), "{said}");
}
