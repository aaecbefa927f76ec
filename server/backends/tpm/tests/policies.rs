//! Policies and their signers as a real TPM and tpm2-tools have them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use std::fs;
use std::path::PathBuf;

use holdfast_tpm::{PolicyKey, SignedPolicy};
use holdfast_wire::PublicKey;
use support::Scene;

/// The public half of one of the repository's test keys.
fn public_pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../../tests/vectors/keys/{name}.pub.pem"))
}

fn policy_key(name: &str) -> PolicyKey {
    let pem = fs::read_to_string(public_pem(name)).unwrap();
    PolicyKey::new(PublicKey::from_pem(&pem).unwrap()).unwrap()
}

/// TPM2B_PUBLIC, as `tpm2_loadexternal -u` reads it.
fn sized(area: &[u8]) -> Vec<u8> {
    [&u16::try_from(area.len()).unwrap().to_be_bytes()[..], area].concat()
}

#[test]
fn a_signer_has_the_name_that_tpm2_tools_and_the_tpm_give_it() {
    let scene = Scene::new();
    let at = |name: &str| scene.dir.path().join(name).display().to_string();
    for (name, kind) in [("rsa2048", "rsa"), ("ec-P-256", "ecc"), ("ec-P-384", "ecc")] {
        let key = policy_key(name);
        let pem = public_pem(name).display().to_string();
        scene.tool(
            "tpm2_loadexternal",
            &["-G", kind, "-C", "o", "-u", &pem, "-c", &at("ctx"), "-n", &at("name")],
        );
        scene.tool("tpm2_readpublic", &["-c", &at("ctx"), "-f", "tpmt", "-o", &at("tpmt")]);
        scene.tool("tpm2_flushcontext", &["-t"]);
        assert_eq!(fs::read(at("tpmt")).unwrap(), key.public_area(), "{name}");
        assert_eq!(fs::read(at("name")).unwrap(), key.name(), "{name}");

        scene.tool("tpm2_startauthsession", &["-S", &at("session")]);
        scene.tool("tpm2_policyauthorize", &["-S", &at("session"), "-n", &at("name"), "-L", &at("policy")]);
        scene.tool("tpm2_flushcontext", &[&at("session")]);
        assert_eq!(fs::read(at("policy")).unwrap(), key.policy_digest(), "{name}");
    }
    // tpm2-tools reads no PEM of this size.
    let key = policy_key("rsa3072");
    fs::write(at("public"), sized(&key.public_area())).unwrap();
    scene.tool("tpm2_loadexternal", &["-C", "o", "-u", &at("public"), "-c", &at("ctx"), "-n", &at("name")]);
    assert_eq!(fs::read(at("name")).unwrap(), key.name());
}

#[test]
fn the_tpm_verifies_what_is_verified_here() {
    let scene = Scene::new();
    let at = |name: &str| scene.dir.path().join(name).display().to_string();
    for (name, scheme) in [("rsa2048", "rsassa"), ("ec-P-256", "ecdsa"), ("ec-P-384", "ecdsa")] {
        let key = policy_key(name);
        fs::write(at("public"), sized(&key.public_area())).unwrap();
        scene.tool("tpm2_loadexternal", &["-C", "o", "-u", &at("public"), "-c", &at("ctx")]);
        let vector = format!("{}/tests/vectors/systemd-measure/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let policies = holdfast_tpm::signatures::parse(&fs::read(vector).unwrap()).unwrap();
        let verified = |policy: &SignedPolicy| {
            fs::write(at("policy"), policy.policy).unwrap();
            fs::write(at("signature"), &policy.signature).unwrap();
            let mut verify = scene.swtpm.tool("tpm2_verifysignature").unwrap();
            verify.args(["-c", &at("ctx"), "-g", "sha256", "-m", &at("policy")]);
            let verified =
                verify.args(["-f", scheme, "-s", &at("signature")]).output().unwrap().status.success();
            // Without a resource manager each tool leaves the key that it loads.
            scene.tool("tpm2_flushcontext", &["-t"]);
            verified
        };
        for policy in &policies {
            assert_eq!(verified(policy), key.verify(&policy.policy, &policy.signature), "{name}");
        }
        assert!(policies.iter().any(verified), "{name}");
    }
}
