//! Tokens, keys and modules that are not as the configuration has them: the daemon serves the rest.

use std::path::PathBuf;

use holdfast_e2e::house::{House, file, me};
use holdfast_e2e::{image, rpc};
use hsm_sim::KeyKind;
use tonic::Code;

async fn wrap(house: &House, alias: &str) -> Result<Vec<u8>, tonic::Status> {
    rpc::wrap_key(&house.socket(), &[alias], rpc::optsdata().raw().expose()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_missing_is_told_and_its_keys_are_unavailable() {
    let house = House::new().key("images", KeyKind::EcP256).module("/nonexistent/module.so".into());
    let daemon = house.start();
    let status = wrap(&house, "images").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.message().contains("/nonexistent"), "a path told to a caller: {}", status.message());
    assert!(daemon.log().contains("/nonexistent/module.so"), "{}", daemon.log());
    let said = holdfast_e2e::must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("/nonexistent/module.so") && said.contains("[TROUBLE]"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_down_does_not_stop_the_others() {
    let house = House::new().key("images", KeyKind::EcP256).section(
        "[[token]]\nuri = \"pkcs11:token=gone\"\nmodule = \"/nonexistent/module.so\"\npin = { file = \"/nonexistent/pin\" }\n\
         [[key]]\nalias = \"other\"\nuri = \"pkcs11:token=gone;object=x\"\n",
    );
    let mut house = house;
    house.allow(&format!("user = {}\nto = [\"wrap\"]\nkeys = [\"other\"]", me()));
    let _daemon = house.start();
    assert!(wrap(&house, "images").await.is_ok());
    assert_eq!(wrap(&house, "other").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_tried_once_and_not_again_after_a_restart() {
    let house = House::new().key("images", KeyKind::EcP256);
    let wrong = file(house.dir.path(), "wrong.pin", "00000000\n");
    let house = house.pin_file(wrong.clone()).token_options("workers = 8");
    let latch = house.dir.path().join("state");
    for _ in 0..3 {
        let daemon = house.start();
        for _ in 0..8 {
            let status = wrap(&house, "images").await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
            assert!(status.message().contains("refused the PIN"), "{}", status.message());
            assert!(!status.message().contains("00000000"));
        }
        assert!(!daemon.log().contains("00000000"), "{}", daemon.log());
        daemon.stop();
    }
    let latched: Vec<_> = std::fs::read_dir(&latch).unwrap().collect();
    assert_eq!(latched.len(), 1, "{latched:?}");
    // The right PIN in the same file opens the latch.
    std::fs::copy(house.token.pin_file(), &wrong).unwrap();
    let _daemon = house.start();
    assert!(wrap(&house, "images").await.is_ok());
    assert_eq!(std::fs::read_dir(&latch).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_objects_that_match_are_an_error_and_never_the_first() {
    let house = House::new().key("images", KeyKind::EcP256);
    house.hsm.generate(&house.token, "images", &[77], KeyKind::EcP256).unwrap();
    let _daemon = house.start();
    let status = wrap(&house, "images").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().starts_with("images: more than one key"), "{}", status.message());
    let said = holdfast_e2e::must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("2 keys match its URI; add id= or object="), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extractable_key_is_refused_until_the_configuration_allows_it() {
    let mut house = House::new();
    house.hsm.generate_extractable(&house.token, "loose", &[1], KeyKind::Rsa2048).unwrap();
    house.configure("loose", "loose", "");
    house.configure("allowed", "loose", "allow_extractable = true");
    let me = me();
    house.allow(&format!("user = {me}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"loose\", \"allowed\"]"));
    let _daemon = house.start();
    let status = wrap(&house, "loose").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("must not or cannot be used"), "{}", status.message());
    assert!(wrap(&house, "allowed").await.is_ok());
    let said = holdfast_e2e::must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("set allow_extractable = true in its [[key]]"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_key_opens_and_is_told_as_imported() {
    let mut house = House::new();
    let pem: PathBuf = house.dir.path().join("key.pem");
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    holdfast_e2e::must(
        openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]).arg(&pem),
    );
    house.hsm.import(&house.token, "moved", &[1], &pem, false).unwrap();
    house.configure("moved", "moved", "");
    house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"moved\"]", me()));
    let _daemon = house.start();
    let packet = wrap(&house, "moved").await.unwrap();
    assert!(rpc::unwrap_key(&house.socket(), &packet).await.is_ok());
    let said = holdfast_e2e::must(&mut house.check(&["--tokens"]));
    assert!(said.contains("moved: RSA-2048, imported"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_packets_of_every_kind_get_one_answer() {
    let house = House::new().key("images", KeyKind::Rsa2048);
    let (_, encrypted) = image::plain_and_encrypted(&house, "images");
    let packet: serde_json::Value = serde_json::from_slice(&image::packets(&encrypted, "jwe")[0]).unwrap();
    let _daemon = house.start();
    let mut seen = Vec::new();
    for member in ["encrypted_key", "iv", "ciphertext", "tag"] {
        for at in [0, 7] {
            let mut damaged = packet.clone();
            let mut text: Vec<u8> = damaged[member].as_str().unwrap().into();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            damaged[member] = String::from_utf8(text).unwrap().into();
            let status =
                rpc::open(&house.socket(), &serde_json::to_vec(&damaged).unwrap()).await.unwrap_err();
            let text = status.message().split(" (request").next().unwrap().to_owned();
            seen.push((status.code(), text));
        }
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
    assert_eq!(seen[0].0, Code::InvalidArgument);
    assert!(house.audit().iter().all(|record| record["token_calls"] == 1 && record["outcome"] == "rejected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_may_be_a_credential_of_the_service_manager() {
    let house = House::new().key("images", KeyKind::EcP256);
    let config = std::fs::read_to_string(house.write_config()).unwrap();
    let pin = format!("pin = {{ file = \"{}\" }}", house.token.pin_file().display());
    assert!(config.contains(&pin));
    let config = config.replace(&pin, "pin = { credential = \"prod.pin\" }");
    let config = file(house.dir.path(), "credential.toml", config);
    let credentials = house.dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::copy(house.token.pin_file(), credentials.join("prod.pin")).unwrap();

    let mut daemon = std::process::Command::new(holdfast_e2e::binary("holdfastd"));
    daemon.arg("--config").arg(&config).envs(house.hsm.env()).env("CREDENTIALS_DIRECTORY", &credentials);
    let _daemon = house.start_command(daemon);
    assert!(wrap(&house, "images").await.is_ok());

    let mut without = std::process::Command::new(holdfast_e2e::binary("holdfastd"));
    let said = holdfast_e2e::must_fail(without.arg("check").arg("--config").arg(&config));
    assert!(said.contains("LoadCredential="), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_empty_pin_file_is_never_a_login_with_an_empty_pin() {
    let house = House::new().key("images", KeyKind::EcP256);
    let pin = house.dir.path().join("pin");
    let house = house.pin_file(pin.clone());
    for content in [None, Some("")] {
        if let Some(content) = content {
            std::fs::write(&pin, content).unwrap();
        }
        let daemon = house.start();
        assert_eq!(wrap(&house, "images").await.unwrap_err().code(), Code::Unavailable);
        assert!(daemon.log().contains(pin.to_str().unwrap()), "{}", daemon.log());
        // No attempt was made, so none was refused.
        assert_eq!(std::fs::read_dir(house.dir.path().join("state")).unwrap().count(), 0);
        daemon.stop();
    }
}
