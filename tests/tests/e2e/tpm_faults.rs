//! A daemon whose TPM has a bad day: what its callers are told, what the log says, and that its other token serves
//! on. The backend's own tests (`server/backends/tpm/tests/faults`) have the cases in full.

use holdfast_e2e::house::{Daemon, House};
use holdfast_e2e::tpm::{self, configure, make};
use holdfast_e2e::{eventually, must, must_fail, rpc};
use hsm_sim::{Interposer, KeyKind, Swtpm, Then, TpmCommand};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::health::{ServingStatus, becomes};

/// `images` on a PKCS#11 token, and a TPM behind a bus.
struct Scene {
    house: House,
    bus: Interposer,
}

/// A running daemon, and a packet for each of the keys.
struct Running {
    daemon: Daemon,
    scene: Scene,
    sealed: Vec<u8>,
    other: Vec<u8>,
}

impl Scene {
    fn new(options: &str) -> Scene {
        let bus = Interposer::before(Swtpm::start().unwrap()).unwrap();
        let house = tpm::section(House::new().key("images", KeyKind::EcP256), &bus.tcti(), options);
        Scene { house, bus }
    }

    /// With a key `sealed` in the TPM.
    fn make(self, options: &[&str]) -> Scene {
        let (house, _) = make(self.house, "sealed", options);
        Scene { house, ..self }
    }

    async fn start(self) -> Running {
        let daemon = self.house.start();
        let optsdata = rpc::optsdata();
        let wrap = async |alias: &str| {
            rpc::wrap_key(&self.house.socket(), &[alias], optsdata.raw().expose()).await.unwrap()
        };
        let (sealed, other) = (wrap("sealed").await, wrap("images").await);
        let running = Running { daemon, scene: self, sealed, other };
        running.opens().await;
        running
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> String {
        must(self.bus.swtpm().tool(name).unwrap().args(arguments))
    }

    fn file(&self, name: &str) -> String {
        self.house.dir.path().join(name).display().to_string()
    }
}

impl Running {
    async fn unwrap(&self) -> Result<Vec<u8>, Status> {
        rpc::unwrap_key(&self.scene.house.socket(), &self.sealed).await
    }

    async fn opens(&self) {
        assert_eq!(self.unwrap().await.unwrap(), rpc::optsdata().raw().expose());
    }

    /// The TPM's key does not, for this reason; the other token's does, and the daemon still runs.
    async fn refused(&self, code: Code, reason: &str) {
        let status = self.unwrap().await.unwrap_err();
        let told = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), told.reason.as_str()), (code, reason), "{status:?}");
        for secret in ["swtpm", "0x", ".tss", "127.0.0.1"] {
            assert!(!status.message().contains(secret), "told to a caller: {}", status.message());
        }
        let other = rpc::unwrap_key(&self.scene.house.socket(), &self.other).await.unwrap();
        assert_eq!(other, rpc::optsdata().raw().expose());
    }

    async fn serves_again(&self) {
        eventually("the TPM serves again", async || self.unwrap().await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_is_killed_as_it_decrypts_serves_again_when_it_is_back() {
    let scene = Scene::new("").make(&["--algorithm", "rsa-2048", "--pcrs", "sha256:7"]);
    let running = scene.start().await;
    running.scene.bus.on(TpmCommand::RSA_DECRYPT, 1, Then::Kill);
    running.refused(Code::Unavailable, "TOKEN_UNAVAILABLE").await;
    running.scene.bus.swtpm().restart().unwrap();
    running.serves_again().await;
    let log = running.daemon.log();
    assert!(log.contains("the TPM cannot be reached") && !log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_told_and_end_nothing() {
    let scene = Scene::new("").make(&["--algorithm", "ecc-p256"]);
    let running = scene.start().await;
    let endless = [&[0x80, 0x02][..], &u32::MAX.to_be_bytes(), &[0; 4]].concat();
    for fault in [Then::cut_off(20), Then::Raw(vec![0xa5; 100]), Then::Raw(endless), Then::Raw(Vec::new())] {
        running.scene.bus.on(TpmCommand::ECDH_ZGEN, usize::MAX, fault);
        running.refused(Code::Unavailable, "TOKEN_UNAVAILABLE").await;
        running.scene.bus.behave();
        // Without a resource manager the lost connections have left there what they used.
        running.scene.bus.swtpm().flush().unwrap();
        running.serves_again().await;
    }
    assert!(!running.daemon.log().contains("panicked"), "{}", running.daemon.log());
    assert!(running.daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_that_is_lost_is_seen_by_nobody_where_the_tpm_is_our_own() {
    let scene = Scene::new("exclusive = true").make(&["--algorithm", "ecc-p256", "--pcrs", "sha256:7"]);
    let running = scene.start().await;
    for command in [TpmCommand::ECDH_ZGEN, TpmCommand::POLICY_PCR, TpmCommand::POLICY_RESTART] {
        // More often than the TPM has slots: what a lost connection left there is flushed.
        for _ in 0..4 {
            running.scene.bus.on(command, 1, Then::cut_off(9));
            running.opens().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_is_busy_with_itself_for_a_moment_is_asked_again() {
    let scene = Scene::new("").make(&["--algorithm", "ecc-p256", "--pcrs", "sha256:7"]);
    let running = scene.start().await;
    for code in [0x922, 0x908, 0x90a] {
        running.scene.bus.on(TpmCommand::ECDH_ZGEN, 1, Then::Answer(code));
        running.scene.bus.on(TpmCommand::POLICY_PCR, 1, Then::Answer(code));
    }
    running.opens().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pcr_that_is_extended_meanwhile_is_refused_where_it_is_the_keys_own() {
    let scene = Scene::new("").make(&["--algorithm", "ecc-p256", "--pcrs", "sha256:7+11"]);
    let running = scene.start().await;
    let extends = |number| Then::first(move |tpm| tpm.extend_pcr(number).unwrap());
    running.scene.bus.on(TpmCommand::ECDH_ZGEN, 1, extends(12));
    running.opens().await;
    running.scene.bus.on(TpmCommand::ECDH_ZGEN, 1, extends(11));
    running.refused(Code::FailedPrecondition, "PCR_POLICY_NOT_MET").await;
    assert!(running.daemon.log().contains("bound to sha256:7+11"), "{}", running.daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_other_programs_have_filled_is_unavailable_until_they_leave() {
    let scene = Scene::new("").make(&["--algorithm", "ecc-p256"]);
    for _ in 0..3 {
        let context = scene.file("theirs.ctx");
        scene.tool("tpm2_createprimary", &["-Q", "-C", "n", "-G", "ecc", "-c", &context]);
    }
    let daemon = scene.house.start();
    becomes(&scene.house, "key/images", ServingStatus::Serving).await;
    becomes(&scene.house, "key/sealed", ServingStatus::NotServing).await;
    assert!(daemon.log().contains("other programs have taken all of the TPM's memory"), "{}", daemon.log());
    daemon.stop();
    scene.bus.swtpm().flush().unwrap();
    scene.start().await.opens().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_comes_late_is_not_served_until_then_and_keeps_nobody_waiting() {
    let scene = Scene::new("").make(&["--algorithm", "ecc-p256"]);
    scene.bus.swtpm().kill().unwrap();
    let daemon = scene.house.start();
    becomes(&scene.house, "key/images", ServingStatus::Serving).await;
    becomes(&scene.house, "key/sealed", ServingStatus::NotServing).await;
    becomes(&scene.house, "", ServingStatus::Serving).await;
    let optsdata = rpc::optsdata();
    let wrap =
        async |alias: &str| rpc::wrap_key(&scene.house.socket(), &[alias], optsdata.raw().expose()).await;
    assert_eq!(wrap("sealed").await.unwrap_err().code(), Code::Unavailable);
    assert!(wrap("images").await.is_ok());
    scene.bus.swtpm().restart().unwrap();
    becomes(&scene.house, "key/sealed", ServingStatus::Serving).await;
    assert!(rpc::unwrap_key(&scene.house.socket(), &wrap("sealed").await.unwrap()).await.is_ok());
    assert!(daemon.log().contains("token answers again"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_was_cleared_makes_its_old_keys_unfit_in_one_line() {
    let scene = Scene::new("").make(&["--algorithm", "rsa-2048"]);
    let running = scene.start().await;
    running.scene.tool("tpm2_clear", &["-c", "p"]);
    running.refused(Code::FailedPrecondition, "KEY_UNFIT").await;
    let log = running.daemon.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("the TPM does not load the key")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("cleared")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_others_have_locked_is_told_with_its_time_to_recovery() {
    let scene = Scene::new("");
    let [ours, theirs] = ["0x81010002", "0x81010009"];
    scene.bus.swtpm().persist(ours, &["-G", "rsa2048"]).unwrap();
    scene.bus.swtpm().persist(theirs, &["-G", "rsa2048", "-p", "theirs"]).unwrap();
    let cipher = scene.file("cipher");
    std::fs::write(&cipher, [1; 256]).unwrap();
    let Scene { house, bus } = scene;
    let house = configure(house, "sealed", &format!("tpm:handle={ours}"));
    let running = Scene { house, bus }.start().await;
    // Wrong passwords for a key that is not ours.
    for _ in 0..4 {
        let mut guess = running.scene.bus.swtpm().tool("tpm2_rsadecrypt").unwrap();
        guess.args(["-c", theirs, "-p", "wrong", "-s", "rsaes", &cipher]);
        must_fail(&mut guess);
    }
    running.refused(Code::FailedPrecondition, "TOKEN_LOCKED").await;
    let log = running.daemon.log();
    assert!(log.contains("1000 s") && log.contains("tpm2_dictionarylockout"), "{log}");
    running.scene.tool("tpm2_dictionarylockout", &["--clear-lockout"]);
    running.opens().await;
}

/// What of anybody's is in the TPM.
fn inside(scene: &Scene) -> String {
    ["handles-transient", "handles-loaded-session"].map(|kind| scene.tool("tpm2_getcap", &[kind])).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_serves_many_requests_and_is_put_away_when_none_come() {
    let scene = Scene::new("").make(&["--algorithm", "rsa-2048", "--pcrs", "sha256:7"]);
    let running = scene.start().await;
    let calls = |command| running.scene.bus.calls(command);
    let before = [TpmCommand::START_AUTH_SESSION, TpmCommand::LOAD].map(calls);
    for _ in 0..8 {
        running.opens().await;
    }
    assert_eq!([TpmCommand::START_AUTH_SESSION, TpmCommand::LOAD].map(calls), before);
    eventually("the TPM is left to others", async || inside(&running.scene).is_empty()).await;
    running.opens().await;
    assert!(running.daemon.stop().success());
    assert_eq!(inside(&running.scene), "", "nor does it leave anything when it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_daemon_left_in_the_tpm_is_flushed_where_the_tpm_is_its_own() {
    let scene = Scene::new("exclusive = true").make(&["--algorithm", "ecc-p256", "--pcrs", "sha256:7"]);
    let mut running = scene.start().await;
    for _ in 0..4 {
        let left = inside(&running.scene);
        assert!(left.contains("0x8000"), "key and session are in use: {left}");
        running.daemon.kill();
        assert_eq!(inside(&running.scene), left, "the dead put nothing away");
        running = running.scene.start().await;
    }
    assert!(running.daemon.stop().success());
    assert_eq!(inside(&running.scene), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_daemon_left_in_the_tpm_stays_where_others_may_use_it() {
    let scene = Scene::new("").make(&["--algorithm", "ecc-p256", "--pcrs", "sha256:7"]);
    let running = scene.start().await;
    let left = inside(&running.scene);
    running.daemon.kill();
    // The next one gets along with what is left of the TPM, and touches nothing that may be somebody's.
    let running = running.scene.start().await;
    let now = inside(&running.scene);
    assert!(!left.is_empty() && left.lines().all(|handle| now.contains(handle)), "{left}\n{now}");
    running.daemon.kill();
    let scene = running.scene;
    let daemon = scene.house.start();
    eventually("it says why", async || daemon.log().contains("other programs have taken all")).await;
    becomes(&scene.house, "key/sealed", ServingStatus::NotServing).await;
    becomes(&scene.house, "key/images", ServingStatus::Serving).await;
    daemon.stop();
    scene.bus.swtpm().flush().unwrap();
    scene.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tpm_than_the_configured_one_is_told_and_not_used() {
    let bus = Interposer::before(Swtpm::start().unwrap()).unwrap();
    bus.swtpm().provision().unwrap();
    let said = must(bus.swtpm().tool("tpm2_readpublic").unwrap().args(["-c", "0x81000001"]));
    let name = said.lines().find_map(|line| line.strip_prefix("name: ")).unwrap().trim().to_owned();
    let house = House::new().key("images", KeyKind::EcP256);
    let house = tpm::section(house, &bus.tcti(), &format!("storage_key_name = \"{name}\""));
    let scene = Scene { house, bus }.make(&["--algorithm", "ecc-p256"]);
    let running = scene.start().await;
    let other = Swtpm::start().unwrap();
    other.provision().unwrap();
    let first = running.scene.bus.exchange(other);
    running.refused(Code::FailedPrecondition, "TOKEN_REPLACED").await;
    let log = running.daemon.log();
    assert!(log.contains("another TPM answers") && log.contains(&name), "{log}");
    running.scene.bus.exchange(first);
    running.serves_again().await;
}
