//! Packet, grant, open, receipt, answer: over a token in memory.

mod disturbed;
mod others;
mod symmetric;
mod wrapping;

use std::path::PathBuf;

use holdfast_custody::fake::{FakeToken, Fault};
use holdfast_custody::{Requirement, Settings};
use holdfast_envelope::jwe::{self, To};
use holdfast_wire::{Algorithm, Curve, OptsData, PublicKey, Secret};
use tonic::Code;

use super::*;
use crate::caller::{Caller, Peer};
use crate::config::{Action, Config, Key, Limits, Listen, Log, Rule, Token, Who, Wrap};

#[derive(Clone, Copy)]
struct User(u32);

const ALICE: User = User(1001);
const BOB: User = User(1002);

impl From<User> for Peer {
    fn from(User(uid): User) -> Peer {
        Peer::new(Caller::Unix { uid, gid: uid }, None, None)
    }
}

/// A daemon's engine over a token in memory. Alice may do everything with every key, Bob nothing.
struct House {
    token: FakeToken,
    engine: Arc<Engine>,
    audit_file: PathBuf,
    _dir: tempfile::TempDir,
}

struct Plan {
    token: FakeToken,
    keys: Vec<(&'static str, &'static str, bool)>,
    rules: Vec<Rule>,
    audit_file: Option<PathBuf>,
    workers: usize,
}

fn plan() -> Plan {
    Plan { token: FakeToken::new(), keys: Vec::new(), rules: Vec::new(), audit_file: None, workers: 1 }
}

fn rule(who: User, to: &[Action], alias: &str, labels: &[(&str, &str)]) -> Rule {
    let mut wanted = Labels::default();
    for (name, value) in labels {
        wanted.insert(name, value).unwrap();
    }
    Rule { who: Who::User(who.0), to: to.to_vec(), keys: vec![alias.into()], labels: wanted }
}

fn uri(object: &str) -> String {
    format!("pkcs11:token=t;object={object}")
}

impl Plan {
    /// `object` is a key of the token under `alias`, which Alice may use.
    fn key(mut self, alias: &'static str, object: &'static str) -> Plan {
        self.keys.push((alias, object, true));
        self.rules.push(rule(ALICE, &[Action::Wrap, Action::Unwrap], alias, &[]));
        self
    }

    fn open(self) -> House {
        let dir = tempfile::tempdir().unwrap();
        let audit_file = self.audit_file.unwrap_or_else(|| dir.path().join("audit.jsonl"));
        let keys = self.keys.iter().map(|(alias, object, wraps)| Key {
            alias: (*alias).into(),
            uri: uri(object).parse().unwrap(),
            token: 0,
            kid: object.starts_with("aes").then(|| format!("kid-of-{object}")),
            algorithms: (*object == "rsa1_5").then(|| vec![Algorithm::Rsa1_5]),
            openpgp: None,
            oaep_sha256_in_daemon: false,
            wraps: *wraps,
            requirement: Requirement::default(),
        });
        let config = Config {
            listen: Listen {
                unix: PathBuf::new(),
                mode: 0,
                group: None,
                timeout: Duration::from_secs(5),
                tcp: None,
            },
            limits: Limits {
                connections: 1,
                connections_per_caller: 1,
                requests_per_caller: 1,
                streams_per_connection: 1,
            },
            state_dir: dir.path().to_owned(),
            audit_file: audit_file.clone(),
            log: Log { json: false, level: "info".into() },
            wrap: Wrap { provider: "holdfast".into(), default: None },
            tokens: vec![Token {
                uri: "pkcs11:token=t".parse().unwrap(),
                way: config::Way::Pkcs11 { module: PathBuf::new(), pin: PathBuf::new(), unpad: Vec::new() },
                pool: Settings { workers: self.workers, queue: 8, timeout: Duration::from_secs(5) },
            }],
            keys: keys.collect(),
            rules: self.rules,
        };
        let token = self.token.clone();
        let connect = |_: &Token| -> Arc<holdfast_custody::Connect> {
            let token = token.clone();
            Arc::new(move || token.connect())
        };
        let keyring = Keyring::start(&config, connect, None).unwrap();
        let audit = Audit::open(&audit_file).unwrap();
        let engine = Arc::new(Engine::new(&config, keyring, audit));
        House { token: self.token, engine, audit_file, _dir: dir }
    }
}

impl House {
    async fn unwrap(&self, who: User, packet: &[u8]) -> Result<Unwrapped, Status> {
        self.unwrap_all(who, vec![jwe_packet(packet)]).await
    }

    async fn unwrap_all(&self, who: User, packets: Vec<Wrapped>) -> Result<Unwrapped, Status> {
        let request = Request::begin(who.into(), self.engine.timeout());
        self.engine.clone().unwrap(request, packets).await
    }

    async fn refused(&self, who: User, packet: &[u8]) -> (Code, String) {
        let status = self.unwrap(who, packet).await.err().expect("refused");
        (status.code(), without_id(status.message()))
    }

    async fn wrap(&self, who: User, parameter: &str) -> Result<Vec<u8>, Status> {
        let asked = WrapRequest::parse(wrap_body(parameter).as_bytes()).unwrap();
        self.engine.clone().wrap(Request::begin(who.into(), self.engine.timeout()), asked).await
    }

    fn records(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.audit_file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn without_id(message: &str) -> String {
    message.split(" (request ").next().unwrap().to_owned()
}

fn jwe_packet(bytes: &[u8]) -> Wrapped {
    Wrapped { scheme: "jwe".into(), data: bytes.to_vec() }
}

fn optsdata() -> OptsData {
    OptsData::new(Secret::new(vec![9; 32]), [7; 16], &format!("sha256:{}", "0".repeat(64))).unwrap()
}

fn seal(to: &[(&PublicKey, Algorithm)], labels: &[(&str, &str)]) -> Vec<u8> {
    let mut given = Labels::default();
    for (name, value) in labels {
        given.insert(name, value).unwrap();
    }
    let to: Vec<To<'_>> = to.iter().map(|(key, algorithm)| To { key, algorithm: *algorithm }).collect();
    jwe::seal(&optsdata(), &to, &given).unwrap()
}

fn wrap_body(parameter: &str) -> String {
    // Bytes as arrays, the form of the Rust client.
    let parameter: Vec<u8> = parameter.bytes().collect();
    let opts = optsdata();
    let data = opts.raw().expose();
    format!(
        r#"{{"op":"keywrap","keywrapparams":{{"ec":{{"Parameters":{{"holdfast":[{parameter:?}]}},"DecryptConfig":null}},"optsdata":{data:?}}}}}"#
    )
}

fn same(unwrapped: &Unwrapped) -> bool {
    unwrapped.released.optsdata().raw().expose() == optsdata().raw().expose()
}

#[tokio::test]
async fn what_was_sealed_is_answered_and_recorded() {
    let plan = plan().key("images", "a");
    let key = plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    let packet = seal(&[(&key, Algorithm::RsaOaep)], &[("env", "prod")]);
    let unwrapped = house.unwrap(ALICE, &packet).await.unwrap();
    assert!(same(&unwrapped));
    assert_eq!(unwrapped.alias, "images");
    let records = house.records();
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!((record["event"].as_str(), record["outcome"].as_str()), (Some("unwrap"), Some("released")));
    assert_eq!(record["uid"], ALICE.0);
    assert_eq!(record["labels"]["env"], "prod");
    assert_eq!(record["token_calls"], 1);
    assert_eq!(record["kids"][0], holdfast_envelope::jwk::thumbprint(&key));
    assert!(!records[0].to_string().contains("CQkJ"), "the layer's key in the audit log");
}

#[tokio::test]
async fn denied_and_unknown_look_the_same() {
    let plan = plan().key("images", "a");
    let a = plan.token.generate_rsa(&uri("a"));
    let foreign = FakeToken::new().generate_ec("pkcs11:object=x", Curve::P256);
    let house = plan.open();
    let denied = house.refused(BOB, &seal(&[(&a, Algorithm::RsaOaep)], &[])).await;
    let unknown = house.refused(ALICE, &seal(&[(&foreign, Algorithm::EcdhEsA256Kw)], &[])).await;
    assert_eq!(denied.0, Code::PermissionDenied);
    assert_eq!(denied, unknown);
    assert!(!denied.1.contains("images"));
    assert_eq!(house.token.calls("open"), 0);
}

#[tokio::test]
async fn a_denied_key_is_not_told_from_an_unknown_one_by_its_kid() {
    let mut plan = plan().key("images", "a");
    plan.keys.push(("secret", "b", true));
    let a = plan.token.generate_rsa(&uri("a"));
    let b = plan.token.generate_rsa(&uri("b"));
    let unknown = FakeToken::new().generate_rsa("pkcs11:object=x");
    let house = plan.open();
    let _ = a;
    let to_denied = house.refused(ALICE, &seal(&[(&b, Algorithm::RsaOaep)], &[])).await;
    let to_unknown = house.refused(ALICE, &seal(&[(&unknown, Algorithm::RsaOaep)], &[])).await;
    assert_eq!(to_denied, to_unknown);
    assert_eq!(house.token.calls("open"), 2, "both were tried with the one key that is admitted");
}

#[tokio::test]
async fn a_rule_with_labels_admits_only_packets_that_carry_them() {
    let mut plan = plan().key("images", "a");
    plan.rules = vec![rule(ALICE, &[Action::Unwrap], "images", &[("env", "prod")])];
    let key = plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    let to = [(&key, Algorithm::RsaOaep)];
    assert!(house.unwrap(ALICE, &seal(&to, &[("env", "prod"), ("team", "x")])).await.is_ok());
    for labels in [&[][..], &[("env", "test")]] {
        assert_eq!(house.refused(ALICE, &seal(&to, labels)).await.0, Code::PermissionDenied);
    }
}

#[tokio::test]
async fn wrong_key_bad_padding_and_bad_tag_are_one_answer_after_the_same_token_calls() {
    let plan = plan().key("images", "a");
    let key = plan.token.generate_rsa(&uri("a"));
    let other = FakeToken::new().generate_rsa("pkcs11:object=x");
    let house = plan.open();
    let good = seal(&[(&key, Algorithm::RsaOaep)], &[]);
    let damage = |member: &str| {
        let mut json: serde_json::Value = serde_json::from_slice(&good).unwrap();
        let text = json[member].as_str().unwrap();
        let flipped = if text.starts_with('A') { "B" } else { "A" };
        json[member] = format!("{flipped}{}", &text[1..]).into();
        serde_json::to_vec(&json).unwrap()
    };
    let mut seen = Vec::new();
    for packet in [
        seal(&[(&other, Algorithm::RsaOaep)], &[]),
        damage("encrypted_key"),
        damage("tag"),
        damage("ciphertext"),
        damage("iv"),
    ] {
        let before = (house.token.calls("open"), house.token.calls("probe"));
        let status = house.unwrap(ALICE, &packet).await.err().unwrap();
        let calls = (house.token.calls("open") - before.0, house.token.calls("probe") - before.1);
        let details: Vec<u8> = status.details().iter().copied().filter(|b| !b.is_ascii_hexdigit()).collect();
        seen.push((status.code(), without_id(status.message()), details, calls));
    }
    assert_eq!(seen[0].0, Code::InvalidArgument);
    assert_eq!(seen[0].3, (1, 1));
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_asked_once_however_many_recipients_may_be_its_own() {
    let plan = plan().key("images", "a");
    plan.token.generate_rsa(&uri("a"));
    let strangers: Vec<_> = (0..3).map(|_| FakeToken::new().generate_rsa("pkcs11:object=x")).collect();
    let house = plan.open();
    let to: Vec<_> = strangers.iter().map(|key| (key, Algorithm::RsaOaep)).collect();
    let packet = seal(&to, &[]);
    assert_eq!(house.refused(ALICE, &packet).await.0, Code::InvalidArgument);
    assert_eq!(house.token.calls("open"), 3);
    house.token.set_fault(Some(Fault::Broken));
    assert_eq!(house.refused(ALICE, &packet).await.0, Code::Unavailable);
    assert_eq!(house.token.calls("open"), 4);
}

#[tokio::test]
async fn the_first_recipient_that_opens_wins_without_any_kid() {
    let plan = plan().key("old", "a").key("new", "b");
    plan.token.generate_rsa(&uri("a"));
    let b = plan.token.generate_rsa(&uri("b"));
    let stranger = FakeToken::new().generate_rsa("pkcs11:object=x");
    let house = plan.open();
    let mut json: serde_json::Value =
        serde_json::from_slice(&seal(&[(&stranger, Algorithm::RsaOaep), (&b, Algorithm::RsaOaep)], &[]))
            .unwrap();
    for recipient in json["recipients"].as_array_mut().unwrap() {
        recipient["header"].as_object_mut().unwrap().remove("kid");
    }
    let unwrapped = house.unwrap(ALICE, &serde_json::to_vec(&json).unwrap()).await.unwrap();
    assert!(same(&unwrapped));
    assert_eq!(unwrapped.alias, "new");
    assert_eq!(house.token.calls("open"), 4, "two recipients with each of two keys");
}

#[tokio::test]
async fn a_kid_that_is_known_goes_to_its_key_alone() {
    let plan = plan().key("old", "a").key("new", "b");
    plan.token.generate_rsa(&uri("a"));
    let b = plan.token.generate_rsa(&uri("b"));
    let house = plan.open();
    assert!(house.unwrap(ALICE, &seal(&[(&b, Algorithm::RsaOaep)], &[])).await.is_ok());
    assert_eq!(house.token.calls("open"), 1);
}

#[tokio::test]
async fn no_more_than_eight_token_calls_are_made_for_a_request_and_that_is_told() {
    let plan = plan().key("images", "a");
    plan.token.generate_rsa(&uri("a"));
    let strangers: Vec<_> = (0..9).map(|_| FakeToken::new().generate_rsa("pkcs11:object=x")).collect();
    let house = plan.open();
    let to: Vec<_> = strangers.iter().map(|key| (key, Algorithm::RsaOaep)).collect();
    for (recipients, told) in [(8, "no key that this caller may use"), (9, "more recipients of this packet")]
    {
        let before = house.token.calls("open");
        let (code, message) = house.refused(ALICE, &seal(&to[..recipients], &[])).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains(told), "{recipients}: {message}");
        assert_eq!(house.token.calls("open") - before, 8);
    }
}

#[tokio::test]
async fn packets_are_alternatives_and_the_malformed_one_does_not_spoil_the_other() {
    let plan = plan().key("images", "a");
    let key = plan.token.generate_rsa(&uri("a"));
    let house = plan.open();
    let good = seal(&[(&key, Algorithm::RsaOaep)], &[]);
    let packets =
        vec![jwe_packet(b"{"), Wrapped { scheme: "pkcs7".into(), data: vec![0x30] }, jwe_packet(&good)];
    assert!(same(&house.unwrap_all(ALICE, packets).await.unwrap()));
    let status =
        house.unwrap_all(ALICE, vec![Wrapped { scheme: "age".into(), data: vec![] }]).await.err().unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status.message().contains("schemes jwe, pkcs7, pgp, pkcs11 and provider"),
        "{}",
        status.message()
    );
}
