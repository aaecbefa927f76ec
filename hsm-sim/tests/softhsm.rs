//! What the library promises about SoftHSM2: real keys, with the custody they claim.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests; these helpers belong to them")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hsm_sim::{KeyKind, Object, ObjectKind, Process, SoftHsm, Token};

fn private_key(softhsm: &SoftHsm, token: &Token, id: &[u8]) -> Object {
    softhsm
        .objects(token)
        .unwrap()
        .into_iter()
        .find(|object| object.kind == ObjectKind::PrivateKey && object.id == id)
        .unwrap()
}

fn pkcs11_tool(softhsm: &SoftHsm, args: &[&str]) -> Command {
    let mut command = hsm_sim::command("pkcs11-tool", "opensc").unwrap();
    command.arg("--module").arg(softhsm.module()).args(args).envs(softhsm.env());
    command
}

fn stdout_of(command: Command) -> String {
    let mut process = Process::spawn(command, "the tool").unwrap();
    let status = process.wait(Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{}", process.stderr_text());
    process.stdout_text()
}

fn openssl(args: &[&str]) -> String {
    let mut command = hsm_sim::command("openssl", "openssl").unwrap();
    command.args(args);
    stdout_of(command)
}

/// A private key in PEM (PKCS#8), made by openssl.
fn pem_in(dir: &Path, name: &str, args: &[&str]) -> std::path::PathBuf {
    let file = dir.join(name);
    openssl(&[&["genpkey", "-out", file.to_str().unwrap()], args].concat());
    file
}

#[test]
fn a_generated_key_never_could_and_cannot_leave_its_token() {
    let softhsm = SoftHsm::start().unwrap();
    let token = softhsm.init_token("prod").unwrap();
    for (place, (kind, usage, says)) in (1u8..).zip([
        (KeyKind::Rsa2048, "decrypt", "(2048 bit)"),
        (KeyKind::Rsa3072, "decrypt", "(3072 bit)"),
        (KeyKind::Rsa4096, "decrypt", "(4096 bit)"),
        (KeyKind::EcP256, "derive", "NIST CURVE: P-256"),
        (KeyKind::EcP384, "derive", "NIST CURVE: P-384"),
        (KeyKind::EcP521, "derive", "NIST CURVE: P-521"),
    ]) {
        let key = softhsm.generate(&token, kind.name(), &[place], kind).unwrap();
        let object = private_key(&softhsm, &token, &key.id);
        assert_eq!(object.label, kind.name());
        assert_eq!(object.access, ["sensitive", "always sensitive", "never extractable", "local"]);
        assert!(object.usage.iter().any(|stated| stated == usage), "{object:?}");

        let pem = softhsm.dir().join("public.pem");
        fs::write(&pem, softhsm.public_key_pem(&token, &key).unwrap()).unwrap();
        let shown = openssl(&["pkey", "-pubin", "-noout", "-text", "-in", pem.to_str().unwrap()]);
        assert!(shown.contains(says), "{shown}");
    }
    // Private also means: whoever has not logged in does not even see it.
    let seen = stdout_of(pkcs11_tool(&softhsm, &["--token-label", "prod", "--list-objects"]));
    assert!(seen.contains("Public Key Object") && !seen.contains("Private Key Object"), "{seen}");
}

#[test]
fn a_generated_aes_key_has_the_same_custody_and_no_public_half() {
    let softhsm = SoftHsm::start().unwrap();
    let token = softhsm.init_token("prod").unwrap();
    let key = softhsm.generate(&token, "aes", &[1], KeyKind::Aes256).unwrap();
    softhsm.generate_extractable(&token, "loose", &[2], KeyKind::Aes256).unwrap();
    let [made, loose] = softhsm.objects(&token).unwrap().try_into().unwrap();
    let (made, loose) = if made.id == [1] { (made, loose) } else { (loose, made) };
    assert_eq!(made.kind, ObjectKind::SecretKey);
    assert_eq!(made.access, ["sensitive", "always sensitive", "never extractable", "local"]);
    assert!(["encrypt", "decrypt"].iter().all(|usage| made.usage.iter().any(|stated| stated == usage)));
    assert_eq!(loose.access, ["sensitive", "always sensitive", "extractable", "local"]);
    let seen = stdout_of(pkcs11_tool(&softhsm, &["--token-label", "prod", "--list-objects"]));
    assert!(!seen.contains("Secret Key Object"), "private: {seen}");
    assert!(softhsm.public_key_pem(&token, &key).is_err());
    softhsm.destroy(&token, &key).unwrap();
    assert_eq!(softhsm.objects(&token).unwrap().len(), 1);
}

#[test]
fn the_token_opens_what_its_public_key_sealed() {
    let softhsm = SoftHsm::start().unwrap();
    let token = softhsm.init_token("prod").unwrap();
    let key = softhsm.generate(&token, "images", &[1], KeyKind::Rsa2048).unwrap();
    let path = |name: &str| softhsm.dir().join(name).to_str().unwrap().to_owned();
    fs::write(path("pub.pem"), softhsm.public_key_pem(&token, "images").unwrap()).unwrap();
    fs::write(path("plain"), b"32 bytes that are some layer key").unwrap();
    openssl(&[
        "pkeyutl",
        "-encrypt",
        "-pubin",
        "-inkey",
        &path("pub.pem"),
        "-pkeyopt",
        "rsa_padding_mode:oaep",
        "-in",
        &path("plain"),
        "-out",
        &path("sealed"),
    ]);
    let sealed = path("sealed");
    let mut decrypt =
        pkcs11_tool(&softhsm, &["--token-label", "prod", "--login", "--pin", "env:PIN", "--decrypt"]);
    decrypt
        .args(["--mechanism", "RSA-PKCS-OAEP", "--hash-algorithm", "SHA-1", "--id", "01"])
        .args(["--input-file", &sealed])
        .env("PIN", fs::read_to_string(token.pin_file()).unwrap());
    assert_eq!(key.label, "images");
    assert_eq!(stdout_of(decrypt), "32 bytes that are some layer key");
}

#[test]
fn an_extractable_key_is_stated_as_such() {
    let softhsm = SoftHsm::start().unwrap();
    let token = softhsm.init_token("prod").unwrap();
    let key = softhsm.generate_extractable(&token, "loose", &[1], KeyKind::EcP256).unwrap();
    let object = private_key(&softhsm, &token, &key.id);
    assert_eq!(object.access, ["sensitive", "always sensitive", "extractable", "local"]);
    assert!(!object.is_guarded());
}

#[test]
fn an_imported_key_keeps_its_public_half_and_is_not_local() {
    let softhsm = SoftHsm::start().unwrap();
    let token = softhsm.init_token("prod").unwrap();
    let ec = pem_in(softhsm.dir(), "ec.pem", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let rsa = pem_in(softhsm.dir(), "rsa.pem", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    for (id, pem, extractable, usage, access) in [
        (1, &ec, false, "derive", &["sensitive"][..]),
        (2, &ec, true, "derive", &["sensitive", "extractable"]),
        (3, &rsa, false, "decrypt", &["sensitive"]),
        (4, &rsa, true, "decrypt", &["sensitive", "extractable"]),
    ] {
        let key = softhsm.import(&token, "old", &[id], pem, extractable).unwrap();
        let object = private_key(&softhsm, &token, &[id]);
        assert_eq!(object.access, access);
        assert!(object.usage.iter().any(|stated| stated == usage), "{object:?}");
        assert_eq!(
            softhsm.public_key_pem(&token, &key).unwrap(),
            openssl(&["pkey", "-pubout", "-in", pem.to_str().unwrap()])
        );
    }
}

#[test]
fn an_encrypted_pem_is_an_error_and_no_question() {
    let softhsm = SoftHsm::start().unwrap();
    let token = softhsm.init_token("prod").unwrap();
    let pem = pem_in(
        softhsm.dir(),
        "locked.pem",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:x"],
    );
    let error = softhsm.import(&token, "old", &[1], &pem, false).unwrap_err();
    assert!(error.to_string().starts_with("openssl pkey ended with"), "{error}");
    assert_eq!(softhsm.objects(&token).unwrap(), []);
}

#[test]
fn keys_that_share_a_label_are_told_apart_by_id() {
    let softhsm = SoftHsm::start().unwrap();
    let token = softhsm.init_token("prod").unwrap();
    let first = softhsm.generate(&token, "twin", &[1], KeyKind::EcP256).unwrap();
    let second = softhsm.generate(&token, "twin", &[2], KeyKind::EcP256).unwrap();

    let error = softhsm.public_key_pem(&token, "twin").unwrap_err();
    assert_eq!(error.to_string(), "several keys match \"twin\": give both the label and the id");
    assert!(softhsm.destroy(&token, "twin").is_err(), "never the first of several");
    assert_ne!(
        softhsm.public_key_pem(&token, &first).unwrap(),
        softhsm.public_key_pem(&token, &second).unwrap()
    );

    softhsm.destroy(&token, &first).unwrap();
    let left = softhsm.objects(&token).unwrap();
    assert_eq!(left.len(), 2, "both halves of one key");
    assert!(left.iter().all(|object| object.id == [2]));
    let error = softhsm.destroy(&token, &[1][..]).unwrap_err();
    assert_eq!(error.to_string(), "there is no key with id 01 on the token: see pkcs11-tool --list-objects");
}

#[test]
fn tokens_are_apart_even_with_one_label() {
    let softhsm = SoftHsm::start().unwrap();
    let [first, second] = ["same", "same"].map(|label| softhsm.init_token(label).unwrap());
    assert_ne!(first.serial(), second.serial());
    assert_ne!(first.pin_file(), second.pin_file());
    softhsm.generate(&first, "a", &[1], KeyKind::EcP256).unwrap();
    assert_eq!(softhsm.objects(&first).unwrap().len(), 2);
    assert_eq!(softhsm.objects(&second).unwrap(), []);
}

#[test]
fn the_pin_is_in_a_private_file_and_in_no_debug_output() {
    let softhsm = SoftHsm::start().unwrap();
    let token = softhsm.init_token("prod").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(token.pin_file()), 0o600);
    assert_eq!(mode(softhsm.dir()), 0o700);
    assert_eq!(fs::read_to_string(token.pin_file()).unwrap(), token.pin());
    assert!(token.pin().len() == 8 && token.pin().bytes().all(|byte| byte.is_ascii_digit()));
    assert!(!format!("{token:?}").contains(token.pin()));
}

#[test]
fn a_scratch_softhsm_goes_away_and_a_kept_one_stays() {
    let scratch = SoftHsm::start().unwrap();
    let dir = scratch.dir().to_owned();
    scratch.init_token("prod").unwrap();
    drop(scratch);
    assert!(!dir.exists());

    let parent = tempfile::tempdir().unwrap();
    let kept = SoftHsm::start_in(&parent.path().join("kept")).unwrap();
    let dir = kept.dir().to_owned();
    drop(kept);
    assert!(dir.join("softhsm2.conf").is_file());
    let error = SoftHsm::start_in(&dir).unwrap_err();
    assert!(error.to_string().contains("holds a SoftHSM already"), "{error}");
}

#[test]
fn our_own_environment_stays_as_it_was() {
    let before = std::env::var_os("SOFTHSM2_CONF");
    let softhsm = SoftHsm::start().unwrap();
    softhsm.init_token("prod").unwrap();
    assert_eq!(std::env::var_os("SOFTHSM2_CONF"), before);
}

#[test]
fn labels_that_cannot_be_told_apart_later_are_refused() {
    let softhsm = SoftHsm::start().unwrap();
    for label in ["", " prod", "prod ", "a\nb", &"x".repeat(33)] {
        let error = softhsm.init_token(label).unwrap_err().to_string();
        assert!(error.contains("is no label for a token"), "{error}");
    }
    let token = softhsm.init_token("-- odd: näme").unwrap();
    let key = softhsm.generate(&token, "--pin=1 ü", &[0, 255], KeyKind::EcP256).unwrap();
    assert_eq!(private_key(&softhsm, &token, &[0, 255]).label, key.label);
    assert!(softhsm.generate(&token, "a\nb", &[1], KeyKind::EcP256).is_err());
    assert!(softhsm.generate(&token, "a", &[], KeyKind::EcP256).is_err());
}
