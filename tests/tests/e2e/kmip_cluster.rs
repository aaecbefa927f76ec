//! A KMIP server of two addresses: what requests see of it when one of them dies and comes back. Nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_e2e::house::House;
use holdfast_e2e::kmip::{make, section_at};
use holdfast_e2e::{eventually, rpc};
use hsm_sim::Pykmip;
use tokio::task::JoinSet;

const CALLERS: usize = 8;
const EACH: usize = 20;

/// Two servers with the same keys, and a house that knows the first one's address before the second's.
fn cluster() -> (Pykmip, Pykmip, House) {
    let first = Pykmip::start().unwrap();
    let second = first.beside().unwrap();
    let house = section_at(House::new(), &[&first.address(), &second.address()], &first);
    let (house, _) = make(house, "backup", "aes-256");
    (first, second, house)
}

async fn wrapped(house: &House) -> Vec<u8> {
    rpc::wrap_key(&house.socket(), &["backup"], rpc::optsdata().raw().expose()).await.unwrap()
}

/// Callers that unwrap one packet again and again; each answer must be the right one. Counts them.
fn callers(house: &House, packet: &[u8]) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (socket, packet, answered) = (house.socket(), packet.to_vec(), answered.clone());
        callers.spawn(async move {
            for _ in 0..EACH {
                let opened = rpc::unwrap_key(&socket, &packet).await.unwrap();
                assert_eq!(opened, rpc::optsdata().raw().expose());
                answered.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
    (callers, answered)
}

async fn all(mut callers: JoinSet<()>) {
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_first_address_fails_no_request() {
    let (mut first, second, house) = cluster();
    let daemon = house.start();
    let packet = wrapped(&house).await;
    // It dies in the midst of them.
    let (running, answered) = callers(&house, &packet);
    eventually("the first callers have their answers", async || {
        answered.load(Ordering::Acquire) > 5 * CALLERS
    })
    .await;
    assert_eq!(second.calls("Decrypt"), 0, "the first address is asked alone, as long as it answers");
    first.kill().unwrap();
    all(running).await;
    assert!(second.calls("Decrypt") > CALLERS);
    assert!(daemon.stop().success());
    // And it was never there for this one.
    let daemon = house.start();
    all(callers(&house, &packet).0).await;
    let refused = daemon.log().matches("no connection to the KMIP server").count();
    assert_eq!(refused, 1, "it is asked once for all connections: {}", daemon.log());
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_address_that_is_back_is_used_again() {
    let (mut first, mut second, house) = cluster();
    let daemon = house.start();
    let packet = wrapped(&house).await;
    first.kill().unwrap();
    all(callers(&house, &packet).0).await;
    first.restart().unwrap();
    let before = first.calls("Decrypt");
    // Nobody waits for it: a connection that has had nothing to do for five seconds looks.
    all(callers(&house, &packet).0).await;
    eprintln!("{}", daemon.log());
    eventually("it is seen that the first address answers again", async || {
        daemon.log().contains("the KMIP server answers again")
    })
    .await;
    assert_eq!(first.calls("Decrypt"), before);
    second.kill().unwrap();
    all(callers(&house, &packet).0).await;
    assert!(first.calls("Decrypt") > before, "{}", daemon.log());
    assert!(daemon.stop().success());
}
