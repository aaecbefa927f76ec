use der::asn1::ObjectIdentifier;
use der::{Any, Decode as _, Encode as _, TagNumber};

use super::form::{MAX_COMMANDS, MAX_SIGNED, RSA_PARENT, sequence, tagged};
use super::*;

/// Made by tpm2-openssl 1.1.1 in an swtpm: `openssl genpkey -provider tpm2 -algorithm EC -pkeyopt group:P-256`.
const OF_TPM2_OPENSSL: &[u8] = include_bytes!("tpm2-openssl-p256.tss");

fn of_tpm2_openssl() -> KeyFile {
    KeyFile::from_pem(OF_TPM2_OPENSSL).unwrap()
}

fn command(code: u32) -> PolicyCommand {
    PolicyCommand { code, parameters: vec![7; 42] }
}

fn with_policy() -> KeyFile {
    let policy = vec![command(0x17f), command(0x16b)];
    KeyFile { policy, parent: 0x8100_0001, ..of_tpm2_openssl() }
}

fn with_signed_policies() -> KeyFile {
    let named = AuthPolicy { name: Some("6.1".into()), policy: vec![command(0x17f), command(0x16a)] };
    let nameless = AuthPolicy { name: None, policy: vec![command(0x16a)] };
    KeyFile { policy: vec![command(0x16a)], auth_policy: vec![named, nameless], ..of_tpm2_openssl() }
}

fn importable() -> ImportableFile {
    let KeyFile { empty_auth, policy, auth_policy, parent, public, private } = with_signed_policies();
    ImportableFile {
        empty_auth,
        policy,
        auth_policy,
        description: Some("sealed to 000b".into()),
        parent,
        public,
        duplicate: private,
        secret: vec![9; 70],
    }
}

fn der(key: &KeyFile) -> Vec<u8> {
    key.form().to_der().unwrap()
}

/// The same file with another type.
fn of_type(der: &[u8], from: ObjectIdentifier, to: ObjectIdentifier) -> Vec<u8> {
    let (from, to) = (from.to_der().unwrap(), to.to_der().unwrap());
    let at = der.windows(from.len()).position(|window| window == from).unwrap();
    [&der[..at], &to, &der[at + from.len()..]].concat()
}

/// A key file with one more field behind its type (8 bytes) and emptyAuth (5).
fn with_field(key: &KeyFile, number: TagNumber, inner: Vec<u8>) -> Vec<u8> {
    let body = Any::from_der(&der(key)).unwrap().value().to_vec();
    sequence([&body[..13], &tagged(number, inner).unwrap(), &body[13..]].concat()).unwrap()
}

#[test]
fn a_file_of_tpm2_openssl_is_read() {
    let key = of_tpm2_openssl();
    assert!(key.empty_auth);
    assert_eq!((key.parent, key.policy.len(), key.auth_policy.len()), (KeyFile::OWNER, 0, 0));
    assert_eq!((key.public.len(), key.private.len()), (88, 128));
}

#[test]
fn what_is_written_reads_back() {
    let with_password = KeyFile { empty_auth: false, ..with_policy() };
    for key in [of_tpm2_openssl(), with_policy(), with_signed_policies(), with_password] {
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN TSS2 PRIVATE KEY-----\n"), "{pem}");
        assert_eq!(KeyFile::from_pem(pem.as_bytes()).unwrap(), key);
    }
    for key in [importable(), ImportableFile { description: None, auth_policy: Vec::new(), ..importable() }] {
        assert_eq!(ImportableFile::from_pem(key.to_pem().unwrap().as_bytes()).unwrap(), key);
    }
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let loadable = der(&with_signed_policies());
    for end in 0..loadable.len() {
        assert_eq!(KeyFile::from_der(&loadable[..end]).unwrap_err(), DAMAGED, "{end}");
    }
    assert_eq!(KeyFile::from_der(&[loadable.as_slice(), &[0]].concat()).unwrap_err(), DAMAGED);
    let importable = importable().form().to_der().unwrap();
    for end in 0..importable.len() {
        assert_eq!(ImportableFile::from_der(&importable[..end]).unwrap_err(), DAMAGED, "{end}");
    }
    for end in [0, 1, 40, OF_TPM2_OPENSSL.len() - 20] {
        assert_eq!(KeyFile::from_pem(&OF_TPM2_OPENSSL[..end]).unwrap_err(), DAMAGED, "{end}");
        assert_eq!(ImportableFile::from_pem(&OF_TPM2_OPENSSL[..end]).unwrap_err(), DAMAGED, "{end}");
    }
}

#[test]
fn one_form_is_never_taken_for_the_other() {
    let (loadable, importable) = (der(&of_tpm2_openssl()), importable().form().to_der().unwrap());
    assert!(KeyFile::from_der(&importable).unwrap_err().contains("holdfastd key import"));
    assert!(ImportableFile::from_der(&loadable).unwrap_err().contains("nothing to import"));
    // A loadable key has no secret, and an importable one has.
    let with_secret = of_type(&importable, IMPORTABLE, LOADABLE);
    let without = of_type(&loadable, LOADABLE, IMPORTABLE);
    for der in [with_secret, without] {
        assert_eq!(KeyFile::from_der(&der).unwrap_err(), DAMAGED);
        assert_eq!(ImportableFile::from_der(&der).unwrap_err(), DAMAGED);
    }
}

#[test]
fn what_this_version_does_not_use_is_told_by_its_name() {
    let data = of_type(&der(&of_tpm2_openssl()), LOADABLE, SEALED);
    assert!(KeyFile::from_der(&data).unwrap_err().contains("sealed data"));
    assert!(ImportableFile::from_der(&data).unwrap_err().contains("sealed data"));
    let plain = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(KeyFile::from_pem(plain.as_bytes()).unwrap_err().contains("in no TPM"));
    assert!(ImportableFile::from_pem(plain.as_bytes()).unwrap_err().contains("plain private key"));
}

#[test]
fn a_key_under_the_rsa_template_is_refused_and_one_under_a_handle_is_not() {
    let rsa_parent = |key: &KeyFile, truth: bool| {
        KeyFile::from_der(&with_field(key, TagNumber::N5, truth.to_der().unwrap()))
    };
    let (of_owner, of_handle) = (of_tpm2_openssl(), KeyFile { parent: 0x8100_0001, ..of_tpm2_openssl() });
    assert_eq!(rsa_parent(&of_owner, true).unwrap_err(), RSA_PARENT);
    assert_eq!(rsa_parent(&of_owner, false).unwrap(), of_owner);
    assert_eq!(rsa_parent(&of_handle, true).unwrap(), of_handle);
}

#[test]
fn lists_and_files_without_end_are_refused() {
    let too_long = KeyFile { policy: vec![command(0x17f); MAX_COMMANDS + 1], ..of_tpm2_openssl() };
    assert_eq!(KeyFile::from_der(&der(&too_long)).unwrap_err(), DAMAGED);
    let one = AuthPolicy { name: None, policy: vec![PolicyCommand { code: 1, parameters: Vec::new() }] };
    let many = |count| KeyFile { auth_policy: vec![one.clone(); count], ..of_tpm2_openssl() };
    assert_eq!(KeyFile::from_der(&der(&many(MAX_SIGNED))).unwrap(), many(MAX_SIGNED));
    assert_eq!(KeyFile::from_der(&der(&many(MAX_SIGNED + 1))).unwrap_err(), DAMAGED);
    assert!(KeyFile::from_pem(&vec![b'-'; MAX_LEN + 1]).unwrap_err().contains("64 KiB"));
}
