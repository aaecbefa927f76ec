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
