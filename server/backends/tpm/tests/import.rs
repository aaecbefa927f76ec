//! Keys brought into a real swtpm, in plain and sealed, and what of it another TPM or a damaged file makes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use std::fs;

use holdfast_custody::{Binding, Custody, Error, KeyInfo, PrivateKey};
use holdfast_tpm::file::{ImportableFile, KeyFile};
use holdfast_tpm::{StorageKey, seal};
use holdfast_wire::Curve;
use support::{Scene, ec, rsa};

fn import_sealed(scene: &Scene, name: &str, file: &ImportableFile) -> Result<KeyInfo, Error> {
    let pem = file.to_pem().unwrap();
    let made = scene.token.keysmith().unwrap().import_sealed(&scene.uri(name), pem.as_bytes());
    made.map(|made| made.info)
}

fn unfit<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::KeyUnfit(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn told<'a>(custody: &'a Custody, name: &str) -> &'a str {
    &custody.evidence.iter().find(|(told, _)| told == name).unwrap().1
}

fn nothing_is_left(scene: &Scene) {
    let left: Vec<_> =
        fs::read_dir(scene.dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tss")), "{left:?}");
    for handles in ["handles-transient", "handles-loaded-session", "handles-saved-session"] {
        assert_eq!(scene.tool("tpm2_getcap", &[handles]), "", "{handles}");
    }
}

/// The storage key that holdfastd itself would tell.
fn own(scene: &Scene) -> StorageKey {
    scene.token.storage_key().unwrap()
}

#[test]
fn a_key_that_was_brought_in_says_so_and_cannot_leave() {
    let scene = Scene::new();
    for (name, key) in
        [("rsa", rsa(2048)), ("rsa-3072", rsa(3072)), ("p-256", ec(Curve::P256)), ("p-384", ec(Curve::P384))]
    {
        let plain = scene.token.keysmith().unwrap().import(&scene.uri(name), &key).unwrap().info;
        let sealed =
            import_sealed(&scene, &format!("{name}-sealed"), &seal(&key, &own(&scene), None).unwrap())
                .unwrap();
        for info in [&plain, &sealed] {
            assert_eq!(info.public.as_ref(), Some(key.public()));
            let custody = &info.custody;
            assert_eq!((custody.local, custody.extractable), (Some(false), Some(false)));
            assert_eq!((custody.never_extractable, custody.always_sensitive), (Some(false), Some(false)));
            assert!(!custody.is_proven());
            assert!(custody.summary().starts_with("imported, not extractable now"), "{}", custody.summary());
            for attribute in ["fixedTPM", "fixedParent", "sensitiveDataOrigin"] {
                assert_eq!(told(custody, attribute), "false");
            }
            assert_eq!(told(custody, "bound to"), "nothing");
        }
        // Others read what is made here.
        assert_eq!(scene.public(name), *key.public());
        assert_eq!(scene.public(&format!("{name}-sealed")), *key.public());
    }
}

#[test]
fn a_sealed_key_is_imported_under_whatever_storage_key_it_was_sealed_to() {
    for (kind, handle) in
        [("ecc", "0x81000001"), ("rsa2048", "0x81000001"), ("ecc384:aes256cfb", "0x81000001")]
    {
        let scene = Scene::new();
        let to = scene.storage_key(kind, handle);
        assert_eq!(own(&scene), to);
        import_sealed(&scene, "images", &seal(&ec(Curve::P256), &to, None).unwrap()).unwrap();
        let file = KeyFile::from_pem(&fs::read(scene.path("images")).unwrap()).unwrap();
        assert_eq!(file.parent, 0x8100_0001, "{kind}");
    }
    // The owner hierarchy's own, though there is another one by now.
    let scene = Scene::new();
    let file = seal(&ec(Curve::P256), &own(&scene), None).unwrap();
    assert_eq!(file.parent, KeyFile::OWNER);
    scene.storage_key("rsa2048", "0x81000001");
    import_sealed(&scene, "images", &file).unwrap();
    assert_eq!(KeyFile::from_pem(&fs::read(scene.path("images")).unwrap()).unwrap().parent, KeyFile::OWNER);
    // One at a handle of its own, which the file names.
    let to = scene.storage_key("ecc384", "0x81000007");
    let file = ImportableFile { parent: 0x8100_0007, ..seal(&ec(Curve::P256), &to, None).unwrap() };
    import_sealed(&scene, "elsewhere", &file).unwrap();
    scene.token.connect().unwrap().describe(&scene.uri("elsewhere")).unwrap();
}

#[test]
fn what_a_sealed_key_is_bound_to_goes_with_it() {
    let scene = Scene::new();
    let zeros = "00".repeat(32);
    let bound = Binding::Exact(format!("sha256:7={zeros}+11={zeros}").parse().unwrap());
    let file = seal(&ec(Curve::P256), &own(&scene), Some(&bound)).unwrap();
    let info = import_sealed(&scene, "images", &file).unwrap();
    assert_eq!(told(&info.custody, "bound to"), "sha256:7+11, exact values");
    assert_eq!(told(&info.custody, "userWithAuth"), "false");
    assert_eq!(info.custody.extractable, Some(false));
    let imported = KeyFile::from_pem(&fs::read(scene.path("images")).unwrap()).unwrap();
    assert_eq!((&imported.policy, &imported.public), (&file.policy, &file.public));
}

#[test]
fn a_key_sealed_to_another_tpm_names_both_storage_keys_and_leaves_nothing() {
    let (scene, other) = (Scene::new(), Scene::new());
    let theirs = own(&other);
    let file = seal(&ec(Curve::P256), &theirs, None).unwrap();
    let why = unfit(import_sealed(&scene, "images", &file));
    for name in [theirs.name(), own(&scene).name()] {
        assert!(why.contains(&name.to_string()), "{why}");
    }
    assert!(why.contains("holdfastd key storage-key") && why.lines().count() == 1, "{why}");
    // Of another kind than this one's, and from a program that writes no description.
    let theirs = other.storage_key("rsa2048", "0x81000001");
    let file = ImportableFile { description: None, ..seal(&ec(Curve::P256), &theirs, None).unwrap() };
    let why = unfit(import_sealed(&scene, "images", &file));
    assert!(why.contains("another TPM's storage key, or damaged"), "{why}");
    scene.storage_key("rsa2048", "0x81000001");
    let why = unfit(import_sealed(&scene, "images", &file));
    assert!(why.contains("another TPM's storage key, or damaged"), "{why}");
    nothing_is_left(&scene);
}

#[test]
fn a_damaged_sealed_key_is_one_line_and_leaves_nothing() {
    let scene = Scene::new();
    let good = seal(&ec(Curve::P256), &own(&scene), None).unwrap();
    type Damage = fn(&mut ImportableFile);
    let damages: [(Damage, &str); 9] = [
        (|file| *file.duplicate.last_mut().unwrap() ^= 1, "is damaged: its TPM does not take it"),
        (|file| *file.public.last_mut().unwrap() ^= 1, "is damaged: its TPM does not take it"),
        (|file| *file.secret.last_mut().unwrap() ^= 1, "is damaged: its TPM does not take it"),
        (|file| file.duplicate.truncate(40), "TPM structures is none"),
        (|file| file.public.truncate(40), "TPM structures is none"),
        (|file| file.secret.clear(), "TPM structures is none"),
        (|file| file.duplicate = vec![0, 0], "is damaged: its TPM does not take it"),
        (|file| file.secret = vec![0, 0], "is damaged: its TPM does not take it"),
        (|file| file.empty_auth = false, "the key has a password"),
    ];
    for (damage, says) in damages {
        let mut file = good.clone();
        damage(&mut file);
        let why = unfit(import_sealed(&scene, "images", &file));
        assert!(why.contains(says) && why.lines().count() == 1, "{says}: {why}");
    }
    let mut smith = scene.token.keysmith().unwrap();
    let pem = good.to_pem().unwrap();
    smith.import_sealed(&scene.uri("loadable"), pem.as_bytes()).unwrap();
    let loadable = fs::read(scene.path("loadable")).unwrap();
    fs::remove_file(scene.path("loadable")).unwrap();
    for (text, says) in [
        (&loadable[..], "in its TPM already"),
        (&pem.as_bytes()[..pem.len() / 2], "a damaged one"),
        (b"", "a damaged one"),
    ] {
        let why = unfit(smith.import_sealed(&scene.uri("images"), text).map(drop));
        assert!(why.contains(says), "{says}: {why}");
    }
    nothing_is_left(&scene);
}

/// Somebody else's file may say of a key what it likes: what is not known to keep the key is not believed.
#[test]
fn a_sealed_key_whose_policy_is_not_told_is_refused() {
    let scene = Scene::new();
    let zeros = format!("sha256:7={}", "00".repeat(32));
    let file = seal(&ec(Curve::P256), &own(&scene), Some(&Binding::Exact(zeros.parse().unwrap()))).unwrap();
    let untold = ImportableFile { policy: Vec::new(), ..file };
    let why = unfit(import_sealed(&scene, "images", &untold));
    assert!(why.contains("a policy alone") && why.contains("removed again"), "{why}");
    nothing_is_left(&scene);
}

#[test]
fn nothing_is_brought_in_under_a_storage_key_that_may_leave() {
    let scene = Scene::new();
    persist_loose_storage_key(&scene);
    let why = unfit(scene.token.storage_key());
    assert!(why.contains("not fixed to one TPM"), "{why}");
    let why = unfit(scene.token.keysmith().unwrap().import(&scene.uri("images"), &ec(Curve::P256)).map(drop));
    assert!(why.contains("not fixed to one TPM"), "{why}");
    nothing_is_left(&scene);
}

/// TPM2_Import takes sensitiveDataOrigin from whoever wraps, so that it proves nothing of a key that is not fixed.
#[test]
fn a_key_that_is_not_fixed_proves_no_origin_and_leaves_with_its_storage_key() {
    let scene = Scene::new();
    persist_loose_storage_key(&scene);
    let mut token = scene.token.connect().unwrap();
    let [public, private] = ["pub", "priv"].map(|name| scene.at(name));
    let attributes = "sensitivedataorigin|userwithauth|noda|decrypt";
    for (above, handle, extractable) in [("primary", KeyFile::OWNER, false), ("loose", 0x8100_0001, true)] {
        let create =
            ["-Q", "-C", &scene.at(above), "-G", "ecc", "-a", attributes, "-u", &public, "-r", &private];
        scene.tool("tpm2_create", &create);
        scene.tool("tpm2_flushcontext", &["-t"]);
        let file = KeyFile {
            empty_auth: true,
            policy: Vec::new(),
            auth_policy: Vec::new(),
            parent: handle,
            public: fs::read(&public).unwrap(),
            private: fs::read(&private).unwrap(),
        };
        fs::write(scene.path(above), file.to_pem().unwrap()).unwrap();
        let custody = token.describe(&scene.uri(above)).unwrap().custody;
        assert_eq!((custody.local, custody.extractable), (None, Some(extractable)), "{above}");
        assert_eq!(told(&custody, "sensitiveDataOrigin"), "true");
    }
}

/// A storage key that is not fixed to the TPM, below one that is.
fn persist_loose_storage_key(scene: &Scene) {
    let [primary, public, private, key] = ["primary", "pub", "priv", "loose"].map(|name| scene.at(name));
    let fixed = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
    scene.tool("tpm2_createprimary", &["-Q", "-C", "o", "-G", "ecc", "-a", fixed, "-c", &primary]);
    let loose = "sensitivedataorigin|userwithauth|noda|restricted|decrypt";
    let create = ["-Q", "-C", &primary, "-G", "ecc", "-a", loose, "-u", &public, "-r", &private, "-c", &key];
    scene.tool("tpm2_create", &create);
    scene.tool("tpm2_flushcontext", &["-t"]);
    scene.tool("tpm2_evictcontrol", &["-Q", "-C", "o", "-c", &key, "0x81000001"]);
    scene.tool("tpm2_flushcontext", &["-t"]);
}

#[test]
fn a_key_that_no_tpm_takes_is_refused_and_leaves_nothing() {
    let scene = Scene::new();
    let import =
        |key: &PrivateKey| unfit(scene.token.keysmith().unwrap().import(&scene.uri("images"), key).map(drop));
    assert!(import(&ec(Curve::P521)).contains("P-521 is no key for a TPM here"));
    assert!(import(&rsa(4096)).contains("RSA-4096 is no key for a TPM here"));
    fs::write(scene.path("images"), "somebody's").unwrap();
    assert!(import(&ec(Curve::P256)).contains("never overwritten"));
    assert_eq!(fs::read(scene.path("images")).unwrap(), b"somebody's");
    fs::remove_file(scene.path("images")).unwrap();
    nothing_is_left(&scene);
}
