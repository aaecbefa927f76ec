//! OpenPGP by Debian 13's programs, with the private key in the token: skopeo encrypts to an e-mail address, gpg 2.4 a
//! layer's key.

use holdfast_e2e::gpg::{EMAIL, house_of};
use holdfast_e2e::house::file;
use holdfast_e2e::peers::{Peers, succeeds};
use holdfast_e2e::{image, must, rpc};

/// ocicrypt's OpenPGP knows RSA keys alone.
#[test]
fn an_image_to_an_rsa_key_opens() {
    let (house, gpg) = house_of("rsa3072", "algorithms = [\"RSA1_5\"]\nCERTIFICATE");
    let _daemon = house.start();

    let plain = image::build(house.dir.path(), 3);
    let encrypted = house.dir.path().join("encrypted");
    let mut skopeo = Peers::of(&house).wrap(&plain, &encrypted, &[&format!("pgp:{EMAIL}")]);
    // Debian 13's gpg gives it the certificate.
    skopeo.env("GNUPGHOME", gpg.home());
    succeeds(skopeo);
    assert_eq!(image::packets(&encrypted, "pgp").len(), 3);
    let opened = house.dir.path().join("opened");
    let mut decrypt = house.holdfast();
    must(decrypt.args(["image", "decrypt"]).arg(image::oci(&encrypted)).arg(image::oci(&opened)));
    assert!(image::same_layers(&plain, &opened));
    let audit = house.audit();
    assert_eq!(audit.len(), 3);
    assert!(audit.iter().all(|record| record["token_calls"] == 1), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_gpg_2_4_open() {
    for (kind, options) in
        [("nistp384", "CERTIFICATE"), ("rsa2048", "algorithms = [\"RSA1_5\"]\nCERTIFICATE")]
    {
        let (house, gpg) = house_of(kind, options);
        let _daemon = house.start();
        let optsdata = rpc::optsdata();
        let optsdata = optsdata.raw().expose();
        let (plain, message) =
            (file(house.dir.path(), "optsdata", optsdata), house.dir.path().join("optsdata.pgp"));
        let mut encrypt = Peers::of(&house).command("gpg");
        encrypt.arg("--homedir").arg(gpg.home()).args(["--batch", "--quiet", "--trust-model", "always"]);
        encrypt.args(["--compress-algo", "none", "--recipient", EMAIL, "--output"]).arg(&message);
        encrypt.arg("--encrypt").arg(plain);
        succeeds(encrypt);
        let message = std::fs::read(message).unwrap();
        let opened = rpc::open_of(&house.socket(), "pgp", &message).await.unwrap();
        assert_eq!(opened.optsdata, optsdata, "{kind}");
    }
}
