//! Modules and tokens that are not there, and connections that die.

use std::path::PathBuf;

use holdfast_custody::{Error, Requirement};
use holdfast_pkcs11::{Config, Token};
use holdfast_wire::{Curve, PublicKey, Sealed};
use hsm_sim::KeyKind;

use crate::world::{World, soon, wait, world};

pub(crate) fn no_module() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let no_library = dir.path().join("no-library.so");
    std::fs::write(&no_library, "text").unwrap();
    let missing = dir.path().join("missing.so");
    for (module, says) in [
        (&missing, "No such file"),
        (&no_library, "cannot be loaded"),
        (&dir.path().to_owned(), "cannot be loaded"),
        (&no_pkcs11_library(), "is no PKCS#11 module"),
    ] {
        let config = Config { module: module.clone(), ..world.config(&world.fresh) };
        let error = refused(config);
        let line = error.to_string();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(line.contains(says) && !line.contains('\n'), "{line}");
        assert!(line.contains(module.file_name().unwrap().to_str().unwrap()), "names the path: {line}");
        assert!(line.contains("correct module in its [[token]]"), "says what to do: {line}");
    }
}

pub(crate) fn no_token() {
    let world = world();
    let config = Config { uri: "pkcs11:token=nowhere".parse().unwrap(), ..world.config(&world.fresh) };
    let line = refused(config).to_string();
    assert!(line.contains("matches pkcs11:token=nowhere"), "{line}");
    assert!(line.contains(r#""contract""#), "tells which there are: {line}");
}

pub(crate) fn twins() {
    let world = world();
    let [first, second] = &world.twins;
    let line = refused(world.config(first)).to_string();
    assert!(line.starts_with("2 tokens") && line.contains("add serial="), "{line}");
    for twin in [first, second] {
        let uri = format!("pkcs11:token=twin;serial={}", twin.serial());
        let config = Config { uri: uri.parse().unwrap(), ..world.config(twin) };
        let health = Token::new(config).connect().unwrap().probe().unwrap();
        assert!(health.token.contains(twin.serial()), "{health:?}");
    }
}

pub(crate) fn made_anew() {
    let world = world();
    let token = &world.churn;
    let uri = world.generate(token, "images", 1, KeyKind::EcP256);
    let pool = world.pool(token, 2);
    for _ in 0..3 {
        // Twice, so that both workers may know it, and with the right public half each time.
        for _ in 0..2 {
            let z = wait(pool.open(&uri, Requirement::default(), to_itself(&world, token), soon()));
            assert_eq!(z.unwrap().len(), 32);
        }
        world.hsm().destroy(token, "images").unwrap();
        world.generate(token, "images", 1, KeyKind::EcP256);
    }
    let info = wait(pool.describe(&uri, Requirement::default(), soon())).unwrap();
    assert_eq!(info.public, Some(world.public(token, "images")));
    world.hsm().destroy(token, "images").unwrap();
    let gone = wait(pool.open(&uri, Requirement::default(), point(), soon())).unwrap_err();
    assert_eq!(gone, Error::KeyNotFound);
}

pub(crate) fn logged_out() {
    let world = world();
    let token = &world.logout;
    let uri = world.generate(token, "images", 1, KeyKind::EcP256);
    let sealed = to_itself(&world, token);
    let pool = world.pool(token, 3);
    let mut bare = world.connect(token);
    bare.describe(&uri).unwrap();
    for _ in 0..3 {
        for _ in 0..6 {
            wait(pool.open(&uri, Requirement::default(), sealed.clone(), soon())).unwrap();
        }
        log_out(&world, token);
        assert!(matches!(bare.probe(), Err(Error::Unavailable(_))), "a probe sees it");
        assert!(matches!(bare.open(&uri, &sealed), Err(Error::Unavailable(_))), "and so does an open");
        // Which finds no private key any more, though the key is there.
        assert!(matches!(bare.describe(&uri), Err(Error::Unavailable(_))), "and a description");
        wait(pool.probe(soon())).unwrap();
        bare = world.connect(token);
        bare.open(&uri, &sealed).unwrap();
    }
}

/// Logs the whole process out of a token, as a careless library beside us would.
fn log_out(world: &World, token: &hsm_sim::Token) {
    world.session(token).logout().unwrap();
}

fn refused(config: Config) -> Error {
    Token::new(config).connect().err().expect("no connection")
}

/// Any library that is not one of PKCS#11: the C library this very program uses.
fn no_pkcs11_library() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().filter_map(|line| line.split_whitespace().last());
    let mut libc = libc.filter(|path| path.contains("/libc.so") || path.contains("/ld-musl"));
    libc.next().expect("a C library").into()
}

/// The key's own public point as the ephemeral one: on the curve, and at hand.
fn to_itself(world: &World, token: &hsm_sim::Token) -> Sealed {
    match world.public(token, "images") {
        PublicKey::Ec(public) => Sealed::Ecdh { curve: public.curve, ephemeral: public.point },
        other => panic!("{other:?}"),
    }
}

fn point() -> Sealed {
    Sealed::Ecdh { curve: Curve::P256, ephemeral: vec![4; 65] }
}
