//! What people are told of a symmetric key: it has a configured kid and no public half.

use holdfast_e2e::house::{House, me};
use holdfast_e2e::{must, must_fail, rpc};
use hsm_sim::KeyKind;
use tonic::Code;

#[test]
fn an_aes_key_is_listed_and_shown_and_has_nothing_to_export() {
    let house = House::new().key("backup", KeyKind::Aes256);
    let _daemon = house.start();
    let said = must(house.holdfast().args(["key", "list"]));
    let line = said.lines().find(|line| line.starts_with("backup")).unwrap();
    for part in ["AES-256", "A256GCMKW", "generated in the token, never extractable", "backup-kid"] {
        assert!(line.contains(part), "{part}: {said}");
    }
    let shown = must(house.holdfast().args(["key", "show", "backup"]));
    assert!(shown.contains("CKA_ENCRYPT") && !shown.contains("PUBLIC KEY"), "{shown}");
    let said = must_fail(house.holdfast().args(["key", "export", "backup"]));
    assert!(said.contains("backup is a symmetric key and has no public half"), "{said}");
    assert!(said.contains("provider:holdfast:backup"), "{said}");
}

#[test]
fn a_check_tells_the_kid_or_what_is_wrong_with_it() {
    let mut house = House::new().key("backup", KeyKind::Aes256);
    let said = must(&mut house.check(&["--tokens"]));
    assert!(
        said.contains("backup: AES-256, generated in the token") && said.contains("kid backup-kid"),
        "{said}"
    );
    house.hsm.generate(&house.token, "nameless", &[8], KeyKind::Aes256).unwrap();
    house.hsm.generate(&house.token, "pair", &[9], KeyKind::EcP256).unwrap();
    house.configure("nameless", "nameless", "");
    house.configure("pair", "pair", "kid = \"mine\"");
    let said = must_fail(&mut house.check(&["--tokens"]));
    for part in [
        "nameless: it is a symmetric key, which has no thumbprint: give its [[key]] a kid",
        "kid is for symmetric keys: take it out of its [[key]]",
    ] {
        assert!(
            said.lines().any(|line| line.contains(part) && line.ends_with("[TROUBLE]")),
            "{part}: {said}"
        );
    }
    assert!(!said.lines().any(|line| line.trim() == "kid"), "an empty kid: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symmetric_key_without_a_kid_is_unfit_and_the_log_says_why() {
    let mut house = House::new();
    house.hsm.generate(&house.token, "nameless", &[1], KeyKind::Aes256).unwrap();
    house.configure("nameless", "nameless", "");
    house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"nameless\"]", me()));
    let daemon = house.start();
    let optsdata = rpc::optsdata();
    let status = rpc::wrap_key(&house.socket(), &["nameless"], optsdata.raw().expose()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("run holdfastd check --tokens"), "{}", status.message());
    assert!(daemon.log().contains("give its [[key]] a kid"), "{}", daemon.log());
}
