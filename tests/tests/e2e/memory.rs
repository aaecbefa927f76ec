//! A forced core dump: all of the daemon's memory, searched for what went through it. The daemon allows
//! none; whoever can force one all the same (root) shall find nothing that is not needed any more.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_e2e::house::{Daemon, House, PATIENCE, me};
use holdfast_e2e::memory::Traces;
use holdfast_e2e::{must, must_fail, rpc};
use holdfast_envelope::jwe::{Sealing, To};
use holdfast_wire::{Algorithm, Labels, OptsData, Secret};
use hsm_sim::KeyKind;
use tonic::transport::Channel;

const PASSWORD: &str = "correct horse battery staple";
const KEYS: [(&str, KeyKind, Algorithm); 2] =
    [("rsa", KeyKind::Rsa2048, Algorithm::RsaOaep), ("ec", KeyKind::EcP256, Algorithm::EcdhEsA256Kw)];

/// A daemon whose memory the test may read, and whatever it was given that must not be there.
struct Scene {
    house: House,
    daemon: Daemon,
    traces: Traces,
    /// `dc` with a private key and a password of the caller's own.
    dc: String,
}

impl Scene {
    fn new() -> Scene {
        let house = House::new().listen_options("timeout = \"2s\"");
        let mut house = KEYS.into_iter().fold(house, |house, (name, kind, _)| house.key(name, kind));
        let mut command = house.holdfastd();
        if me() != 0 {
            // Root may read any process, others one in a user namespace of theirs: they are its root.
            house.allow("user = 0\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"rsa\", \"ec\"]");
            let daemon = house.holdfastd();
            command = hsm_sim::command("unshare", "util-linux").unwrap();
            command.args(["--user", "--map-root-user", "--"]).arg(daemon.get_program());
            command.args(daemon.get_args()).envs(house.hsm.env());
        }
        let daemon = house.start_command(command);
        let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
        let pem = must(openssl.args(["genpkey", "-quiet", "-algorithm", "RSA"]));
        let mut traces = Traces::new();
        traces.bytes("the PIN", house.token.pin().as_bytes(), 8);
        traces.private_key("a caller's private key", &pem);
        traces.bytes("a caller's password", PASSWORD.as_bytes(), 12);
        traces.bytes("a caller's password, in base64", STANDARD.encode(PASSWORD).as_bytes(), 12);
        let dc = format!(
            r#"{{"Parameters":{{"privkeys":["{}"],"privkeys-passwords":["{}"]}}}}"#,
            STANDARD.encode(&pem),
            STANDARD.encode(PASSWORD)
        );
        Scene { house, daemon, traces, dc }
    }

    async fn connect(&self) -> Channel {
        rpc::connect(&self.house.socket()).await
    }

    /// A layer's key that is looked for from here on.
    fn layer_key(&mut self, what: &str) -> OptsData {
        let mut key = vec![0; 32];
        aws_lc_rs::rand::fill(&mut key).unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let optsdata = OptsData::new(Secret::new(key), [4; 16], &digest).unwrap();
        self.traces.layer_key(what, &optsdata);
        optsdata
    }

    /// A packet of which the content encryption key is known too, and looked for.
    fn packet(&mut self, what: &str, alias: &str, algorithm: Algorithm, holds: &OptsData) -> Vec<u8> {
        let labels = Labels::default();
        let mut sealing = Sealing::begin(holds, &labels).unwrap();
        self.traces.bytes(&format!("the CEK of {what}"), sealing.cek().expose(), 8);
        let key = self.house.public_key(alias);
        sealing.add_public_key(&To { key: &key, algorithm }).unwrap();
        sealing.finish().unwrap()
    }

    /// Nothing is there, once what belongs to the last request is gone.
    async fn is_clean(&self) {
        let mut found = BTreeSet::new();
        let search = async {
            loop {
                found = self.traces.search(self.daemon.id()).unwrap().into_iter().collect();
                if found.is_empty() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let clean = tokio::time::timeout(PATIENCE, search).await;
        assert!(clean.is_ok(), "{found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_wrapped_and_unwrapped_is_gone_when_it_is_answered() {
    let mut scene = Scene::new();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..24 {
        let (alias, _, algorithm) = KEYS[number % 2];
        let what = format!("layer {number} wrapped by {alias}");
        let wrapped = scene.layer_key(&what);
        let what = format!("layer {number} unwrapped by {alias}");
        let sealed = scene.layer_key(&what);
        let packet = scene.packet(&what, alias, algorithm, &sealed);
        let (socket, dc) = (scene.house.socket(), scene.dc.clone());
        callers.spawn(async move {
            let own = rpc::wrap_key(&socket, &[alias], wrapped.raw().expose()).await.unwrap();
            for (packet, expected) in [(own, wrapped), (packet, sealed)] {
                let body = rpc::unwrap_body(&packet, &dc);
                let answer = rpc::send_unwrap(rpc::connect(&socket).await, body).await.unwrap();
                assert_eq!(answer, expected.raw().expose());
                let answer = rpc::open(&socket, &packet).await.unwrap();
                assert_eq!(answer.optsdata, expected.raw().expose());
            }
        });
    }
    callers.join_all().await;
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_gone_too() {
    let mut scene = Scene::new();
    for (alias, _, algorithm) in KEYS {
        let opened = scene.layer_key(alias);
        let packet = scene.packet(alias, alias, algorithm, &opened);
        // The token opens it, the tag is wrong.
        let mut damaged: serde_json::Value = serde_json::from_slice(&packet).unwrap();
        damaged["tag"] = "AAAAAAAAAAAAAAAAAAAAAA".into();
        let refused = rpc::unwrap_body(damaged.to_string().as_bytes(), &scene.dc);
        // Parsed up to its end, which is missing.
        let mut broken = rpc::unwrap_body(&packet, &scene.dc);
        broken.truncate(broken.len() - 2);
        let too_long = rpc::unwrap_body(&packet, &format!("[{}]", vec![&*scene.dc; 8000].join(",")));
        for body in [refused, broken, too_long] {
            rpc::send_unwrap(scene.connect().await, body).await.unwrap_err();
        }
        let wrapped = scene.layer_key("of a refused wrap");
        rpc::wrap_key(&scene.house.socket(), &["nothing"], wrapped.raw().expose()).await.unwrap_err();
        // A caller that hangs up in the middle of what it says.
        let channel = scene.connect().await;
        let long = rpc::unwrap_body(&packet, &format!("[{}]", vec![&*scene.dc; 2000].join(",")));
        let _ = tokio::time::timeout(Duration::from_millis(5), rpc::send_unwrap(channel, long)).await;
    }
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stays_open_keeps_nothing() {
    let mut scene = Scene::new();
    let kept = scene.connect().await;
    let mut packet = Vec::new();
    for (alias, _, algorithm) in KEYS {
        let wrapped = scene.layer_key(&format!("wrapped by {alias}"));
        rpc::wrap_on(kept.clone(), &[alias], wrapped.raw().expose()).await.unwrap();
        let sealed = scene.layer_key(&format!("unwrapped by {alias}"));
        packet = scene.packet(&format!("unwrapped by {alias}"), alias, algorithm, &sealed);
        rpc::send_unwrap(kept.clone(), rpc::unwrap_body(&packet, &scene.dc)).await.unwrap();
    }
    scene.is_clean().await;
    // Its end was no error: the next request makes another.
    rpc::unwrap_on(kept, &packet).await.unwrap();
}

#[test]
fn its_own_user_may_not_read_its_memory() {
    let house = House::new().key("images", KeyKind::EcP256);
    if me() != 0 {
        let daemon = house.start();
        for file in ["mem", "maps", "environ"] {
            let refused = std::fs::File::open(format!("/proc/{}/{file}", daemon.id())).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{file}");
        }
        return;
    }
    // As a user of its own, with a program and a token that this user can get at.
    let user = |program: &std::ffi::OsStr| {
        let mut command = hsm_sim::command("setpriv", "util-linux").unwrap();
        command.args(["--reuid=64999", "--regid=64999", "--clear-groups", "--"]).arg(program);
        command
    };
    let program = house.dir.path().join("holdfastd");
    must(Command::new("cp").arg(holdfast_e2e::binary("holdfastd")).arg(&program));
    let config = house.write_config();
    must(Command::new("chown").args(["-R", "64999:64999"]).arg(house.dir.path()).arg(house.hsm.dir()));
    let mut command = user(program.as_os_str());
    command.arg("--config").arg(config).envs(house.hsm.env());
    let daemon = house.start_command(command);
    for file in ["mem", "maps", "environ"] {
        let refused = must_fail(user("cat".as_ref()).arg(format!("/proc/{}/{file}", daemon.id())));
        assert!(refused.contains("Permission denied"), "{refused}");
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let optsdata = OptsData::new(Secret::new((100..132).collect()), [4; 16], "sha256:00").unwrap();
    let raw = optsdata.raw().expose();
    let travels = (STANDARD.encode(raw), format!("{raw:?}").replace(' ', ""));
    let mut traces = Traces::new();
    traces.layer_key("a layer's key", &optsdata);
    let found = traces.search(std::process::id()).unwrap();
    for form in ["raw", "in base64", "base64 of base64", "as an array"] {
        let form = format!("a layer's key, {form} at ");
        assert!(found.iter().any(|one| format!("{one:?}").starts_with(&form)), "{form}: {found:#?}");
    }
    // It lay there until now.
    assert_ne!(travels.0, travels.1);
}
