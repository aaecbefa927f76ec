//! A daemon with a TPM beside its PKCS#11 token: images that open while the machine is in the state that
//! their key was bound to.

use std::path::PathBuf;
use std::process::Command;

use holdfast_e2e::house::{House, file};
use holdfast_e2e::tpm::{self, holdfastd, make};
use holdfast_e2e::{eventually, image, must, must_fail, rpc};
use hsm_sim::{KeyKind, Swtpm};
use tonic::Code;

/// A house with `images` on its PKCS#11 token, and a TPM for keys that are made with `holdfastd key create`.
pub(crate) fn house(swtpm: &Swtpm) -> House {
    tpm::section(House::new().key("images", KeyKind::EcP256), &swtpm.tcti(), "")
}

/// An image that skopeo encrypts to a public key: the packets of its layers.
pub(crate) fn encrypted_to(house: &House, public: &std::path::Path, name: &str) -> (PathBuf, PathBuf) {
    let dir = house.dir.path().join(name);
    std::fs::create_dir(&dir).unwrap();
    let (plain, encrypted) = (image::build(&dir, 3), dir.join("encrypted"));
    image::skopeo_encrypt(&plain, &encrypted, &[&format!("jwe:{}", public.display())]);
    (plain, encrypted)
}

pub(crate) fn decrypt(house: &House, from: &std::path::Path, to: &std::path::Path) -> Command {
    let mut command = house.holdfast();
    command.args(["image", "decrypt"]).arg(image::oci(from)).arg(image::oci(to));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_opens_until_a_pcr_is_extended_and_other_tokens_serve_on() {
    let swtpm = Swtpm::start().unwrap();
    let options = ["--algorithm", "rsa-2048", "--pcrs", "sha256:7+11"];
    let (house, public) = make(house(&swtpm), "sealed", &options);
    let (plain, encrypted) = encrypted_to(&house, &public, "sealed");
    let daemon = house.start();
    let opened = house.dir.path().join("opened");
    must(&mut decrypt(&house, &encrypted, &opened));
    assert!(image::same_layers(&plain, &opened));

    swtpm.extend_pcr(11).unwrap();
    let packet = &image::packets(&encrypted, "jwe")[0];
    let status = rpc::unwrap_key(&house.socket(), packet).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().starts_with("sealed: PCR 11 of this machine"), "{status:?}");
    assert!(!status.message().contains(".tss"), "a path told to a caller: {}", status.message());
    assert!(daemon.log().contains("bound to sha256:7+11"), "{}", daemon.log());
    let optsdata = rpc::optsdata();
    let wrapped = rpc::wrap_key(&house.socket(), &["images"], optsdata.raw().expose()).await.unwrap();
    assert!(rpc::unwrap_key(&house.socket(), &wrapped).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_kinds_of_key_open_what_skopeo_and_the_daemon_seal() {
    let swtpm = Swtpm::start().unwrap();
    let (house, rsa) = make(house(&swtpm), "rsa", &["--algorithm", "rsa-2048"]);
    let (house, ec) = make(house, "ec", &["--algorithm", "ecc-p384"]);
    let images = [encrypted_to(&house, &rsa, "rsa"), encrypted_to(&house, &ec, "ec")];
    let _daemon = house.start();
    for (index, (plain, encrypted)) in images.iter().enumerate() {
        let opened = house.dir.path().join(format!("opened-{index}"));
        must(&mut decrypt(&house, encrypted, &opened));
        assert!(image::same_layers(plain, &opened));
    }
    for alias in ["rsa", "ec"] {
        let wrapped = rpc::wrap_key(&house.socket(), &[alias], rpc::optsdata().raw().expose()).await.unwrap();
        assert!(rpc::unwrap_key(&house.socket(), &wrapped).await.is_ok(), "{alias}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_dies_and_comes_back_needs_no_restart_of_the_daemon() {
    let mut swtpm = Swtpm::start().unwrap();
    let (house, _) = make(house(&swtpm), "sealed", &["--algorithm", "ecc-p256"]);
    let _daemon = house.start();
    let optsdata = rpc::optsdata();
    let wrapped = rpc::wrap_key(&house.socket(), &["sealed"], optsdata.raw().expose()).await.unwrap();
    assert!(rpc::unwrap_key(&house.socket(), &wrapped).await.is_ok());
    swtpm.kill().unwrap();
    let status = rpc::unwrap_key(&house.socket(), &wrapped).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    swtpm.restart().unwrap();
    eventually("the TPM serves again", async || rpc::unwrap_key(&house.socket(), &wrapped).await.is_ok())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_hangs_holds_up_its_own_keys_alone() {
    let swtpm = Swtpm::start().unwrap();
    let house = House::new().key("images", KeyKind::EcP256);
    let house = tpm::section(house, &swtpm.tcti(), "timeout = \"1s\"");
    let (house, _) = make(house, "sealed", &["--algorithm", "ecc-p256"]);
    let daemon = house.start();
    let optsdata = rpc::optsdata();
    let sealed = rpc::wrap_key(&house.socket(), &["sealed"], optsdata.raw().expose()).await.unwrap();
    let other = rpc::wrap_key(&house.socket(), &["images"], optsdata.raw().expose()).await.unwrap();
    assert!(rpc::unwrap_key(&house.socket(), &sealed).await.is_ok());
    swtpm.hang().unwrap();
    let status = rpc::unwrap_key(&house.socket(), &sealed).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(rpc::unwrap_key(&house.socket(), &other).await.is_ok());
    swtpm.go_on().unwrap();
    eventually("the TPM serves again", async || rpc::unwrap_key(&house.socket(), &sealed).await.is_ok())
        .await;
    swtpm.hang().unwrap();
    assert!(rpc::unwrap_key(&house.socket(), &sealed).await.is_err());
    assert!(daemon.stop().success());
}

#[test]
fn check_tells_what_a_key_is_bound_to() {
    let swtpm = Swtpm::start().unwrap();
    let (house, _) = make(house(&swtpm), "bound", &["--algorithm", "ecc-p256", "--pcrs", "sha256:7"]);
    let (house, _) = make(house, "free", &["--algorithm", "ecc-p256"]);
    let said = must(&mut house.check(&["--tokens"]));
    assert!(said.contains("tpm:: good: TPM 2.0, manufacturer IBM"), "{said}");
    assert!(
        said.contains("bound to = sha256:7, exact values") && said.contains("bound to = nothing"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_made_says_why_and_leaves_nothing() {
    // Made with one bank of PCRs.
    let swtpm = Swtpm::start_with_certificates().unwrap();
    let house = house(&swtpm);
    let taken = file(house.dir.path(), "taken.tss", "somebody's");
    let uri = |path: &str| format!("tpm:file={}", house.dir.path().join(path).display());
    for (uri, options, says) in [
        (uri("taken.tss"), vec!["--algorithm", "ecc-p256"], "never overwritten"),
        (uri("a.tss"), vec!["--algorithm", "aes-256"], "no key for a TPM here"),
        (uri("a.tss"), vec!["--algorithm", "rsa-4096"], "no key for a TPM here"),
        (uri("a.tss"), vec!["--algorithm", "ecc-p256", "--pcrs", "sha384:7"], "tpm2_getcap pcrs"),
        (uri("a.tss"), vec!["--algorithm", "ecc-p256", "--pcrs", "sha1:7"], "sha256:7+11"),
        ("tpm:file=a.tss".into(), vec!["--algorithm", "ecc-p256"], "absolute path"),
        (
            "pkcs11:token=prod;object=a".into(),
            vec!["--algorithm", "ecc-p256", "--pcrs", "sha256:7"],
            "cannot do binding",
        ),
    ] {
        let said = must_fail(holdfastd(&house, &["key", "create", &uri]).args(&options));
        assert!(said.contains(says), "{uri} {options:?}: {said}");
    }
    assert_eq!(std::fs::read(taken).unwrap(), b"somebody's");
    assert!(!house.dir.path().join("a.tss").exists());
}
