use super::*;

const MINIMAL: &str = r#"
[[token]]
uri = "pkcs11:token=prod"
module = "/usr/lib/softhsm/libsofthsm2.so"
pin = { file = "/etc/holdfast/prod.pin" }
[[key]]
alias = "images"
uri = "pkcs11:token=prod;object=images"
[[allow]]
user = "root"
to = ["unwrap"]
keys = ["images"]
"#;

fn faults(text: &str) -> Vec<(usize, String)> {
    Config::parse(text).unwrap_err().into_iter().map(|fault| (fault.line, fault.what)).collect()
}

fn fault_of(from: &str, to: &str) -> (usize, String) {
    assert!(MINIMAL.contains(from), "{from}");
    let mut found = faults(&MINIMAL.replace(from, to));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn the_full_file_parses_and_shows_the_defaults() {
    let full = Config::parse(include_str!("../../holdfastd.full.toml")).unwrap();
    let minimal = Config::parse(MINIMAL).unwrap();
    assert_eq!(full.listen.unix, minimal.listen.unix);
    assert_eq!(full.listen.mode, minimal.listen.mode);
    assert_eq!(full.listen.timeout, minimal.listen.timeout);
    assert_eq!(full.state_dir, minimal.state_dir);
    assert_eq!(full.audit_file, minimal.audit_file);
    assert_eq!(full.wrap.provider, minimal.wrap.provider);
    assert_eq!(full.log.level, minimal.log.level);
    assert_eq!(full.log.json, minimal.log.json);
    let pool = |config: &Config| {
        let pool = config.tokens[0].pool;
        (pool.workers, pool.queue, pool.timeout)
    };
    assert_eq!(pool(&full), pool(&minimal));
    assert_eq!(full.keys[0].wraps, minimal.keys[0].wraps);
    assert_eq!(full.keys[0].requirement, minimal.keys[0].requirement);
}

#[test]
fn the_full_file_shows_every_option() {
    // Each section lists what it has when it meets what it has not.
    let full = include_str!("../../holdfastd.full.toml");
    // What stands in a comment beside the one that is shown, or as a section of its own.
    let alternatives = [
        ("[[allow]]", "group"),
        ("[[allow]]", "tls"),
        ("[[allow]]", "loopback"),
        ("[listen]", "tcp"),
        ("[listen.tcp]", "plaintext"),
        ("[[key]]", "kid"),
        ("[[key]]", "openpgp"),
    ];
    for (section, table) in [
        ("[listen]", "[listen]\nx = 1"),
        ("[listen.tcp]", "[listen.tcp]\nx = 1"),
        ("[limits]", "[limits]\nx = 1"),
        ("[state]", "[state]\nx = 1"),
        ("[audit]", "[audit]\nx = 1"),
        ("[log]", "[log]\nx = 1"),
        ("[wrap]", "[wrap]\nx = 1"),
        ("[[token]]", "[[token]]\nx = 1"),
        ("[[key]]", "[[key]]\nx = 1"),
        ("[[allow]]", "[[allow]]\nx = 1"),
    ] {
        let unknown = faults(table).into_iter().find(|(_, what)| what.contains("unknown key")).unwrap().1;
        let (_, options) = unknown.split_once("it has: ").unwrap();
        for option in options.split(", ").filter(|option| !alternatives.contains(&(section, *option))) {
            assert!(full.contains(&format!("\n{option} = ")), "{section} {option} is not in the full file");
        }
    }
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let text =
        "[listen]\nunix = 7\nsocket = \"/x\"\n[[key]]\nalias = \"a b\"\nuri = \"pkcs11:object=x\"\n[frob]\n";
    let found = faults(text);
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 5, 6, 7], "{found:#?}");
    assert!(
        found[1].1.contains("unknown key \"socket\" in [listen]; it has: unix, mode, group, timeout, tcp")
    );
}

#[test]
fn each_fault_says_what_to_do() {
    for (from, to, line, says) in [
        ("\"pkcs11:token=prod\"", "\"pkcs11:token=prod?pin-value=1\"", 3, "PIN"),
        (
            "pin = { file = \"/etc/holdfast/prod.pin\" }",
            "pin = \"1234\"",
            5,
            "a PIN itself does not stand in this file",
        ),
        ("module = \"/usr", "module = \"usr", 4, "absolute"),
        ("object=images", "type=private", 8, "must say which key"),
        ("uri = \"pkcs11:token=prod;", "uri = \"pkcs11:token=test;", 8, "no [[token]] matches"),
        ("user = \"root\"", "user = \"nobody-of-that-name\"", 10, "no user"),
        ("user = \"root\"", "", 9, "exactly one of user, group, tls and loopback"),
        ("[\"unwrap\"]", "[\"decrypt\"]", 11, "wrap or unwrap"),
        ("[\"unwrap\"]", "[]", 9, "needs to"),
        ("keys = [\"images\"]", "keys = [\"image\"]", 12, "no [[key]]"),
    ] {
        let (at, what) = fault_of(from, to);
        assert!(at == line && what.contains(says), "{to}: {at} {what}");
        assert!(!what.contains("1234") && !what.contains("pin-value"), "{what}");
    }
}

#[test]
#[cfg(not(feature = "kmip"))]
fn a_backend_that_is_not_built_in_is_named() {
    let found = faults("[[token]]\nuri = \"kmip:server=kms-1\"\n");
    assert!(found[0].1.contains("built without kmip"), "{found:?}");
}

#[test]
#[cfg(feature = "tpm")]
fn a_tpm_has_a_tcti_one_worker_and_neither_module_nor_pin() {
    let text = |token: &str, key: &str| {
        format!("[[token]]\nuri = \"tpm:\"\n{token}\n[[key]]\nalias = \"a\"\nuri = \"{key}\"\n")
    };
    let (tcti, key) = ("tcti = \"device:/dev/tpmrm0\"", "tpm:file=/etc/holdfast/a.tss");
    let config = Config::parse(&text(tcti, key)).unwrap();
    let tpm = Tpm {
        tcti: "device:/dev/tpmrm0".into(),
        storage_key_name: None,
        exclusive: false,
        pcr_signatures: Vec::new(),
    };
    assert_eq!(config.tokens[0].way, Way::Tpm(tpm));
    assert_eq!(config.tokens[0].pool.workers, 1);
    for (token, key, says) in [
        ("", key, "needs tcti"),
        ("tcti = \"swtpm:path=/run/tpm.sock\"", key, "swtpm:host=127.0.0.1,port=2321"),
        (&format!("{tcti}\nmodule = \"/m.so\""), key, "unknown key \"module\""),
        (&format!("{tcti}\npin = {{ file = \"/p\" }}"), key, "unknown key \"pin\""),
        (&format!("{tcti}\nworkers = 4"), key, "unknown key \"workers\""),
        (tcti, "tpm:file=a.tss", "absolute path"),
        (tcti, "tpm:handle=2", "persistent handle"),
    ] {
        let found = faults(&text(token, key));
        assert!(found.len() == 1 && found[0].1.contains(says), "{token} {key}: {found:?}");
    }
}

#[test]
#[cfg(feature = "kmip")]
fn a_kmip_server_has_addresses_and_what_both_sides_know_each_other_by() {
    const ADDRESSES: &str = "addresses = [\"kms-1a:5696\", \"[::1]:5696\"]";
    const FILES: [&str; 3] = ["ca = \"/ca.pem\"", "cert = \"/c.pem\"", "key = { file = \"/c.key\" }"];
    let text = |lines: &[&str], key: &str| {
        let token = lines.join("\n");
        format!("[[token]]\nuri = \"kmip:server=kms-1\"\n{token}\n[[key]]\nalias = \"a\"\nuri = \"{key}\"\n")
    };
    let [ca, cert, key] = FILES;
    let name = "kmip:server=kms-1;name=images";
    let config = Config::parse(&text(&[ADDRESSES, ca, cert, key], name)).unwrap();
    let kmip = Kmip {
        addresses: vec!["kms-1a:5696".into(), "[::1]:5696".into()],
        ca: "/ca.pem".into(),
        cert: "/c.pem".into(),
        key: "/c.key".into(),
    };
    assert_eq!(config.tokens[0].way, Way::Kmip(kmip));
    assert_eq!(config.tokens[0].pool.workers, 4);
    let faults_of = |lines: &[&str], key: &str| faults(&text(lines, key));
    for (lines, uri, line, says) in [
        (&[ca, cert, key][..], name, 1, "needs addresses"),
        (&[ADDRESSES, cert, key], name, 1, "needs ca"),
        (&[ADDRESSES, ca, key], name, 1, "needs cert"),
        (&[ADDRESSES, ca, cert], name, 1, "needs key = { file"),
        (&["addresses = []", ca, cert, key], name, 3, "addresses is empty"),
        (&["addresses = [\"kms-1\"]", ca, cert, key], name, 3, "a host and a port"),
        (&["addresses = [\"a:1\",\n\"a:1\"]", ca, cert, key], name, 4, "a:1 stands twice"),
        (&[ADDRESSES, "ca = \"ca.pem\"", cert, key], name, 4, "absolute path"),
        (&[ADDRESSES, ca, cert, "key = \"/c.key\""], name, 6, "a private key itself does not stand"),
        (&[ADDRESSES, ca, cert, "key = {}"], name, 6, "key is either { file"),
        (&[ADDRESSES, ca, cert, key, "module = \"/m.so\""], name, 7, "unknown key \"module\""),
        (&[ADDRESSES, ca, cert, key], "kmip:server=kms-1;name=%FF", 9, "UTF-8"),
    ] {
        let found = faults_of(lines, uri);
        assert!(
            found.len() == 1 && found[0].0 == line && found[0].1.contains(says),
            "{lines:?} {uri}: {found:?}"
        );
    }
}

#[test]
fn two_tokens_that_match_a_key_are_a_fault() {
    let text = MINIMAL.replace(
        "[[key]]",
        "[[token]]\nuri = \"pkcs11:\"\nmodule = \"/m.so\"\npin = { file = \"/p\" }\n[[key]]",
    );
    let found = faults(&text);
    assert!(found[0].1.contains("more than one [[token]]"), "{found:?}");
}

#[test]
fn a_key_that_an_alias_has_twice_is_told_where_it_stands() {
    let key = "[[key]]\nalias = \"images\"\nuri = \"pkcs11:token=prod;object=images\"\n";
    let found = faults(&MINIMAL.replace("[[allow]]", &format!("{key}[[allow]]")));
    assert_eq!(found, [(9, "another [[key]] gives images this key".to_owned())]);
}

#[test]
fn a_pin_file_that_is_not_absolute_is_one_fault() {
    let found = faults(&MINIMAL.replace("/etc/holdfast/prod.pin", "prod.pin"));
    assert_eq!(found, [(5, "file must be an absolute path".to_owned())]);
}

#[test]
fn a_kid_leads_to_one_key_and_a_key_has_one_kid() {
    let key = |alias: &str, object: &str, kid: &str| {
        format!("[[key]]\nalias = \"{alias}\"\nuri = \"pkcs11:token=prod;object={object}\"\n{kid}\n")
    };
    let with = |keys: &[String]| MINIMAL.replace("[[allow]]", &format!("{}[[allow]]", keys.concat()));
    let [backup, cold] = ["kid = \"backup-2026\"", "kid = \"cold-2026\""];
    let good = with(&[key("a", "x", backup), key("b", "x", backup), key("c", "y", cold)]);
    assert_eq!(Config::parse(&good).unwrap().keys[1].kid.as_deref(), Some("backup-2026"));
    for (keys, says) in [
        ([key("a", "x", backup), key("b", "y", backup)], "has this kid for another key"),
        ([key("a", "x", backup), key("b", "x", cold)], "has this uri with another kid"),
        ([key("a", "x", backup), key("b", "x", "")], "or without"),
        ([key("a", "x", "kid = \"a b\""), key("b", "y", "")], "kid has 1 to 64 letters"),
    ] {
        let found = faults(&with(&keys));
        assert!(found.len() == 1 && found[0].1.contains(says), "{says}: {found:?}");
    }
}

#[test]
fn unpadding_in_the_daemon_asks_for_its_algorithm_by_name() {
    let key = |lines: &str| MINIMAL.replace("object=images\"", &format!("object=images\"\n{lines}"));
    for lines in ["oaep_sha256_in_daemon = true", "oaep_sha256_in_daemon = true\nalgorithms = [\"RSA-OAEP\"]"]
    {
        let found = faults(&key(lines));
        assert!(found.len() == 1 && found[0].1.contains("list RSA-OAEP-256"), "{found:?}");
    }
    let config =
        Config::parse(&key("oaep_sha256_in_daemon = true\nalgorithms = [\"RSA-OAEP-256\"]")).unwrap();
    let unpadded = |config: &Config| match &config.tokens[0].way {
        Way::Pkcs11 { unpad, .. } => unpad.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(unpadded(&config), [config.keys[0].uri.clone()]);
    assert!(unpadded(&Config::parse(MINIMAL).unwrap()).is_empty());
}

#[test]
fn a_key_for_pkcs1_v1_5_is_for_nothing_else() {
    let key = |lines: &str| MINIMAL.replace("object=images\"", &format!("object=images\"\n{lines}"));
    let config = Config::parse(&key("algorithms = [\"RSA1_5\"]")).unwrap();
    assert_eq!(config.keys[0].algorithms, Some(vec![Algorithm::Rsa1_5]));
    for lines in [
        "algorithms = [\"RSA1_5\", \"RSA-OAEP\"]",
        "algorithms = [\"RSA-OAEP-256\", \"RSA1_5\"]\noaep_sha256_in_daemon = true",
    ] {
        let found = faults(&key(lines));
        assert!(found.len() == 1 && found[0].1.contains("lists RSA1_5 beside others"), "{found:?}");
    }
    let again = |lines: &str| {
        let other = "[[key]]\nalias = \"other\"\nuri = \"pkcs11:token=prod;object=images\"\n";
        key("algorithms = [\"RSA1_5\"]").replace("[[allow]]", &format!("{other}{lines}[[allow]]"))
    };
    assert!(Config::parse(&again("algorithms = [\"RSA1_5\"]\n")).is_ok());
    for lines in ["", "algorithms = [\"RSA-OAEP\"]\n"] {
        let found = faults(&again(lines));
        assert!(found.len() == 1 && found[0].1.contains("is for nothing else"), "{found:?}");
    }
}

#[test]
fn what_is_not_toml_has_a_line_too() {
    let found = faults("[listen\nunix = ");
    assert!(found.iter().all(|(_, what)| !what.is_empty()), "{found:?}");
    assert_eq!(found[0].0, 1);
}

#[test]
fn tcp_is_mutual_tls_or_plaintext_on_loopback() {
    let tcp = |lines: &str| Config::parse(&format!("[listen.tcp]\n{lines}\n{MINIMAL}"));
    let tls = "address = \"0.0.0.0:7443\"\ncert = \"/c\"\nkey = \"/k\"\nclient_ca = \"/ca\"";
    assert!(tcp(tls).unwrap().listen.tcp.unwrap().tls.is_some());
    let plain = "address = \"127.0.0.1:7443\"\nplaintext = true";
    assert!(tcp(plain).unwrap().listen.tcp.unwrap().tls.is_none());
    for (lines, says) in [
        ("address = \"0.0.0.0:7443\"\nplaintext = true", "loopback addresses only"),
        ("address = \"127.0.0.1:7443\"", "needs cert, key and client_ca"),
        ("address = \"127.0.0.1:7443\"\ncert = \"/c\"", "needs cert, key and client_ca"),
        ("address = \"127.0.0.1:7443\"\ncert = \"/c\"\nplaintext = true", "either plaintext or has cert"),
        ("address = \"localhost\"\nplaintext = true", "an IP address and a port"),
        ("plaintext = true", "needs address"),
    ] {
        let found = tcp(lines).unwrap_err();
        assert!(found.len() == 1 && found[0].what.contains(says), "{lines}: {found:?}");
    }
}

#[test]
fn an_openpgp_certificate_is_read_with_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/openpgp");
    let with = |options: &str| MINIMAL.replace("object=images\"", &format!("object=images\"\n{options}"));
    let of = |path: &Path| format!("openpgp = \"{}\"", path.display());
    let good = of(&vectors.join("ec-P-256.asc"));
    assert!(Config::parse(&with(&good)).unwrap().keys[0].openpgp.is_some());
    let listed = format!("{good}\nalgorithms = [\"OpenPGP-ECDH\"]");
    assert!(Config::parse(&with(&listed)).is_ok());
    for (options, says) in [
        (of(&dir.path().join("none.asc")), "none.asc cannot be used: No such file or directory"),
        (of(dir.path()), "cannot be used: is not a file"),
        (of(&vectors.join("ec-P-256.pem")), "ec-P-256.pem cannot be used: not OpenPGP packets"),
        (of(&vectors.join("curve25519.asc")), "cannot be used: it has no OpenPGP key of version 4"),
        ("openpgp = \"images.asc\"".into(), "openpgp must be an absolute path"),
        ("algorithms = [\"OpenPGP-ECDH\"]".into(), "OpenPGP-ECDH, which needs openpgp = the file"),
    ] {
        let found = faults(&with(&options));
        assert!(found.len() == 1 && found[0].1.contains(says), "{options}: {found:?}");
    }
}
