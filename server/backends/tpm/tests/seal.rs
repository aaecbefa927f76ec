//! What is sealed without a TPM, given to a real swtpm by tpm2-tools: nothing of ours reads it back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use std::fs;
use std::process::Output;

use aws_lc_rs::agreement;
use holdfast_custody::{Binding, Error, PrivateKey};
use holdfast_tpm::file::ImportableFile;
use holdfast_tpm::{StorageKey, seal};
use holdfast_wire::{Curve, PublicKey};
use support::{Scene, ec, ecdh, rsa, run};

const HANDLE: &str = "0x81000001";

/// tpm2_import and tpm2_load, from the parts of the file as they are.
fn import(scene: &Scene, file: &ImportableFile) -> Output {
    // It leaves its session behind.
    scene.tool("tpm2_flushcontext", &["-l"]);
    fs::write(scene.at("pub"), &file.public).unwrap();
    fs::write(scene.at("dup"), &file.duplicate).unwrap();
    fs::write(scene.at("seed"), &file.secret).unwrap();
    let mut import = scene.swtpm.tool("tpm2_import").unwrap();
    import.args(["-Q", "-C", HANDLE, "-u", &scene.at("pub"), "-i", &scene.at("dup")]);
    import.args(["-s", &scene.at("seed"), "-r", &scene.at("priv")]);
    import.output().unwrap()
}

fn load(scene: &Scene, file: &ImportableFile) {
    let output = import(scene, file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [public, private, key] = ["pub", "priv", "key"].map(|name| scene.at(name));
    scene.tool("tpm2_load", &["-Q", "-C", HANDLE, "-u", &public, "-r", &private, "-c", &key]);
    scene.tool("tpm2_flushcontext", &["-t"]);
}

/// What the TPM makes with the key that is loaded of something for its public half, and what it must be.
fn opened(scene: &Scene, key: &PrivateKey, auth: &[&str]) -> (Result<Vec<u8>, String>, Vec<u8>) {
    let context = scene.at("key");
    let (mut command, out, expected) = match key {
        PrivateKey::Rsa(_) => {
            fs::write(scene.at("plain"), [0x5a; 32]).unwrap();
            fs::write(scene.at("pub.pem"), key.public().to_pem().unwrap()).unwrap();
            let mut encrypt = hsm_sim::command("openssl", "openssl").unwrap();
            encrypt.args(["pkeyutl", "-encrypt", "-pkeyopt", "rsa_padding_mode:oaep", "-pubin", "-inkey"]);
            encrypt.args([&scene.at("pub.pem"), "-in", &scene.at("plain")]);
            encrypt.args(["-pkeyopt", "rsa_oaep_md:sha256"]);
            fs::write(scene.at("cipher"), run(encrypt)).unwrap();
            let mut decrypt = scene.swtpm.tool("tpm2_rsadecrypt").unwrap();
            decrypt.args([
                "-Q",
                "-c",
                &context,
                "-s",
                "oaep-sha256",
                "-o",
                &scene.at("out"),
                &scene.at("cipher"),
            ]);
            (decrypt, scene.at("out"), vec![0x5a; 32])
        }
        PrivateKey::Ec { curve, public: PublicKey::Ec(public), .. } => {
            let ours = agreement::PrivateKey::generate(ecdh(*curve)).unwrap();
            let point = ours.compute_public_key().unwrap().as_ref().to_vec();
            let peer = agreement::UnparsedPublicKey::new(ecdh(*curve), &public.point);
            let z = agreement::agree(&ours, peer, (), |z| Ok(z.to_vec())).unwrap();
            // TPM2B_ECC_POINT
            let len = curve.coordinate_len() as u16;
            let (x, y) = point[1..].split_at(usize::from(len));
            let sized = [&len.to_be_bytes(), x, &len.to_be_bytes(), y].concat();
            let point = [&(sized.len() as u16).to_be_bytes(), sized.as_slice()].concat();
            fs::write(scene.at("point"), point).unwrap();
            let mut zgen = scene.swtpm.tool("tpm2_ecdhzgen").unwrap();
            zgen.args(["-Q", "-c", &context, "-u", &scene.at("point"), "-o", &scene.at("out")]);
            // The answer is a point as well: its x is the secret.
            (zgen, scene.at("out"), z)
        }
        _ => panic!(),
    };
    let output = command.args(auth).output().unwrap();
    scene.tool("tpm2_flushcontext", &["-t"]);
    let got = if output.status.success() {
        let bytes = fs::read(out).unwrap();
        Ok(if matches!(key, PrivateKey::Ec { .. }) { bytes[4..4 + expected.len()].to_vec() } else { bytes })
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    (got, expected)
}

fn keys() -> Vec<PrivateKey> {
    vec![rsa(2048), rsa(3072), ec(Curve::P256), ec(Curve::P384)]
}

#[test]
fn every_kind_of_key_opens_in_the_tpm_of_every_kind_of_storage_key() {
    let keys = keys();
    for kind in ["ecc", "ecc384:aes256cfb", "rsa2048", "rsa3072:aes256cfb"] {
        let scene = Scene::new();
        let to = scene.storage_key(kind, HANDLE);
        for key in &keys {
            load(&scene, &seal(key, &to, None).unwrap());
            let (got, expected) = opened(&scene, key, &[]);
            assert_eq!(got, Ok(expected), "{} under {kind}", key.public().type_name());
        }
    }
}

#[test]
fn ec_keys_whose_numbers_begin_with_zeros_open_like_others() {
    let scene = Scene::new();
    let to = scene.storage_key("ecc", HANDLE);
    let zeros = |key: &PrivateKey| match key {
        PrivateKey::Ec { scalar, public: PublicKey::Ec(public), .. } => {
            scalar.expose()[0] == 0 || public.point[1] == 0 || public.point[33] == 0
        }
        _ => false,
    };
    let with_zeros = std::iter::repeat_with(|| ec(Curve::P256)).filter(zeros).take(8);
    for key in with_zeros {
        load(&scene, &seal(&key, &to, None).unwrap());
        let (got, expected) = opened(&scene, &key, &[]);
        assert_eq!(got, Ok(expected));
    }
}

#[test]
fn a_key_sealed_to_pcr_values_opens_while_they_hold_and_without_them_never() {
    let values = format!("sha256:7={zeros}+11={zeros}", zeros = "00".repeat(32));
    let bound = Binding::Exact(values.parse().unwrap());
    for key in [rsa(2048), ec(Curve::P256)] {
        let scene = Scene::new();
        let to = scene.storage_key("ecc", HANDLE);
        let file = seal(&key, &to, Some(&bound)).unwrap();
        load(&scene, &file);
        let policy = ["-p", "pcr:sha256:7,11"];
        let (got, expected) = opened(&scene, &key, &policy);
        assert_eq!(got, Ok(expected));
        let refused = opened(&scene, &key, &[]).0.unwrap_err();
        assert!(refused.contains("0x12F"), "TPM_RC_AUTH_UNAVAILABLE, and not: {refused}");
        scene.swtpm.extend_pcr(11).unwrap();
        let refused = opened(&scene, &key, &policy).0.unwrap_err();
        assert!(refused.contains("0x99D"), "TPM_RC_POLICY_FAIL, and not: {refused}");
    }
}

#[test]
fn a_sealed_key_that_was_changed_anywhere_is_not_imported() {
    let scene = Scene::new();
    let to = scene.storage_key("ecc", HANDLE);
    let file = seal(&ec(Curve::P256), &to, None).unwrap();
    let part = |file: &mut ImportableFile, part: usize| match part {
        0 => std::mem::take(&mut file.public),
        1 => std::mem::take(&mut file.duplicate),
        _ => std::mem::take(&mut file.secret),
    };
    for which in 0..3 {
        let len = part(&mut file.clone(), which).len();
        for at in [0, 2, 9, len / 2, len - 1] {
            let mut changed = file.clone();
            let place = match which {
                0 => &mut changed.public,
                1 => &mut changed.duplicate,
                _ => &mut changed.secret,
            };
            place[at] ^= 1;
            let refused = import(&scene, &changed);
            let why = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && !why.contains("memory"), "part {which} at {at}: {why}");
        }
    }
    load(&scene, &file);
}

#[test]
fn a_key_sealed_to_another_tpm_is_not_imported() {
    let (scene, other) = (Scene::new(), Scene::new());
    scene.storage_key("ecc", HANDLE);
    // TPM_RC_INTEGRITY, and the wrong size of what should be a point.
    for (kind, handle, code) in [("ecc", HANDLE, "0x3DF"), ("rsa2048", "0x81000002", "0x4D5")] {
        let to = other.storage_key(kind, handle);
        let file = seal(&ec(Curve::P256), &to, None).unwrap();
        let refused = import(&scene, &file);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && why.contains(code), "{kind}: {why}");
    }
}

#[test]
fn nothing_is_sealed_that_no_tpm_takes() {
    let scene = Scene::new();
    let to = scene.storage_key("ecc", HANDLE);
    let current = Binding::Current("sha256:7".parse().unwrap());
    for (key, bound, says) in [
        (ec(Curve::P521), None, "P-521 is no key for a TPM here"),
        (rsa(4096), None, "RSA-4096 is no key for a TPM here"),
        (ec(Curve::P256), Some(&current), "give the values themselves"),
    ] {
        let Err(Error::KeyUnfit(why)) = seal(&key, &to, bound) else { panic!("{says}") };
        assert!(why.contains(says), "{why}");
    }
    // A point that is not on the curve, in a structure that says it is.
    let mut off = to.as_bytes().to_vec();
    *off.last_mut().unwrap() ^= 1;
    let off = StorageKey::from_bytes(&off).unwrap();
    let Err(Error::KeyUnfit(why)) = seal(&ec(Curve::P256), &off, None) else { panic!() };
    assert!(why.contains(&off.name().to_string()), "{why}");
}
