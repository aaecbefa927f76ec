use super::worker::FIRST_BACKOFF;
use super::*;
use crate::Custody;
use crate::fake::{FakeToken, Fault};
use holdfast_wire::OaepHash;

const URI: &str = "pkcs11:token=t;object=k";

fn pool(token: &FakeToken, workers: usize, queue: usize) -> Arc<Pool> {
    let token = token.clone();
    let settings = Settings { workers, queue, timeout: Duration::from_secs(5) };
    Arc::new(Pool::start("test", settings, Arc::new(move || token.connect())).unwrap())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn uri() -> KeyUri {
    URI.parse().unwrap()
}

fn garbage() -> Sealed {
    Sealed::RsaOaep { hash: OaepHash::Sha1, ciphertext: vec![1; 256] }
}

/// Waits until the token has been called this often: it is then inside the call.
async fn until_called(token: &FakeToken, call: &str, times: usize) {
    while token.calls(call) < times {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_full_queue_says_busy_at_once() {
    let token = FakeToken::new();
    let pool = pool(&token, 1, 1);
    token.set_fault(Some(Fault::Hangs));
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.probe(soon()).await }
    });
    until_called(&token, "connect", 1).await;
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.probe(soon()).await }
    });
    while pool.usage().taken < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.probe(soon()).await, Err(Error::Busy));
    token.set_fault(None);
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(pool.usage(), Usage { workers: 1, taken: 0, places: 2 });
}

#[tokio::test]
async fn a_hung_token_keeps_its_place_when_the_caller_leaves() {
    let token = FakeToken::new();
    let pool = pool(&token, 1, 0);
    token.set_fault(Some(Fault::Hangs));
    let impatient = Instant::now() + Duration::from_millis(20);
    assert_eq!(pool.probe(impatient).await, Err(Error::OutOfTime));
    assert_eq!(pool.usage().taken, 1);
    assert_eq!(pool.probe(soon()).await, Err(Error::Busy));
    token.set_fault(None);
    while pool.usage().taken > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    pool.probe(soon()).await.unwrap();
}

#[tokio::test]
async fn a_job_past_its_deadline_is_dropped_unrun() {
    let token = FakeToken::new();
    let pool = pool(&token, 1, 4);
    token.set_fault(Some(Fault::Hangs));
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.probe(soon()).await }
    });
    until_called(&token, "connect", 1).await;
    let impatient = Instant::now() + Duration::from_millis(20);
    assert_eq!(
        pool.open(&uri(), Requirement::default(), garbage(), impatient).await.unwrap_err(),
        Error::OutOfTime
    );
    token.set_fault(None);
    running.await.unwrap().unwrap();
    pool.probe(soon()).await.unwrap();
    assert_eq!(token.calls("open"), 0);
}

#[tokio::test]
async fn a_dead_connection_is_replaced_without_an_error() {
    let token = FakeToken::new();
    token.generate_rsa(URI);
    let pool = pool(&token, 1, 1);
    pool.describe(&uri(), Requirement::default(), soon()).await.unwrap();
    token.restart();
    pool.describe(&uri(), Requirement::default(), soon()).await.unwrap();
    assert_eq!(token.calls("connect"), 2);
}

#[tokio::test]
async fn a_dead_token_is_unavailable_and_serves_again_when_it_is_back() {
    let token = FakeToken::new();
    let pool = pool(&token, 2, 1);
    pool.probe(soon()).await.unwrap();
    token.set_fault(Some(Fault::Dead));
    assert!(matches!(pool.probe(soon()).await, Err(Error::Unavailable(_))));
    token.set_fault(None);
    while pool.probe(soon()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_token_that_is_gone_for_a_moment_is_no_error() {
    let token = FakeToken::new();
    let pool = pool(&token, 1, 1);
    pool.probe(soon()).await.unwrap();
    token.set_fault(Some(Fault::Dead));
    let (probe, ()) = tokio::join!(pool.probe(soon()), async {
        while token.calls("connect") < 2 {
            tokio::task::yield_now().await;
        }
        token.set_fault(None);
    });
    assert!(probe.is_ok(), "{probe:?}");
    assert_eq!(token.calls("connect"), 3);
}

#[tokio::test]
async fn a_token_that_is_down_is_not_stormed_with_connections() {
    let token = FakeToken::new();
    token.set_fault(Some(Fault::RefusesPin));
    let pool = pool(&token, 4, 100);
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(matches!(pool.probe(soon()).await, Err(Error::PinRefused(_))));
    }
    // Each worker may have been inside the first attempt; after that one pause doubles into the next.
    let pauses = (begun.elapsed().as_millis() / FIRST_BACKOFF.as_millis()) as usize;
    assert!(token.calls("connect") <= 4 + pauses, "{} connections", token.calls("connect"));
}

#[tokio::test]
async fn a_connection_without_work_is_told_once_and_serves_on() {
    let token = FakeToken::new();
    let pool = pool(&token, 1, 1);
    pool.probe(soon()).await.unwrap();
    until_called(&token, "rest", 1).await;
    pool.probe(soon()).await.unwrap();
    until_called(&token, "rest", 2).await;
    assert_eq!((token.calls("connect"), token.calls("probe")), (1, 2));
}

#[tokio::test]
async fn a_panic_in_a_backend_costs_one_answer() {
    let token = FakeToken::new();
    let pool = pool(&token, 1, 1);
    pool.probe(soon()).await.unwrap();
    token.set_fault(Some(Fault::Panics));
    assert!(matches!(pool.probe(soon()).await, Err(Error::Internal(_))));
    token.set_fault(None);
    pool.probe(soon()).await.unwrap();
}

#[tokio::test]
async fn an_extractable_key_is_refused_before_it_is_used() {
    let token = FakeToken::new();
    token.generate_rsa(URI);
    token.set_custody(URI, &Custody { extractable: Some(true), ..Custody::default() });
    let pool = pool(&token, 1, 1);
    let refused = pool.open(&uri(), Requirement::default(), garbage(), soon()).await.unwrap_err();
    assert!(matches!(&refused, Error::KeyUnfit(why) if why.contains("allow_extractable")), "{refused:?}");
    assert_eq!(token.calls("open"), 0);
    let allowed = Requirement { allow_extractable: true };
    assert_eq!(pool.open(&uri(), allowed, garbage(), soon()).await.unwrap_err(), Error::Rejected);
}

#[tokio::test]
async fn custody_is_checked_anew_on_every_connection() {
    let token = FakeToken::new();
    token.generate_rsa(URI);
    let pool = pool(&token, 1, 1);
    for _ in 0..3 {
        let _ = pool.open(&uri(), Requirement::default(), garbage(), soon()).await;
    }
    assert_eq!(token.calls("describe"), 1);
    token.restart();
    let _ = pool.open(&uri(), Requirement::default(), garbage(), soon()).await;
    assert_eq!(token.calls("describe"), 2);
}

#[tokio::test]
async fn what_a_symmetric_key_sealed_it_opens() {
    let token = FakeToken::new();
    token.generate_aes(URI);
    let pool = pool(&token, 2, 1);
    let (uri, any) = (uri(), Requirement::default());
    let sealed = pool.seal(&uri, any, Secret::new(vec![7; 32]), soon()).await.unwrap();
    assert_eq!(pool.open(&uri, any, sealed, soon()).await.unwrap().expose(), [7; 32]);
}

#[tokio::test]
async fn nothing_is_sealed_to_a_key_that_may_leave() {
    let token = FakeToken::new();
    token.generate_aes(URI);
    token.set_custody(URI, &Custody { extractable: Some(true), ..Custody::default() });
    let pool = pool(&token, 1, 1);
    let refused = pool.seal(&uri(), Requirement::default(), Secret::new(vec![7; 32]), soon()).await;
    assert!(matches!(&refused, Err(Error::KeyUnfit(_))), "{refused:?}");
    assert_eq!(token.calls("seal"), 0);
}

#[tokio::test]
async fn closing_waits_for_the_workers_and_tells_when_one_hangs() {
    let token = FakeToken::new();
    let quiet = pool(&token, 4, 1);
    quiet.probe(soon()).await.unwrap();
    assert!(quiet.close(Duration::from_secs(5)));
    let hung = pool(&token, 2, 1);
    token.set_fault(Some(Fault::Hangs));
    let impatient = Instant::now() + Duration::from_millis(20);
    assert_eq!(hung.probe(impatient).await, Err(Error::OutOfTime));
    assert!(!hung.close(Duration::from_millis(20)));
    token.set_fault(None);
    assert!(hung.close(Duration::from_secs(5)));
}

#[tokio::test]
async fn the_workers_of_a_pool_that_is_gone_can_be_waited_for() {
    let token = FakeToken::new();
    let gone = pool(&token, 2, 1);
    gone.probe(soon()).await.unwrap();
    token.set_fault(Some(Fault::Hangs));
    let impatient = Instant::now() + Duration::from_millis(20);
    assert_eq!(gone.probe(impatient).await, Err(Error::OutOfTime));
    let workers = gone.workers();
    drop(gone);
    assert!(!workers.have_ended() && !workers.close(Duration::from_millis(20)));
    token.set_fault(None);
    assert!(workers.close(Duration::from_secs(5)) && workers.have_ended());
}
