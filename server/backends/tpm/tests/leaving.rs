//! How a key that was brought into a TPM could leave it again, tried on a real swtpm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use holdfast_custody::{Binding, PrivateKey};
use holdfast_tpm::file::ImportableFile;
use holdfast_tpm::seal;
use holdfast_wire::{Curve, PublicKey};
use support::{Scene, ec, run};

const HANDLE: u32 = 0x8100_0001;

fn sealed(scene: &Scene, key: &PrivateKey, bound: Option<&Binding>) -> ImportableFile {
    let to = scene.storage_key("ecc", &format!("{HANDLE:#x}"));
    seal(key, &to, bound).unwrap()
}

/// Loads an imported key as `key`.
fn load(scene: &Scene, file: &ImportableFile) {
    fs::write(scene.at("pub"), &file.public).unwrap();
    fs::write(scene.at("dup"), &file.duplicate).unwrap();
    fs::write(scene.at("seed"), &file.secret).unwrap();
    let parent = format!("{HANDLE:#x}");
    let [public, duplicate, seed, private, key] =
        ["pub", "dup", "seed", "priv", "key"].map(|name| scene.at(name));
    let import = ["-Q", "-C", &parent, "-u", &public, "-i", &duplicate, "-s", &seed, "-r", &private];
    scene.tool("tpm2_import", &import);
    scene.tool("tpm2_load", &["-Q", "-C", &parent, "-u", &public, "-r", &private, "-c", &key]);
    flush(scene);
}

fn flush(scene: &Scene) {
    for kind in ["-t", "-l", "-s"] {
        scene.tool("tpm2_flushcontext", &[kind]);
    }
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
    flush(scene);
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
        load(&scene, &file);
        // TPM_RC_AUTH_TYPE: no password, not even the empty one that opens.
        assert!(duplicate(&scene, None).contains("0x124"));
        // TPM_RC_POLICY_FAIL
        for policy in [&[][..], &[names_it], &[pcr], &[pcr, names_it], &[names_it, pcr]] {
            let refused = duplicate(&scene, Some(policy));
            assert!(refused.contains("0x99D"), "{bound:?} {policy:?}: {refused}");
        }
    }
}

/// Whoever signs policies may sign one that names TPM2_Duplicate, and TPM2_PolicyAuthorize keeps what it names.
#[test]
fn not_even_by_a_signed_policy_does_a_sealed_key_leave() {
    let scene = Scene::new();
    let signer = signer(&scene);
    let key = ec(Curve::P256);
    let file = sealed(&scene, &key, Some(&Binding::Signed(signer)));
    load(&scene, &file);
    let [digest, name, ticket] = ["approved", "signer.name", "ticket"].map(|name| scene.at(name));
    let authorize = ("tpm2_policyauthorize", &["-i", &digest, "-n", &name, "-t", &ticket][..]);
    let names = |command| ("tpm2_policycommandcode", std::slice::from_ref(command));
    let (duplicates, opens) = (names(&"TPM2_CC_Duplicate"), names(&"TPM2_CC_ECDH_ZGen"));

    sign(&scene, &[duplicates]);
    // What would do, were it the whole policy: TPM_RC_POLICY_FAIL.
    assert!(duplicate(&scene, Some(&[duplicates, authorize])).contains("0x99D"));
    // TPM_RC_VALUE: another command was named before.
    let session = scene.at("session");
    scene.tool("tpm2_startauthsession", &["-Q", "--policy-session", "-S", &session]);
    for (tool, arguments) in [duplicates, authorize] {
        scene.tool(tool, &[&["-Q", "-S", &session], arguments].concat());
    }
    let mut name_the_other = scene.swtpm.tool("tpm2_policycommandcode").unwrap();
    let refused = name_the_other.args(["-S", &session, "TPM2_CC_ECDH_ZGen"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("0x1C4"));
    flush(&scene);

    // By a policy that is signed for PCR values it opens, and does not leave.
    let pcr = ("tpm2_policypcr", &["-l", "sha256:7"][..]);
    sign(&scene, &[pcr]);
    assert!(duplicate(&scene, Some(&[pcr, authorize])).contains("0x99D"));
    // The whole policy, which is for another command: TPM_RC_POLICY_CC.
    assert!(duplicate(&scene, Some(&[pcr, authorize, opens])).contains("0x9A4"));
    scene.tool("tpm2_startauthsession", &["-Q", "--policy-session", "-S", &session]);
    for (tool, arguments) in [pcr, authorize, opens] {
        scene.tool(tool, &[&["-Q", "-S", &session], arguments].concat());
    }
    let PublicKey::Ec(public) = key.public() else { panic!() };
    let point = [&[0, 68, 0, 32], &public.point[1..33], &[0, 32], &public.point[33..]].concat();
    fs::write(scene.at("point"), point).unwrap();
    let auth = format!("session:{session}");
    let [key, point, out] = ["key", "point", "out"].map(|name| scene.at(name));
    scene.tool("tpm2_ecdhzgen", &["-Q", "-c", &key, "-u", &point, "-o", &out, "-p", &auth]);
    assert_eq!(fs::read(out).unwrap().len(), 70);
}

/// A signer of policies, loaded as tpm2-tools and systemd do: `signer.name` is its Name.
fn signer(scene: &Scene) -> PublicKey {
    let [private, public] = ["signer.pem", "signer.pub.pem"].map(|name| scene.at(name));
    let openssl = || hsm_sim::command("openssl", "openssl").unwrap();
    let mut generate = openssl();
    generate.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &private]);
    run(generate);
    let mut export = openssl();
    export.args(["pkey", "-pubout", "-in", &private, "-out", &public]);
    run(export);
    PublicKey::from_pem(&fs::read_to_string(public).unwrap()).unwrap()
}

/// The policy of these commands, signed, and the TPM's ticket for the signature.
fn sign(scene: &Scene, policy: &[(&str, &[&str])]) {
    let [session, digest, signature] = ["session", "approved", "signature"].map(|name| scene.at(name));
    scene.tool("tpm2_startauthsession", &["-Q", "-S", &session]);
    for (tool, arguments) in policy {
        scene.tool(tool, &[&["-Q", "-S", &session, "-L", &digest], *arguments].concat());
    }
    flush(scene);
    let mut sign = hsm_sim::command("openssl", "openssl").unwrap();
    run({
        sign.args(["dgst", "-sha256", "-sign", &scene.at("signer.pem"), "-out", &signature, &digest]);
        sign
    });
    let [public, context, name, ticket] =
        ["signer.pub.pem", "signer.ctx", "signer.name", "ticket"].map(|name| scene.at(name));
    let external = ["-Q", "-C", "o", "-G", "ecc", "-u", &public, "-c", &context, "-n", &name];
    scene.tool("tpm2_loadexternal", &external);
    scene.tool("tpm2_flushcontext", &["-t"]);
    let verify =
        ["-Q", "-c", &context, "-g", "sha256", "-m", &digest, "-s", &signature, "-t", &ticket, "-f", "ecdsa"];
    scene.tool("tpm2_verifysignature", &verify);
    flush(scene);
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
