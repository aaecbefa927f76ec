//! What the contract suite does not ask: failover, import, refusals, and what this server states.

use holdfast_custody::{Error, KeyKind};
use holdfast_wire::Secret;
use hsm_sim::Leaf;

use super::server::Server;
use super::support::{named, rsa_key};

pub(crate) const PROMISES: &[(&str, fn())] = &[
    ("the_next_address_is_taken_when_the_first_dies", the_next_address),
    ("all_that_it_states_is_told_and_its_best_version_is_spoken", told),
    ("an_imported_key_is_told_as_imported_whatever_it_says", imported),
    ("a_key_of_another_client_is_not_ours", of_another),
];

fn secret() -> Secret {
    Secret::new(vec![0x5a; 32])
}

fn the_next_address() {
    let mut first = Server::start();
    let (_second, port) = first.beside();
    let token = first.token_at(&[first.port, port], first.client());
    token.keysmith().unwrap().create(&named("images"), KeyKind::Aes256).unwrap();
    let mut kept = token.connect().unwrap();
    let sealed = kept.seal(&named("images"), &secret()).unwrap();
    first.process.kill().unwrap();
    assert!(matches!(kept.open(&named("images"), &sealed), Err(Error::Unavailable(_))));
    let mut next = token.connect().unwrap();
    assert!(next.probe().unwrap().token.ends_with(&format!("at 127.0.0.1:{port}")));
    assert_eq!(next.open(&named("images"), &sealed).unwrap().expose(), secret().expose());
}

fn told() {
    let server = Server::start();
    for (name, kind) in [("aes", KeyKind::Aes256), ("rsa", KeyKind::Rsa(2048))] {
        let custody = server.token().keysmith().unwrap().create(&named(name), kind).unwrap().info.custody;
        // All attributes were taken.
        assert!(!custody.evidence.iter().any(|(name, _)| name == "the server does not take"), "{custody:?}");
        for (name, told) in [
            ("KMIP version", "2.1"),
            ("server", "cosmian"),
            ("State", "Active"),
            ("Sensitive", "true"),
            ("Always Sensitive", "true"),
            ("Extractable", "false"),
            ("Never Extractable", "true"),
        ] {
            assert!(custody.evidence.contains(&(name.into(), told.into())), "{name}: {custody:?}");
        }
        assert_eq!(custody.summary(), "of unproven origin, never extractable");
    }
}

fn imported() {
    let server = Server::start();
    server.token().keysmith().unwrap().import(&named("rsa"), &rsa_key()).unwrap();
    let aes = Secret::new((100..132).collect());
    server.token().keysmith().unwrap().import_secret(&named("aes"), &aes).unwrap();
    for name in ["rsa", "aes"] {
        let custody = server.token().connect().unwrap().describe(&named(name)).unwrap().custody;
        assert_eq!((custody.local, custody.never_extractable), (Some(false), Some(false)), "{name}");
        // Its own word, which is told and not believed.
        let word = ("Never Extractable".into(), "true".into());
        assert!(custody.evidence.contains(&word), "{name}: {custody:?}");
    }
}

fn of_another() {
    let server = Server::start();
    let made = server.token().keysmith().unwrap().create(&named("images"), KeyKind::Aes256).unwrap();
    let stranger = server.authority.issue("stranger", &Leaf::client()).unwrap();
    let mut token = server.token_at(&[server.port], &stranger).connect().unwrap();
    assert_eq!(token.describe(&named("images")).unwrap_err(), Error::KeyNotFound);
    let error = token.describe(&made.uri).unwrap_err();
    assert!(matches!(error, Error::KeyNotFound | Error::KeyUnfit(_)), "{error:?}");
    token.probe().unwrap();
}
