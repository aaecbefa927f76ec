//! RSA-OAEP-256 with a token that has raw RSA only, for a key whose configuration asks for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_e2e::house::{House, me};
use holdfast_e2e::{must, must_fail, rpc};
use holdfast_envelope::jwe::Jwe;
use holdfast_wire::Algorithm;
use hsm_sim::KeyKind;
use tonic::Code;

fn house(options: &str) -> House {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::Rsa3072).unwrap();
    house.configure("images", "images", options);
    house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"images\"]", me()));
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_for_it_wraps_and_opens_rsa_oaep_256() {
    let house = house("algorithms = [\"RSA-OAEP-256\"]\noaep_sha256_in_daemon = true");
    let said = must(&mut house.check(&["--tokens"]));
    assert!(
        said.contains("RSA-OAEP-256 = raw RSA in the token, the padding is taken off in holdfastd"),
        "{said}"
    );
    let _daemon = house.start();
    let given = rpc::optsdata();
    let packet = rpc::wrap_key(&house.socket(), &["images"], given.raw().expose()).await.unwrap();
    assert_eq!(Jwe::parse(&packet).unwrap().recipients()[0].algorithm(), Some(Algorithm::RsaOaep256));
    assert_eq!(rpc::unwrap_key(&house.socket(), &packet).await.unwrap(), given.raw().expose());

    // A damaged padding and a damaged content: the same words.
    let mut said = Vec::new();
    for member in ["encrypted_key", "ciphertext", "tag"] {
        let mut json: serde_json::Value = serde_json::from_slice(&packet).unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(json[member].as_str().unwrap()).unwrap();
        bytes[9] ^= 1;
        json[member] = URL_SAFE_NO_PAD.encode(bytes).into();
        let damaged = serde_json::to_vec(&json).unwrap();
        let status = rpc::unwrap_key(&house.socket(), &damaged).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{member}");
        said.push(status.message().split(" (request ").next().unwrap().to_owned());
    }
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
}

#[test]
fn without_the_option_the_token_decides() {
    let house = house("algorithms = [\"RSA-OAEP-256\"]");
    let said = must_fail(&mut house.check(&["--tokens"]));
    assert!(said.contains("the configuration names RSA-OAEP-256, which this token cannot do"), "{said}");
}
