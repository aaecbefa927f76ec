//! Keys that are bound to signed PCR policies, in a real TPM.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_custody::{Binding, Error, PcrBank, PcrValues};
use holdfast_tpm::file::{KeyFile, PolicyCommand};
use holdfast_tpm::{POLICY_AUTHORIZE, PolicyKey, Token, seal};
use holdfast_wire::{Curve, PublicKey, Sealed};
use support::keys::{EC, RSA, bind_to, open, sealed_to};
use support::{Scene, run};

fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors/keys")
}

fn signer(name: &str) -> Binding {
    let pem = fs::read_to_string(vectors().join(format!("{name}.pub.pem"))).unwrap();
    Binding::Signed(PublicKey::from_pem(&pem).unwrap())
}

/// A signed policy as anybody can make one: the digest of TPM2_PolicyPCR (TPM 2.0 Library Part 3, section 23.7)
/// over PCRs below 24, signed by OpenSSL, in a file of systemd's form.
fn sign(key: &str, values: &PcrValues, to: &Path) {
    let Binding::Signed(public) = signer(key) else { panic!() };
    let mut select = [0u8; 3];
    let mut content = Vec::new();
    for (pcr, value) in values.iter() {
        select[usize::from(pcr / 8)] |= 1 << (pcr % 8);
        content.extend_from_slice(value);
    }
    let policy_pcr = [
        &[0; 32][..],
        &0x17f_u32.to_be_bytes(),
        &[0, 0, 0, 1, 0, if values.bank() == PcrBank::Sha256 { 0x0b } else { 0x0c }, 3],
        &select,
        digest(&SHA256, &content).as_ref(),
    ]
    .concat();
    let pol = digest(&SHA256, &policy_pcr);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pol"), pol.as_ref()).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).arg(vectors().join(format!("{key}.pem")));
    openssl.arg(dir.path().join("pol"));
    let entry = format!(
        r#"{{"{}":[{{"pcrs":{:?},"pkfp":"{}","pol":"{}","sig":"{}"}}]}}"#,
        values.bank().name(),
        values.iter().map(|(pcr, _)| pcr).collect::<Vec<_>>(),
        hex(&PolicyKey::new(public).unwrap().fingerprint()),
        hex(pol.as_ref()),
        STANDARD.encode(run(openssl)),
    );
    fs::write(to, entry).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a PCR holds after it was extended with a digest.
fn extended(value: &[u8], with: &[u8]) -> Vec<u8> {
    digest(&SHA256, &[value, with].concat()).as_ref().to_vec()
}

fn values(pairs: &[(u8, Vec<u8>)]) -> PcrValues {
    PcrValues::new(PcrBank::Sha256, pairs.iter().cloned().collect()).unwrap()
}

fn extend(scene: &Scene, pcr: u8, with: &[u8]) {
    scene.tool("tpm2_pcrextend", &[&format!("{pcr}:sha256={}", hex(with))]);
}

struct Signatures {
    dir: tempfile::TempDir,
}

impl Signatures {
    fn new() -> Signatures {
        Signatures { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn token(&self, scene: &Scene) -> Token {
        scene.token.clone().with_signed_policies(vec![self.dir.path().to_owned()])
    }
}

#[test]
fn an_update_that_was_signed_ahead_opens_and_what_nobody_signed_does_not() {
    for (key, kind) in [("rsa2048", RSA), ("ec-P-256", RSA), ("ec-P-384", RSA)] {
        let (scene, signatures) = (Scene::new(), Signatures::new());
        let public = bind_to(&scene, "images", kind, &signer(key));
        let (sealed, plain) = sealed_to(&scene, &public);
        let mut token = signatures.token(&scene).connect().unwrap();
        let mut try_it = || open(&mut *token, &scene.uri("images"), &sealed);
        let Err(Error::StateRefused { differ, why }) = try_it() else { panic!() };
        assert!(differ.is_empty() && why.contains("none is where pcr_signatures looks"), "{why}");

        let (now, next) = (vec![0; 32], extended(&[0; 32], &[7; 32]));
        sign(key, &values(&[(11, now.clone())]), &signatures.file("a.json"));
        assert_eq!(try_it(), Ok(plain.clone()), "{key}");
        // The next kernel's, before it is booted.
        sign(key, &values(&[(7, now), (11, next)]), &signatures.file("b.json"));
        extend(&scene, 11, &[7; 32]);
        for _ in 0..2 {
            assert_eq!(try_it(), Ok(plain.clone()), "{key}");
        }
        extend(&scene, 11, &[7; 32]);
        let Err(Error::StateRefused { why, .. }) = try_it() else { panic!() };
        assert!(why.contains("none that is there (2)"), "{why}");
    }
}

#[test]
fn what_systemd_measure_signed_opens_in_the_phase_that_it_is_for() {
    let vector = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/systemd-measure/rsa2048.json");
    let scene = Scene::new();
    let public = bind_to(&scene, "images", RSA, &signer("rsa2048"));
    let (sealed, plain) = sealed_to(&scene, &public);
    let mut token = scene.token.clone().with_signed_policies(vec![vector]).connect().unwrap();
    let mut try_it = || open(&mut *token, &scene.uri("images"), &sealed);
    // systemd-stub measures a section's name and then its content; the phases follow (systemd-measure(1)).
    for measured in [&b".linux\0"[..], b"kernel\n"] {
        extend(&scene, 11, digest(&SHA256, measured).as_ref());
        assert!(matches!(try_it(), Err(Error::StateRefused { .. })));
    }
    for (phase, opens) in [
        ("enter-initrd", true),
        ("leave-initrd", false),
        ("sysinit", false),
        ("ready", true),
        ("shutdown", false),
    ] {
        extend(&scene, 11, digest(&SHA256, phase.as_bytes()).as_ref());
        match try_it() {
            Ok(opened) => assert!(opens && opened == plain, "{phase}"),
            Err(error) => assert!(!opens && matches!(error, Error::StateRefused { .. }), "{phase}: {error}"),
        }
    }
}

#[test]
fn a_signature_of_another_signer_or_a_damaged_one_is_none() {
    let (scene, signatures) = (Scene::new(), Signatures::new());
    let public = bind_to(&scene, "images", RSA, &signer("rsa2048"));
    let (sealed, plain) = sealed_to(&scene, &public);
    let now = values(&[(11, vec![0; 32])]);
    let file = signatures.file("a.json");
    sign("rsa3072", &now, &file);
    let mut token = signatures.token(&scene).connect().unwrap();
    let mut refused = |says: &str| {
        let Err(Error::StateRefused { why, .. }) = open(&mut *token, &scene.uri("images"), &sealed) else {
            panic!()
        };
        assert!(why.contains(says), "{why}");
    };
    refused("none is where");
    // Another's signature under the right signer's name.
    let foreign = fs::read_to_string(&file).unwrap();
    sign("rsa2048", &now, &file);
    let own = fs::read_to_string(&file).unwrap();
    let part = |text: &str, name: &str| {
        let from = text.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
        text[from..from + text[from..].find('"').unwrap()].to_owned()
    };
    fs::write(&file, own.replace(&part(&own, "sig"), &part(&foreign, "sig"))).unwrap();
    refused("are not, and are left out");
    fs::write(&file, &own[..own.len() / 2]).unwrap();
    refused("a.json");
    fs::write(&file, own).unwrap();
    assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain));
}

#[test]
fn a_policy_for_a_bank_that_this_tpm_has_not_keeps_nobody_out() {
    let (mut scene, signatures) = (Scene::new(), Signatures::new());
    // Made with one bank of PCRs.
    scene.swtpm = hsm_sim::Swtpm::start_with_certificates().unwrap();
    scene.token = Token::new(scene.swtpm.tcti().parse().unwrap());
    let public = bind_to(&scene, "images", RSA, &signer("rsa2048"));
    let (sealed, plain) = sealed_to(&scene, &public);
    let mut token = signatures.token(&scene).connect().unwrap();
    let sha384 = PcrValues::new(PcrBank::Sha384, [(11, vec![0; 48])].into()).unwrap();
    sign("rsa2048", &sha384, &signatures.file("a.json"));
    let Err(Error::StateRefused { why, .. }) = open(&mut *token, &scene.uri("images"), &sealed) else {
        panic!()
    };
    assert!(why.contains("the TPM has no PCRs sha384:11"), "{why}");
    sign("rsa2048", &values(&[(11, vec![0; 32])]), &signatures.file("b.json"));
    assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain));
}

#[test]
fn a_key_is_not_bound_to_a_signer_whom_the_tpm_does_not_verify() {
    let scene = Scene::new();
    // swtpm has RSA up to 3072 bits.
    let made = scene.token.keysmith().unwrap().create_bound(&scene.uri("images"), EC, &signer("rsa4096"));
    assert!(matches!(&made, Err(Error::KeyUnfit(why)) if why.contains("RSA-4096")), "{made:?}");
    assert!(!scene.path("images").exists());
}

#[test]
fn a_tpm_that_was_reset_verifies_anew() {
    let (mut scene, signatures) = (Scene::new(), Signatures::new());
    let public = bind_to(&scene, "images", RSA, &signer("ec-P-256"));
    let (sealed, plain) = sealed_to(&scene, &public);
    sign("ec-P-256", &values(&[(11, vec![0; 32])]), &signatures.file("a.json"));
    let mut token = signatures.token(&scene).connect().unwrap();
    for _ in 0..2 {
        assert_eq!(open(&mut *token, &scene.uri("images"), &sealed), Ok(plain.clone()));
        scene.swtpm.restart().unwrap();
    }
}

#[test]
fn a_key_that_is_bound_to_a_signer_says_so_and_has_its_policy_in_its_file() {
    let scene = Scene::new();
    bind_to(&scene, "images", EC, &signer("rsa2048"));
    let mut token = scene.token.connect().unwrap();
    let custody = token.describe(&scene.uri("images")).unwrap().custody;
    assert!(custody.is_proven());
    let bound = custody.evidence.iter().find(|(name, _)| name == "bound to").unwrap();
    assert!(bound.1.starts_with("PCR policies signed by RSA-2048 "), "{bound:?}");
    let file = KeyFile::from_pem(&fs::read(scene.path("images")).unwrap()).unwrap();
    assert_eq!(file.policy.len(), 1);
    assert_eq!(file.policy[0].code, POLICY_AUTHORIZE);
    let Binding::Signed(public) = signer("rsa2048") else { panic!() };
    assert_eq!(PolicyKey::from_command_parameters(&file.policy[0].parameters), PolicyKey::new(public).ok());
}

#[test]
fn a_key_sealed_to_a_signer_opens_what_is_signed_and_cannot_be_let_go_by_him() {
    let (scene, signatures) = (Scene::new(), Signatures::new());
    let to = scene.token.storage_key().unwrap();
    let token = signatures.token(&scene);
    let mut custodian = token.connect().unwrap();
    sign("ec-P-256", &values(&[(11, vec![0; 32])]), &signatures.file("a.json"));
    let (rsa, ec) = (support::rsa(2048), support::ec(Curve::P256));
    for (name, key) in [("rsa", &rsa), ("ec", &ec)] {
        let pem = seal(key, &to, Some(&signer("ec-P-256"))).unwrap().to_pem().unwrap();
        let info = token.keysmith().unwrap().import_sealed(&scene.uri(name), pem.as_bytes()).unwrap().info;
        assert_eq!((info.custody.local, info.custody.extractable), (Some(false), Some(false)), "{name}");
    }
    let (sealed, plain) = sealed_to(&scene, rsa.public());
    let PublicKey::Ec(public) = ec.public() else { panic!() };
    let point = Sealed::Ecdh { curve: Curve::P256, ephemeral: public.point.clone() };
    // One after the other, as one policy session serves both.
    for _ in 0..2 {
        assert_eq!(open(&mut *custodian, &scene.uri("rsa"), &sealed), Ok(plain.clone()));
        assert_eq!(open(&mut *custodian, &scene.uri("ec"), &point).unwrap().len(), 32);
    }
    scene.swtpm.extend_pcr(11).unwrap();
    for (name, sealed) in [("rsa", &sealed), ("ec", &point)] {
        assert!(matches!(open(&mut *custodian, &scene.uri(name), sealed), Err(Error::StateRefused { .. })));
    }
}

/// Of somebody else's making: not fixed to its TPM, and for whatever its signer signs.
#[test]
fn a_key_that_its_signer_could_let_go_says_so() {
    let scene = Scene::new();
    scene.storage_key("ecc", "0x81000001");
    let Binding::Signed(public) = signer("ec-P-256") else { panic!() };
    let signer = PolicyKey::new(public).unwrap();
    fs::write(scene.at("policy"), signer.policy_digest()).unwrap();
    let [policy, public, private] = ["policy", "pub", "priv"].map(|name| scene.at(name));
    let create = ["-Q", "-C", "0x81000001", "-G", "ecc", "-a", "sensitivedataorigin|noda|decrypt"];
    scene.tool("tpm2_create", &[&create[..], &["-L", &policy, "-u", &public, "-r", &private]].concat());
    let authorize = PolicyCommand { code: POLICY_AUTHORIZE, parameters: signer.command_parameters() };
    let file = KeyFile {
        empty_auth: true,
        policy: vec![authorize],
        auth_policy: Vec::new(),
        parent: 0x8100_0001,
        public: fs::read(public).unwrap(),
        private: fs::read(private).unwrap(),
    };
    fs::write(scene.path("images"), file.to_pem().unwrap()).unwrap();
    let custody = scene.token.connect().unwrap().describe(&scene.uri("images")).unwrap().custody;
    assert_eq!((custody.local, custody.extractable), (None, Some(true)));
}
