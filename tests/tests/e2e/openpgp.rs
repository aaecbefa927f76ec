//! OpenPGP messages of Debian's gpg and skopeo, opened with the private key in a SoftHSM token.

use std::path::Path;

use holdfast_e2e::gpg::{EMAIL, house_of};
use holdfast_e2e::house::{House, me};
use holdfast_e2e::{image, must, must_fail, rpc};
use tonic::{Code, Status};

async fn open(house: &House, message: &[u8]) -> Result<Vec<u8>, Status> {
    rpc::open_of(&house.socket(), "pgp", message).await.map(|answer| answer.optsdata)
}

/// Messages in every size of AES, to a recipient that is named and to one that is hidden.
async fn opens(kind: &str, options: &str) {
    let (house, gpg) = house_of(kind, options);
    let _daemon = house.start();
    let optsdata = rpc::optsdata();
    let optsdata = optsdata.raw().expose();
    for cipher in ["AES128", "AES192", "AES256"] {
        for recipient in ["--recipient", "--hidden-recipient"] {
            let message = gpg.encrypt(&["--cipher-algo", cipher, recipient, EMAIL], optsdata);
            assert_eq!(open(&house, &message).await.unwrap(), optsdata, "{cipher} {recipient}");
        }
    }
    let audit = house.audit();
    assert_eq!(audit.len(), 6);
    assert!(
        audit.iter().all(|record| record["outcome"] == "released" && record["token_calls"] == 1),
        "{audit:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_with_a_certificate_and_without() {
    opens("rsa3072", "algorithms = [\"RSA1_5\"]\nCERTIFICATE").await;
    opens("rsa2048", "algorithms = [\"RSA1_5\"]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ecdh_on_p256() {
    opens("nistp256", "CERTIFICATE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ecdh_on_p384() {
    opens("nistp384", "CERTIFICATE\nalgorithms = [\"OpenPGP-ECDH\"]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ecdh_on_p521() {
    opens("nistp521", "CERTIFICATE").await;
}

/// OpenPGP leaves them out, and a token wants a ciphertext as long as the modulus.
#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_ciphertext_without_its_leading_zeros_opens() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut house = House::new();
    let pem = vectors.join("openpgp/rsa3072.pem");
    house.hsm.import(&house.token, "images", &[1], &pem, false).unwrap();
    house.configure("images", "images", "algorithms = [\"RSA1_5\"]");
    house.allow(&format!("user = {}\nto = [\"unwrap\"]\nkeys = [\"images\"]", me()));
    let _daemon = house.start();
    let message = std::fs::read(vectors.join("openpgp/rsa3072-short.pgp")).unwrap();
    let optsdata = std::fs::read(vectors.join("tiny/tiny.optsdata.json")).unwrap();
    assert_eq!(open(&house, &message).await.unwrap(), optsdata);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_altered_is_one_answer() {
    for (kind, options, first) in
        [("rsa2048", "algorithms = [\"RSA1_5\"]", 20), ("nistp256", "CERTIFICATE", 80)]
    {
        let (house, gpg) = house_of(kind, options);
        let _daemon = house.start();
        let good = gpg.encrypt(&["--recipient", EMAIL], rpc::optsdata().raw().expose());
        assert!(open(&house, &good).await.is_ok());
        let mut told = Vec::new();
        // The wrapped key, the prefix, its repeated octets, the literal packet, the modification detection code.
        let content = good.windows(3).rposition(|header| header == [0xd2, 0xc0, 0x33]).unwrap() + 4;
        for at in [first, first + 8, content, content + 15, content + 17, content + 60, good.len() - 1] {
            let mut altered = good.clone();
            altered[at] ^= 1;
            let status = open(&house, &altered).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{at}: {status}");
            told.push(status.message().split(" (request").next().unwrap().to_owned());
        }
        told.dedup();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("it was wrapped to another key or is damaged"), "{told:?}");
        let audit = house.audit();
        assert!(audit.iter().all(|record| record["token_calls"] == 1), "{audit:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_protected_or_compressed_is_told() {
    let (house, gpg) = house_of("nistp256", "CERTIFICATE");
    let _daemon = house.start();
    let optsdata = rpc::optsdata();
    for (options, says) in [
        (&["--rfc2440", "--disable-mdc"][..], "no integrity protection"),
        (&["--compress-algo", "zip"], "--compress-algo none"),
        (&["--sign"], "encrypt without signing"),
    ] {
        let options = [options, &["--recipient", EMAIL]].concat();
        let message = gpg.encrypt(&options, optsdata.raw().expose());
        let status = open(&house, &message).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(says), "{status}");
    }
}

/// The key ID leads to the key that has it, among several of one type.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_id_saves_the_tokens_of_other_keys_a_call() {
    let (mut house, gpg) = house_of("nistp256", "CERTIFICATE");
    let second = "second@test.invalid";
    gpg.make(second, "nistp256");
    house.hsm.import(&house.token, "second", &[2], &gpg.private_key(second), false).unwrap();
    let options = format!("openpgp = \"{}\"", gpg.certificate(second).display());
    house.configure("second", "second", &options);
    house.allow(&format!("user = {}\nto = [\"unwrap\"]\nkeys = [\"second\"]", me()));
    let _daemon = house.start();
    let optsdata = rpc::optsdata();
    let optsdata = optsdata.raw().expose();
    for (recipient, calls) in [("--recipient", 1), ("--hidden-recipient", 2)] {
        let message = gpg.encrypt(&[recipient, second], optsdata);
        assert_eq!(open(&house, &message).await.unwrap(), optsdata);
        let record = house.audit().pop().unwrap();
        assert_eq!(record["aliases"], serde_json::json!(["second"]));
        assert_eq!(record["token_calls"], calls, "{recipient}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ec_key_without_its_certificate_says_what_is_missing() {
    let (house, gpg) = house_of("nistp256", "");
    let _daemon = house.start();
    let message = gpg.encrypt(&["--recipient", EMAIL], rpc::optsdata().raw().expose());
    let status = open(&house, &message).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(
        status.message().contains("only if its [[key]] names its certificate: openpgp = FILE"),
        "{status}"
    );
    assert!(house.audit().iter().all(|record| record["token_calls"] == 0));
}

#[test]
fn check_tells_the_certificates_key_and_one_that_is_not_the_tokens() {
    let (mut house, gpg) = house_of("nistp256", "CERTIFICATE");
    let said = must(&mut house.check(&["--tokens"]));
    assert!(said.contains("    openpgp P-256 "), "{said}");
    gpg.make("other@test.invalid", "nistp256");
    let other = gpg.certificate("other@test.invalid");
    let with = |path: &str| format!("openpgp = \"{path}\"");
    house.reconfigure("images", &[("images", &with(&other.display().to_string()))]);
    must(&mut house.check(&[]));
    let said = must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("it has no encryption key with this public half; it has P-256 "), "{said}");
    house.reconfigure("images", &[("images", &with("/nonexistent/images.asc"))]);
    let said = must_fail(&mut house.check(&[]));
    assert!(said.contains("/nonexistent/images.asc cannot be used: No such file"), "{said}");
}

#[test]
fn check_tells_that_an_rsa_key_opens_openpgp_by_pkcs1_alone() {
    let (house, _gpg) = house_of("rsa2048", "CERTIFICATE");
    let said = must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("no use to an RSA key without algorithms = [\"RSA1_5\"]"), "{said}");
}

#[test]
fn an_image_that_skopeo_encrypted_to_an_email_address_opens() {
    let (house, gpg) = house_of("rsa3072", "algorithms = [\"RSA1_5\"]\nCERTIFICATE");
    let plain = image::build(house.dir.path(), 3);
    let encrypted = house.dir.path().join("encrypted");
    let mut skopeo = image::skopeo();
    skopeo.env("GNUPGHOME", gpg.home()).args(["copy", "--encryption-key", &format!("pgp:{EMAIL}")]);
    must(skopeo.arg(image::oci(&plain)).arg(image::oci(&encrypted)));
    let _daemon = house.start();
    let opened = house.dir.path().join("opened");
    let mut decrypt = house.holdfast();
    must(decrypt.args(["image", "decrypt"]).arg(image::oci(&encrypted)).arg(image::oci(&opened)));
    assert!(image::same_layers(&plain, &opened));
}
