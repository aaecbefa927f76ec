//! What the library promises about PyKMIP: a KMIP server of one's own, whose keys outlive it.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests; these helpers belong to them")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hsm_sim::{Authority, Credentials, Leaf, Process, Pykmip, Revocation};
use serde_json::json;

const SOON: Duration = Duration::from_secs(60);

/// OpenSSL's client, which ends once it has shaken hands or was refused.
fn s_client(pykmip: &Pykmip, client: &Credentials) -> Command {
    let mut command = hsm_sim::command("openssl", "openssl").unwrap();
    command.args(["s_client", "-verify_return_error", "-verify_hostname", "localhost", "-connect"]);
    command.arg(pykmip.address()).arg("-CAfile").arg(pykmip.authority().certificate());
    command.arg("-cert").arg(&client.certificate).arg("-key").arg(&client.key);
    command
}

/// Whether it was let in, and what it wrote.
fn shake_hands(pykmip: &Pykmip, client: &Credentials) -> (bool, String) {
    let mut process = Process::spawn(s_client(pykmip, client), "openssl s_client").unwrap();
    let success = process.wait(SOON).unwrap().success();
    (success, process.stdout_text() + &process.stderr_text())
}

fn openssl(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// RSA-OAEP with `hash` in both places, by OpenSSL; in hex.
fn seal(public: &Path, hash: &str, text: &str) -> String {
    let mut plain = tempfile::NamedTempFile::new().unwrap();
    plain.write_all(text.as_bytes()).unwrap();
    let mut command = hsm_sim::command("openssl", "openssl").unwrap();
    command.args(["pkeyutl", "-encrypt", "-pubin", "-pkeyopt", "rsa_padding_mode:oaep"]);
    command.args(["-pkeyopt", &format!("rsa_oaep_md:{hash}"), "-pkeyopt", &format!("rsa_mgf1_md:{hash}")]);
    let output = command.arg("-inkey").arg(public).arg("-in").arg(plain.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Until the last process of a group is gone: SIGKILL is sent, and the kernel may still be at it.
fn gone(group: u32) {
    let mut watch = hsm_sim::command("sleep", "coreutils").unwrap();
    watch.arg("600");
    Process::spawn(watch, "the group's end")
        .unwrap()
        .ready_when(SOON, |_| members(group).is_empty())
        .unwrap();
}

/// The ids of all processes of a group.
fn members(group: u32) -> Vec<String> {
    let stat = |pid: &str| fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    let in_group = |pid: &String| {
        // After the name: state, parent, group (proc(5)).
        let stat = stat(pid);
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.get(2).is_some_and(|id| *id == group.to_string()) && fields[0] != "Z"
    };
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(in_group).collect()
}

#[test]
fn each_is_a_server_of_its_own() {
    let (one, other) = (Pykmip::start().unwrap(), Pykmip::start().unwrap());
    assert_ne!(one.address(), other.address());
    let id = one.create_aes("images").unwrap();
    assert_eq!(one.locate("images").unwrap(), [id]);
    assert_eq!(other.locate("images").unwrap(), [""; 0]);
}

#[test]
fn its_keys_outlive_a_kill_and_nothing_that_it_started_does() {
    let mut pykmip = Pykmip::start().unwrap();
    let address = pykmip.address();
    let id = pykmip.create_aes("images").unwrap();
    let value = pykmip.get(&id).unwrap();
    let group = pykmip.id();
    // It has started a manager and a monitor of its policies.
    assert!(members(group).len() >= 3, "{:?}", members(group));
    pykmip.kill().unwrap();
    gone(group);
    assert!(!shake_hands(&pykmip, pykmip.client()).0);
    pykmip.restart().unwrap();
    assert_eq!(pykmip.address(), address);
    assert_eq!(pykmip.get(&id).unwrap(), value);
    let group = pykmip.id();
    drop(pykmip);
    gone(group);
}

#[test]
fn a_key_goes_through_its_states() {
    let pykmip = Pykmip::start().unwrap();
    let id = pykmip.create_pre_active("images").unwrap();
    let state = || pykmip.attributes(&id).unwrap()["State"].clone();
    let encrypt = || {
        let step = json!({"do": "encrypt", "id": id, "data": "00", "iv": "000102030405060708090a0b"});
        pykmip.ask(&[step]).unwrap().remove(0)
    };
    assert_eq!(state(), "PRE_ACTIVE");
    assert_eq!(encrypt()["failed"]["reason"], "PERMISSION_DENIED");
    pykmip.activate(&id).unwrap();
    let attributes = pykmip.attributes(&id).unwrap();
    assert_eq!(attributes["State"], "ACTIVE");
    assert_eq!((&attributes["Name"], &attributes["Sensitive"]), (&json!("images"), &json!(true)));
    let sealed = encrypt();
    let (data, tag) = (&sealed["data"], &sealed["tag"]);
    let step = json!({"do": "decrypt", "id": id, "data": data, "tag": tag, "iv": "000102030405060708090a0b"});
    assert_eq!(pykmip.ask(&[step]).unwrap(), ["00"]);
    let error = pykmip.destroy(&id).unwrap_err().to_string();
    assert!(error.contains("PERMISSION_DENIED"), "{error}");
    pykmip.revoke(&id, Revocation::CessationOfOperation).unwrap();
    assert_eq!(state(), "DEACTIVATED");
    pykmip.destroy(&id).unwrap();
    let error = pykmip.attributes(&id).unwrap_err().to_string();
    assert!(error.starts_with("PyKMIP refused: ") && error.contains("ITEM_NOT_FOUND"), "{error}");
    let other = pykmip.create_aes("other").unwrap();
    pykmip.revoke(&other, Revocation::KeyCompromise).unwrap();
    assert_eq!(pykmip.attributes(&other).unwrap()["State"], "COMPROMISED");
}

#[test]
fn private_keys_decrypt_only_where_that_was_asked_for() {
    for (rsa, mut pykmip) in [(false, Pykmip::start().unwrap()), (true, Pykmip::with_rsa().unwrap())] {
        let pair = pykmip.create_rsa("images", 2048).unwrap();
        let public = pykmip.dir().join("public.pem");
        fs::write(&public, pykmip.public_key_pem(&pair).unwrap()).unwrap();
        // After a restart too.
        pykmip.restart().unwrap();
        for hash in ["sha1", "sha256"] {
            let sealed = seal(&public, hash, "layer key");
            let decrypt = |hash: &str| {
                let hash = hash.replace("sha", "SHA_");
                let step = json!({"do": "decrypt_oaep", "id": pair.private, "data": sealed, "hash": hash});
                pykmip.ask(&[step]).unwrap().remove(0)
            };
            if rsa {
                assert_eq!(decrypt(hash), "6c61796572206b6579");
                assert_eq!(decrypt("sha512")["failed"]["reason"], "GENERAL_FAILURE");
            } else {
                assert_eq!(
                    decrypt(hash)["failed"]["message"],
                    "The requested decryption key is not a symmetric key. Only symmetric decryption is currently \
                     supported."
                );
            }
        }
        // Its own checks are as they were.
        pykmip.revoke(&pair.private, Revocation::CessationOfOperation).unwrap();
        let step = json!({"do": "decrypt_oaep", "id": pair.private, "data": "00", "hash": "SHA_256"});
        assert_eq!(pykmip.ask(&[step]).unwrap()[0]["failed"]["reason"], "PERMISSION_DENIED");
    }
}

#[test]
fn keys_are_brought_to_it_and_two_may_have_one_name() {
    let pykmip = Pykmip::start().unwrap();
    let aes = pykmip.register_aes("images", &[7; 32]).unwrap();
    let pkcs8 = pykmip.dir().join("key.der");
    let mut make = hsm_sim::command("openssl", "openssl").unwrap();
    make.args([
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-outform",
        "DER",
        "-out",
    ]);
    openssl(make.arg(&pkcs8));
    let pkcs8 = fs::read(&pkcs8).unwrap();
    let rsa = pykmip.register_rsa("images", &pkcs8, 2048).unwrap();
    assert_eq!(pykmip.get(&aes).unwrap(), [7; 32]);
    assert_eq!(pykmip.get(&rsa).unwrap(), pkcs8);
    let mut ids = pykmip.locate("images").unwrap();
    ids.sort();
    assert_eq!(ids, [aes.clone(), rsa.clone()]);
    for (id, kind) in [(aes, "SYMMETRIC_KEY"), (rsa, "PRIVATE_KEY")] {
        let attributes = pykmip.attributes(&id).unwrap();
        assert_eq!((&attributes["Object Type"], &attributes["State"]), (&json!(kind), &json!("ACTIVE")));
    }
}

#[test]
fn only_a_client_with_a_good_certificate_is_let_in() {
    let pykmip = Pykmip::start().unwrap();
    let (success, said) = shake_hands(&pykmip, pykmip.client());
    assert!(success && said.contains("Verification: OK") && said.contains("Protocol  : TLSv1.2"), "{said}");
    let ours = pykmip.authority();
    let foreign = Authority::new(pykmip.dir(), "foreign").unwrap();
    for (client, alert) in [
        (ours.issue("expired", &Leaf::client().expired()).unwrap(), "certificate expired"),
        (foreign.issue("hsm-sim", &Leaf::client()).unwrap(), "unknown ca"),
        (ours.issue("a-server", &Leaf::server("DNS:localhost")).unwrap(), "unsupported certificate"),
    ] {
        let (success, said) = shake_hands(&pykmip, &client);
        assert!(!success && said.contains(&format!("alert {alert}")), "{alert}: {said}");
    }
}

#[test]
fn it_presents_the_certificate_that_it_is_given() {
    let mut pykmip = Pykmip::start().unwrap();
    let foreign = Authority::new(pykmip.dir(), "foreign").unwrap();
    let good = Leaf::server("DNS:localhost,IP:127.0.0.1");
    let issue = |name: &str, leaf: &Leaf| pykmip.authority().issue(name, leaf).unwrap();
    let bad = [
        (issue("expired", &good.clone().expired()), "certificate has expired"),
        (foreign.issue("server", &good).unwrap(), "unable to get local issuer certificate"),
        (issue("another", &Leaf::server("DNS:kms.example,IP:127.0.0.2")), "hostname mismatch"),
    ];
    for (server, says) in bad {
        pykmip.present(&server).unwrap();
        let (success, said) = shake_hands(&pykmip, pykmip.client());
        assert!(!success && said.contains(says), "{says}: {said}");
    }
}

#[test]
fn what_it_was_asked_while_it_hung_is_answered_later() {
    let pykmip = Pykmip::start().unwrap();
    pykmip.hang().unwrap();
    let mut process = Process::spawn(s_client(&pykmip, pykmip.client()), "openssl s_client").unwrap();
    // Connected by the kernel, and no more.
    process.wait(Duration::from_millis(300)).unwrap_err();
    assert!(!process.stdout_text().contains("BEGIN CERTIFICATE"));
    pykmip.go_on().unwrap();
    assert!(process.wait(SOON).unwrap().success(), "{}", process.stderr_text());
}

#[test]
fn its_log_says_what_was_done_and_holds_no_key() {
    let pykmip = Pykmip::start().unwrap();
    let secret = [0xa5; 32];
    let id = pykmip.register_aes("images", &secret).unwrap();
    let (connections, gets) = (pykmip.connections(), pykmip.calls("Get"));
    pykmip.get(&id).unwrap();
    assert_eq!((pykmip.connections(), pykmip.calls("Get")), (connections + 1, gets + 1));
    let log = pykmip.log();
    assert!(log.contains("Processing operation: Register"), "{log}");
    assert!(!log.contains("a5a5a5"), "{log}");
}

#[test]
fn nobody_else_looks_into_its_directory_and_nothing_of_it_stays() {
    let pykmip = Pykmip::start().unwrap();
    let dir = pykmip.dir().to_owned();
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    drop(pykmip);
    assert!(!dir.exists());
}

#[test]
fn a_directory_that_pykmip_would_misread_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let error = Pykmip::start_in(&scratch.path().join("100%"), false).unwrap_err().to_string();
    assert!(error.ends_with("use a path in UTF-8 without '%'"), "{error}");
}

#[test]
fn it_speaks_the_versions_that_it_is_to_speak_alone() {
    for version in [[1, 4], [2, 0]] {
        let pykmip = Pykmip::speaking(&[version]).unwrap();
        let id = pykmip.create_aes("images").unwrap();
        assert_eq!(pykmip.locate("images").unwrap(), std::slice::from_ref(&id));
        assert_eq!(pykmip.attributes(&id).unwrap()["Sensitive"], true);
        assert_eq!(pykmip.get(&id).unwrap().len(), 32);
    }
}
