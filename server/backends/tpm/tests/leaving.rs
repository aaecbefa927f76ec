//! How a key that was brought into a TPM could leave it again, tried on a real swtpm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use holdfast_custody::{Binding, PrivateKey};
use holdfast_tpm::file::{ImportableFile, KeyFile};
use holdfast_tpm::seal;
use holdfast_wire::Curve;
use support::{Scene, ec};

const HANDLE: u32 = 0x8100_0001;

fn sealed(scene: &Scene, key: &PrivateKey, bound: Option<&Binding>) -> ImportableFile {
    let to = scene.storage_key("ecc", &format!("{HANDLE:#x}"));
    seal(key, &to, bound).unwrap()
}

/// TPM2_Duplicate in a session that `policy` has prepared, or with the key's empty password.
fn duplicate(scene: &Scene, policy: Option<&[(&str, &[&str])]>) -> String {
    let session = scene.at("session");
    let mut command = scene.swtpm.tool("tpm2_duplicate").unwrap();
    command.args(["-Q", "-C", "null", "-c", &scene.at("key"), "-G", "null"]);
    command.args(["-r", &scene.at("left"), "-s", &scene.at("left.seed")]);
    if let Some(policy) = policy {
        scene.tool("tpm2_startauthsession", &["-Q", "--policy-session", "-S", &session]);
        for (tool, arguments) in policy {
            scene.tool(tool, &[&["-Q", "-S", &session], *arguments].concat());
        }
        command.args(["-p", &format!("session:{session}")]);
    }
    let output = command.output().unwrap();
    for kind in ["-t", "-l", "-s"] {
        scene.tool("tpm2_flushcontext", &[kind]);
    }
    assert!(!output.status.success() && !fs::exists(scene.at("left")).unwrap());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_imported_key_is_never_duplicated_whatever_is_tried() {
    let names_it = ("tpm2_policycommandcode", &["TPM2_CC_Duplicate"][..]);
    let pcr = ("tpm2_policypcr", &["-l", "sha256:7"][..]);
    let zeros = format!("sha256:7={}", "00".repeat(32));
    for bound in [None, Some(Binding::Exact(zeros.parse().unwrap()))] {
        let scene = Scene::new();
        let file = sealed(&scene, &ec(Curve::P256), bound.as_ref());
        let pem = file.to_pem().unwrap();
        scene.token.keysmith().unwrap().import_sealed(&scene.uri("imported"), pem.as_bytes()).unwrap();
        let imported = KeyFile::from_pem(&fs::read(scene.path("imported")).unwrap()).unwrap();
        fs::write(scene.at("pub"), imported.public).unwrap();
        fs::write(scene.at("priv"), imported.private).unwrap();
        let [public, private, key] = ["pub", "priv", "key"].map(|name| scene.at(name));
        let parent = format!("{HANDLE:#x}");
        scene.tool("tpm2_load", &["-Q", "-C", &parent, "-u", &public, "-r", &private, "-c", &key]);
        scene.tool("tpm2_flushcontext", &["-t"]);
        // TPM_RC_AUTH_TYPE: no password, not even the empty one that opens.
        assert!(duplicate(&scene, None).contains("0x124"));
        // TPM_RC_POLICY_FAIL
        for policy in [&[][..], &[names_it], &[pcr], &[pcr, names_it], &[names_it, pcr]] {
            let refused = duplicate(&scene, Some(policy));
            assert!(refused.contains("0x99D"), "{bound:?} {policy:?}: {refused}");
        }
    }
}

/// Why a sealed file is to be destroyed once it is imported, and is to travel as a secret does: TPM2_Rewrap
/// (TPM 2.0 Library Part 3, section 13.2) takes the storage key's empty password and no policy of the key.
#[test]
fn a_sealed_file_and_its_tpm_together_give_the_key_away_bound_or_not() {
    let scene = Scene::new();
    let key = ec(Curve::P256);
    let zeros = format!("sha256:7={}", "00".repeat(32));
    let file = sealed(&scene, &key, Some(&Binding::Exact(zeros.parse().unwrap())));
    scene.swtpm.extend_pcr(7).unwrap();
    let PrivateKey::Ec { scalar, .. } = &key else { panic!() };
    let holds_key = |bytes: &[u8]| bytes.windows(scalar.len()).any(|window| window == scalar.expose());
    assert!(!holds_key(&file.duplicate));

    let name = [&[0, 0x22, 0, 0x0b], sha256(&file.public[2..]).as_slice()].concat();
    const NULL: u32 = 0x4000_0007;
    let password = [&0x4000_0009u32.to_be_bytes()[..], &[0; 5]].concat();
    let handles = [HANDLE.to_be_bytes(), NULL.to_be_bytes()].concat();
    let auth = [&(password.len() as u32).to_be_bytes()[..], &password].concat();
    let body = [handles, auth, file.duplicate.clone(), name, file.secret.clone()].concat();
    let answer = command(&scene, 0x152, &body);
    assert_eq!(answer[6..10], [0; 4], "TPM_RC_SUCCESS");
    assert!(holds_key(&answer));
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

/// A command with sessions, sent as it is: tpm2-tools have none for it.
fn command(scene: &Scene, code: u32, body: &[u8]) -> Vec<u8> {
    const SESSIONS: [u8; 2] = [0x80, 0x02];
    let port: u16 = scene.swtpm.tcti().rsplit_once('=').unwrap().1.parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let len = (10 + body.len()) as u32;
    stream.write_all(&[&SESSIONS[..], &len.to_be_bytes(), &code.to_be_bytes(), body].concat()).unwrap();
    let mut answer = vec![0; 10];
    stream.read_exact(&mut answer).unwrap();
    let len = u32::from_be_bytes(answer[2..6].try_into().unwrap()) as usize;
    answer.resize(len, 0);
    stream.read_exact(&mut answer[10..]).unwrap();
    answer
}
