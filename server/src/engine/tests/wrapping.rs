//! Wrapping to the keys that the parameters name.

use super::*;

#[tokio::test]
async fn what_is_wrapped_opens_again_with_every_alias_named() {
    let plan = plan().key("images", "a").key("spare", "b");
    plan.token.generate_rsa(&uri("a"));
    plan.token.generate_ec(&uri("b"), Curve::P384);
    let house = plan.open();
    let packet = house.wrap(ALICE, "images+spare;env=prod").await.unwrap();
    let parsed = jwe::Jwe::parse(&packet).unwrap();
    assert_eq!(parsed.recipients().len(), 2);
    assert_eq!(parsed.labels().get("env"), Some("prod"));
    assert!(same(&house.unwrap(ALICE, &packet).await.unwrap()));
    assert_eq!(house.records()[0]["event"], "wrap");
}

#[tokio::test]
async fn every_alias_needs_the_permission_and_an_unknown_one_looks_denied() {
    let mut plan = plan().key("images", "a");
    plan.token.generate_rsa(&uri("a"));
    plan.token.generate_rsa(&uri("b"));
    plan.keys.push(("secret", "b", true));
    let house = plan.open();
    let mut seen = Vec::new();
    for parameter in ["images+secret", "images+nothing", "nothing"] {
        let status = house.wrap(ALICE, parameter).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        seen.push(without_id(status.message()));
    }
    assert!(seen.iter().all(|text| *text == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn without_a_parameter_the_only_alias_is_meant() {
    let plan = plan().key("images", "a");
    plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    assert!(house.wrap(ALICE, "Enabled").await.is_ok());
}

#[tokio::test]
async fn without_a_parameter_and_a_default_two_aliases_are_a_question() {
    let plan = plan().key("images", "a").key("spare", "b");
    let house = plan.open();
    let status = house.wrap(ALICE, "Enabled").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("provider:holdfast:ALIAS"), "{}", status.message());
}

#[tokio::test]
async fn a_retired_key_opens_and_wraps_no_more() {
    let mut plan = plan().key("images", "new").key("images", "old");
    plan.keys[1].2 = false;
    let new = plan.token.generate_rsa(&uri("new"));
    let old = plan.token.generate_rsa(&uri("old"));
    let house = plan.open();
    assert!(house.unwrap(ALICE, &seal(&[(&old, Algorithm::RsaOaep)], &[])).await.is_ok());
    let packet = house.wrap(ALICE, "images").await.unwrap();
    let kid = holdfast_envelope::jwk::thumbprint(&new);
    assert_eq!(jwe::Jwe::parse(&packet).unwrap().recipients()[0].kid(), Some(kid.as_str()));
}

#[tokio::test]
async fn an_alias_with_retired_keys_alone_says_so() {
    let mut plan = plan().key("images", "old");
    plan.keys[0].2 = false;
    plan.token.generate_rsa(&uri("old"));
    let house = plan.open();
    let status = house.wrap(ALICE, "images").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("retired"), "{}", status.message());
}
