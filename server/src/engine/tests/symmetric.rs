//! Symmetric keys: their token seals the content key, and packets name them by a configured kid.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_symmetric_key_wraps_and_opens_under_its_configured_kid() {
    let plan = plan().key("backup", "aes-a");
    plan.token.generate_aes(&uri("aes-a"));
    let house = plan.open();
    let packet = house.wrap(ALICE, "backup;env=prod").await.unwrap();
    let parsed = jwe::Jwe::parse(&packet).unwrap();
    assert_eq!(parsed.recipients()[0].kid(), Some("kid-of-aes-a"));
    assert_eq!(parsed.recipients()[0].algorithm(), Some(Algorithm::A256GcmKw));
    assert!(same(&house.unwrap(ALICE, &packet).await.unwrap()));
    let records = house.records();
    assert_eq!(records[0]["event"], "wrap");
    assert_eq!(records[0]["kids"][0], "kid-of-aes-a");
    assert_eq!(records[0]["token_calls"], 1);
}

#[tokio::test]
async fn each_recipient_of_a_mixed_packet_opens_it_alone() {
    let plan = plan().key("images", "a").key("backup", "aes-a").key("spare", "b").key("cold", "aes-b");
    plan.token.generate_rsa(&uri("a"));
    plan.token.generate_aes(&uri("aes-a"));
    plan.token.generate_ec(&uri("b"), Curve::P256);
    plan.token.generate_aes(&uri("aes-b"));
    let house = plan.open();
    let packet = house.wrap(ALICE, "images+backup+spare+cold").await.unwrap();
    let recipients = jwe::Jwe::parse(&packet).unwrap().recipients().len();
    assert_eq!(recipients, 4);
    for (index, alias) in ["images", "backup", "spare", "cold"].into_iter().enumerate() {
        let mut json: serde_json::Value = serde_json::from_slice(&packet).unwrap();
        let only = json["recipients"][index].clone();
        json["recipients"] = serde_json::json!([only]);
        let unwrapped = house.unwrap(ALICE, &serde_json::to_vec(&json).unwrap()).await.unwrap();
        assert!(same(&unwrapped));
        assert_eq!(unwrapped.alias, alias);
    }
}

#[tokio::test]
async fn without_its_kid_a_packet_is_tried_with_every_symmetric_key() {
    let plan = plan().key("images", "a").key("one", "aes-a").key("two", "aes-b");
    plan.token.generate_rsa(&uri("a"));
    plan.token.generate_aes(&uri("aes-a"));
    plan.token.generate_aes(&uri("aes-b"));
    let house = plan.open();
    // What is known of is tried in the configured order.
    house.engine.keyring.refresh(0, || Instant::now() + Duration::from_secs(5)).await;
    let packet = house.wrap(ALICE, "two+images").await.unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&packet).unwrap();
    json["recipients"].as_array_mut().unwrap().pop();
    for kid in [serde_json::Value::Null, "renamed".into()] {
        let header = json["recipients"][0]["header"].as_object_mut().unwrap();
        match kid {
            serde_json::Value::Null => drop(header.remove("kid")),
            kid => drop(header.insert("kid".into(), kid)),
        }
        let before = house.token.calls("open");
        let unwrapped = house.unwrap(ALICE, &serde_json::to_vec(&json).unwrap()).await.unwrap();
        assert!(same(&unwrapped) && unwrapped.alias == "two");
        assert_eq!(house.token.calls("open") - before, 2, "the RSA key is not asked");
    }
}

#[tokio::test]
async fn a_retired_symmetric_key_opens_and_seals_no_more() {
    let old = plan().key("backup", "aes-old");
    old.token.generate_aes(&uri("aes-old"));
    let token = old.token.clone();
    let before = old.open();
    let packet = before.wrap(ALICE, "backup").await.unwrap();
    let mut new = plan().key("backup", "aes-new").key("backup", "aes-old");
    new.keys[1].2 = false;
    new.token = token;
    new.token.generate_aes(&uri("aes-new"));
    let house = new.open();
    assert!(same(&house.unwrap(ALICE, &packet).await.unwrap()));
    let packet = house.wrap(ALICE, "backup").await.unwrap();
    assert_eq!(jwe::Jwe::parse(&packet).unwrap().recipients()[0].kid(), Some("kid-of-aes-new"));
}

#[tokio::test]
async fn nothing_is_sealed_for_a_caller_without_the_permission() {
    let mut plan = plan().key("images", "a");
    plan.keys.push(("backup", "aes-a", true));
    plan.rules.push(rule(ALICE, &[Action::Unwrap], "backup", &[]));
    plan.token.generate_rsa(&uri("a"));
    plan.token.generate_aes(&uri("aes-a"));
    let house = plan.open();
    for parameter in ["backup", "images+backup"] {
        let status = house.wrap(ALICE, parameter).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
    }
    assert_eq!(house.token.calls("seal"), 0);
}

#[tokio::test]
async fn a_symmetric_key_without_kid_and_another_with_one_are_unfit() {
    let plan = plan().key("nameless", "plain").key("named", "aes-rsa");
    plan.token.generate_aes(&uri("plain"));
    plan.token.generate_rsa(&uri("aes-rsa"));
    let house = plan.open();
    for (index, alias, says) in
        [(0, "nameless", "give its [[key]] a kid"), (1, "named", "take it out of its [[key]]")]
    {
        let status = house.wrap(ALICE, alias).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        let deadline = Instant::now() + Duration::from_secs(5);
        let error = house.engine.keyring.facts(index, deadline).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_seal_is_told_and_recorded() {
    let plan = plan().key("images", "a").key("backup", "aes-a");
    plan.token.generate_rsa(&uri("a"));
    plan.token.generate_aes(&uri("aes-a"));
    let house = plan.open();
    assert!(house.wrap(ALICE, "backup").await.is_ok());
    house.token.set_fault(Some(Fault::Broken));
    let status = house.wrap(ALICE, "images+backup").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("backup: "), "{}", status.message());
    assert_eq!(house.records().last().unwrap()["outcome"], "token_unavailable");
}

#[tokio::test]
async fn a_damaged_seal_is_one_answer_with_a_damaged_tag() {
    let plan = plan().key("backup", "aes-a");
    plan.token.generate_aes(&uri("aes-a"));
    let house = plan.open();
    let good = house.wrap(ALICE, "backup").await.unwrap();
    let mut seen = Vec::new();
    for member in ["encrypted_key", "tag", "ciphertext", "iv"] {
        let mut json: serde_json::Value = serde_json::from_slice(&good).unwrap();
        let text = json[member].as_str().unwrap();
        let flipped = if text.starts_with('A') { "B" } else { "A" };
        json[member] = format!("{flipped}{}", &text[1..]).into();
        let before = (house.token.calls("open"), house.token.calls("probe"));
        let answer = house.refused(ALICE, &serde_json::to_vec(&json).unwrap()).await;
        seen.push((answer, house.token.calls("open") - before.0, house.token.calls("probe") - before.1));
    }
    assert_eq!(seen[0].0.0, Code::InvalidArgument);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}
