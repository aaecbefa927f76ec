//! A token that hangs for ever holds up its own requests and nothing else: not another token's, and not
//! the daemon's end.

use holdfast_e2e::house::{Daemon, House, me};
use holdfast_e2e::{eventually, rpc};
use hsm_sim::{Fault, FaultyModule, KeyKind, Order};
use tonic::{Code, Status};

/// `images` on a token behind the faulty module, with two workers and one place to wait; `other` on one that
/// a library of its own keeps. (SoftHSM does not bear to be initialized by two threads at once.)
fn house() -> (House, FaultyModule) {
    let house = House::new().key("images", KeyKind::Rsa2048);
    let module = FaultyModule::install(house.dir.path(), house.hsm.module()).unwrap();
    let softhsm = house.dir.path().join("libother.so");
    std::fs::copy(house.hsm.module(), &softhsm).unwrap();
    let other = house.hsm.init_token("other").unwrap();
    house.hsm.generate(&other, "other", &[1], KeyKind::EcP256).unwrap();
    let section = format!(
        "[[token]]\nuri = \"pkcs11:token=other\"\nmodule = \"{}\"\npin = {{ file = \"{}\" }}\n\
         [[key]]\nalias = \"other\"\nuri = \"pkcs11:token=other;object=other\"\n",
        softhsm.display(),
        other.pin_file().display()
    );
    let mut house = house
        .section(&section)
        .token_options("workers = 2\nqueue = 1\ntimeout = \"1s\"")
        .listen_options("timeout = \"2s\"")
        .module(module.path().to_owned());
    house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"other\"]", me()));
    (house, module)
}

/// The daemon, when it has these keys. Both libraries read one directory of tokens when they are initialised, and
/// one that does so at the same moment as the other may find none in it: SoftHSM's locks are a process's.
async fn started(house: &House, keys: &[&str]) -> Daemon {
    for _ in 0..5 {
        let daemon = house.start();
        let mut none = false;
        eventually("the keys are ready", async || {
            let log = daemon.log();
            none = log.contains("it has none");
            none || keys.iter().all(|key| log.contains(&format!("key is ready alias=\"{key}\"")))
        })
        .await;
        if !none {
            return daemon;
        }
        assert!(daemon.stop().success());
    }
    panic!("five times SoftHSM found no token");
}

async fn wrap(house: &House, alias: &str) -> Result<Vec<u8>, Status> {
    rpc::wrap_key(&house.socket(), &[alias], rpc::optsdata().raw().expose()).await
}

/// On a busy machine a token may need more than its second to be ready.
async fn wrapped(house: &House, alias: &str) -> Vec<u8> {
    let mut packet = None;
    eventually(alias, async || {
        packet = wrap(house, alias).await.ok();
        packet.is_some()
    })
    .await;
    packet.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_hangs_fills_its_own_queue_and_the_other_serves() {
    let (house, module) = house();
    let daemon = started(&house, &["images", "other"]).await;
    let packet = wrapped(&house, "images").await;
    let other = wrapped(&house, "other").await;
    module.order(&[Order::at("C_Decrypt", Fault::Hangs)]).unwrap();
    // Two hang, one waits; each has its answer when its time is up.
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let (socket, packet) = (house.socket(), packet.clone());
            tokio::spawn(async move { rpc::unwrap_key(&socket, &packet).await.unwrap_err() })
        })
        .collect();
    eventually("the queue is full", async || house.places_taken() == 3).await;
    let busy = rpc::unwrap_key(&house.socket(), &packet).await.unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted, "{busy:?}");
    assert!(
        busy.message().starts_with("images: its token has all it can take; try again (request "),
        "{busy:?}"
    );
    for _ in 0..8 {
        rpc::unwrap_key(&house.socket(), &other).await.unwrap();
    }
    let mut late = 0;
    for asked in asked {
        let status = asked.await.unwrap();
        match status.code() {
            Code::DeadlineExceeded => late += 1,
            // The daemon's own probe may have had the place to wait.
            code => assert_eq!(code, Code::ResourceExhausted, "{status:?}"),
        }
        let says =
            ["its token did not answer in time; try again", "its token has all it can take; try again"];
        let told = says.map(|text| format!("images: {text} (request "));
        assert!(told.iter().any(|line| status.message().starts_with(line)), "{status:?}");
    }
    assert!(late >= 2, "{late} hung");
    assert!(
        house.places_taken() >= 2,
        "a place is given back when the token answers, not when the caller leaves"
    );
    rpc::unwrap_key(&house.socket(), &other).await.unwrap();
    let calls = module.calls("C_Decrypt").unwrap();
    module.behave().unwrap();
    eventually("it serves again", async || rpc::unwrap_key(&house.socket(), &packet).await.is_ok()).await;
    assert!(module.calls("C_Decrypt").unwrap() > calls);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_stops_in_time_wherever_its_token_hangs() {
    each_at_once(["C_Decrypt", "C_DecryptInit", "C_CloseSession"], async |at| {
        let (house, module) = house();
        let daemon = started(&house, &["images", "other"]).await;
        let packet = wrapped(&house, "images").await;
        module.order(&hang(at)).unwrap();
        let answer = rpc::unwrap_key(&house.socket(), &packet).await;
        assert_eq!(answer.is_ok(), at == "C_CloseSession", "{at}: {answer:?}");
        stops_in_time(daemon, at);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_hangs_from_the_start_does_not_keep_the_daemon_from_serving_or_stopping() {
    let first_calls = ["C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login", "C_FindObjects"];
    each_at_once(first_calls, async |at| {
        let (house, module) = house();
        module.order(&hang(at)).unwrap();
        let daemon = started(&house, &["other"]).await;
        // Both tokens lie in one directory, and a login to one may make the other silent for a moment.
        eventually(at, async || {
            let late = wrap(&house, "images").await.unwrap_err();
            matches!(late.code(), Code::DeadlineExceeded | Code::ResourceExhausted)
        })
        .await;
        // Nor from opening: the caller may use both keys, and only one of them is known.
        let packet = wrapped(&house, "other").await;
        rpc::unwrap_key(&house.socket(), &packet).await.unwrap();
        stops_in_time(daemon, at);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_still_does_for_a_caller_that_hung_up_is_recorded_before_the_daemon_ends() {
    let (house, module) = house();
    let daemon = started(&house, &["images", "other"]).await;
    let packet = wrapped(&house, "images").await;
    module.order(&[Order::at("C_Decrypt", Fault::Hangs)]).unwrap();
    let socket = house.socket();
    let asked = tokio::spawn(async move { rpc::unwrap_key(&socket, &packet).await });
    eventually("the token works on it", async || house.places_taken() == 1).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    let id = rustix::process::Pid::from_raw(daemon.id().cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    eventually("it stops", async || daemon.log().contains("stopping")).await;
    module.behave().unwrap();
    assert!(daemon.stop().success());
    let records = house.audit();
    assert!(records.iter().any(|record| record["event"] == "unwrap"), "{records:?}");
}

/// At the call, and at the process's end: a library's exit handlers may wait for what hangs in it.
fn hang(at: &'static str) -> [Order; 2] {
    [Order::at(at, Fault::Hangs), Order::at("unload", Fault::Hangs)]
}

fn stops_in_time(daemon: Daemon, at: &str) {
    let status = daemon.stop();
    assert!(status.success(), "{at}: {status:?}");
}

/// Each has a daemon of its own, and they mostly wait.
async fn each_at_once<const N: usize, C>(calls: [&'static str; N], case: C)
where
    C: AsyncFn(&'static str) + Copy + Send + 'static,
{
    let handle = tokio::runtime::Handle::current();
    let cases = calls.map(|at| {
        let handle = handle.clone();
        std::thread::spawn(move || handle.block_on(case(at)))
    });
    for case in cases {
        case.join().unwrap();
    }
}
