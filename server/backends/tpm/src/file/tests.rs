use super::*;

/// Made by tpm2-openssl 1.1.1 in an swtpm: `openssl genpkey -provider tpm2 -algorithm EC -pkeyopt group:P-256`.
const OF_TPM2_OPENSSL: &[u8] = include_bytes!("tpm2-openssl-p256.tss");

fn of_tpm2_openssl() -> KeyFile {
    KeyFile::from_pem(OF_TPM2_OPENSSL).unwrap()
}

fn with_policy() -> KeyFile {
    let command = |code| PolicyCommand { code, parameters: vec![7; 42] };
    KeyFile { policy: vec![command(0x17f), command(0x16b)], parent: 0x8100_0001, ..of_tpm2_openssl() }
}

#[test]
fn a_file_of_tpm2_openssl_is_read() {
    let key = of_tpm2_openssl();
    assert!(key.empty_auth);
    assert_eq!((key.parent, key.policy.len()), (KeyFile::OWNER, 0));
    assert_eq!((key.public.len(), key.private.len()), (88, 128));
}

#[test]
fn what_is_written_reads_back() {
    for key in [of_tpm2_openssl(), with_policy(), KeyFile { empty_auth: false, ..with_policy() }] {
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN TSS2 PRIVATE KEY-----\n"), "{pem}");
        assert_eq!(KeyFile::from_pem(pem.as_bytes()).unwrap(), key);
    }
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let der = with_policy().to_der().unwrap();
    for end in 0..der.len() {
        assert_eq!(KeyFile::from_der(&der[..end]).unwrap_err(), DAMAGED, "{end}");
    }
    assert_eq!(KeyFile::from_der(&[der.as_slice(), &[0]].concat()).unwrap_err(), DAMAGED);
    for end in [0, 1, 40, OF_TPM2_OPENSSL.len() - 20] {
        assert_eq!(KeyFile::from_pem(&OF_TPM2_OPENSSL[..end]).unwrap_err(), DAMAGED, "{end}");
    }
}

#[test]
fn what_this_version_does_not_use_is_told_by_its_name() {
    let of_type = |oid: ObjectIdentifier| {
        let der = of_tpm2_openssl().to_der().unwrap();
        let (from, to) = (LOADABLE.to_der().unwrap(), oid.to_der().unwrap());
        let at = der.windows(from.len()).position(|window| window == from).unwrap();
        [&der[..at], &to, &der[at + from.len()..]].concat()
    };
    assert!(KeyFile::from_der(&of_type(IMPORTABLE)).unwrap_err().contains("importable"));
    assert!(KeyFile::from_der(&of_type(SEALED)).unwrap_err().contains("sealed data"));
    let signed = {
        let der = of_tpm2_openssl().to_der().unwrap();
        let body = Any::from_der(&der).unwrap().value().to_vec();
        let field = tagged(TagNumber::N3, sequence(Vec::new()).unwrap()).unwrap();
        // Behind the type (8 bytes) and emptyAuth (5).
        sequence([&body[..13], &field, &body[13..]].concat()).unwrap()
    };
    assert!(KeyFile::from_der(&signed).unwrap_err().contains("signed policy"));
    let plain = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(KeyFile::from_pem(plain.as_bytes()).unwrap_err().contains("in no TPM"));
}

#[test]
fn a_policy_without_end_and_a_file_without_end_are_refused() {
    let command = PolicyCommand { code: 0x17f, parameters: vec![7; 4] };
    let key = KeyFile { policy: vec![command; MAX_COMMANDS + 1], ..of_tpm2_openssl() };
    assert_eq!(KeyFile::from_der(&key.to_der().unwrap()).unwrap_err(), DAMAGED);
    assert!(KeyFile::from_pem(&vec![b'-'; MAX_LEN + 1]).unwrap_err().contains("64 KiB"));
}
