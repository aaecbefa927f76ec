//! The audit log, the caller or the token is away.

use super::*;

#[tokio::test]
async fn while_the_audit_log_cannot_be_written_no_token_is_asked() {
    let mut plan = plan().key("images", "a");
    plan.audit_file = Some("/dev/full".into());
    let key = plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    let packet = seal(&[(&key, Algorithm::RsaOaep)], &[]);
    // The first finds out, after the token; every later one is refused before it.
    for _ in 0..3 {
        let (code, text) = house.refused(ALICE, &packet).await;
        assert_eq!(code, Code::Unavailable);
        assert!(text.contains("the audit log cannot be written"), "{text}");
    }
    assert_eq!(house.token.calls("open"), 1);
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_a_record() {
    let plan = plan().key("images", "a");
    let key = plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    let packet = seal(&[(&key, Algorithm::RsaOaep)], &[]);
    assert!(house.unwrap(ALICE, &packet).await.is_ok());
    house.token.set_fault(Some(Fault::Hangs));
    let call = house.unwrap(ALICE, &packet);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err(), "answered by a hung token");
    house.token.set_fault(None);
    let recorded = async {
        while house.records().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recorded).await.expect("a record");
    assert_eq!(house.records()[1]["outcome"], "released");
}

#[tokio::test]
async fn a_hung_token_is_out_of_time_and_then_busy() {
    let plan = plan().key("images", "a");
    let key = plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    let packet = seal(&[(&key, Algorithm::RsaOaep)], &[]);
    assert!(house.unwrap(ALICE, &packet).await.is_ok());
    house.token.set_fault(Some(Fault::Hangs));
    let late = Request::begin(ALICE.into(), Duration::from_millis(30));
    let status = house.engine.clone().unwrap(late, vec![jwe_packet(&packet)]).await.err().unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let late = Request::begin(ALICE.into(), Duration::from_millis(200));
            tokio::spawn(house.engine.clone().unwrap(late, vec![jwe_packet(&packet)]))
        })
        .collect();
    while house.engine.keyring.tokens()[0].usage().taken < 9 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.refused(ALICE, &packet).await.0, Code::ResourceExhausted);
    house.token.set_fault(None);
    for caller in callers {
        let _ = caller.await;
    }
}

#[tokio::test]
async fn a_rejection_by_broken_hardware_is_unavailable() {
    let plan = plan().key("images", "a");
    let key = plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    let packet = seal(&[(&key, Algorithm::RsaOaep)], &[]);
    assert!(house.unwrap(ALICE, &packet).await.is_ok());
    house.token.set_fault(Some(Fault::Broken));
    let (code, text) = house.refused(ALICE, &packet).await;
    assert_eq!(code, Code::Unavailable);
    assert!(text.starts_with("images: its token does not answer"), "{text}");
}

#[tokio::test]
async fn a_rejection_while_the_token_was_logged_out_is_asked_again() {
    let plan = plan().key("images", "a");
    let key = plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    let packet = seal(&[(&key, Algorithm::RsaOaep)], &[]);
    assert!(house.unwrap(ALICE, &packet).await.is_ok());
    house.token.set_fault(Some(Fault::LoggedOut));
    let before = house.token.calls("open");
    assert!(house.unwrap(ALICE, &packet).await.is_ok());
    assert_eq!(house.token.calls("open") - before, 2);
    assert_eq!(house.records().last().unwrap()["token_calls"], 2);
}

#[tokio::test]
async fn a_rejection_that_can_not_be_asked_again_does_not_count_as_a_wrong_key() {
    let plan = plan().key("images", "a");
    let key = plan.token.generate_rsa(&uri("a"));
    let strangers: Vec<_> = (0..7).map(|_| FakeToken::new().generate_rsa("pkcs11:object=x")).collect();
    let house = plan.open();
    let to: Vec<_> = strangers.iter().chain([&key]).map(|key| (key, Algorithm::RsaOaep)).collect();
    let packet = seal(&to, &[]);
    assert!(house.unwrap(ALICE, &packet).await.is_ok());
    house.token.set_fault(Some(Fault::LoggedOutAfter(7)));
    let (_, message) = house.refused(ALICE, &packet).await;
    assert!(message.contains("more recipients of this packet"), "{message}");
    let records = house.records();
    let record = records.last().unwrap();
    assert_eq!((&record["token_calls"], &record["aliases"]), (&8.into(), &serde_json::json!(["images"])));
}
