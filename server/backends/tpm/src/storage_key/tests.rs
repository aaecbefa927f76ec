use super::*;

/// Made by tpm2-tools 5.4 in an swtpm, with the Names that tpm2_readpublic told.
const P256: &[u8] = include_bytes!("p256.pub");
const P256_NAME: &str = "000be05e2c993964bdb74b06d002931a86699a642e128a3bd76d13fecbc5c0c7600f";
const RSA: &[u8] = include_bytes!("rsa2048.pub");
const RSA_NAME: &str = "000b498cb63cee67e995ef002bd2ca2dd2d320cb811a5635cb41c05fb6ed8401f231";
/// `-G ecc384:aes256cfb`
const P384: &[u8] = include_bytes!("p384-aes256.pub");
const P384_NAME: &str = "000ba78b7d36207e30fa5b091047faea675ac57a23644d4a72f249763cf52c67134e";
/// tpm2_createek, which is restricted and decrypts as well.
const ENDORSEMENT: &[u8] = include_bytes!("endorsement.pub");

/// The P-256 key with other bytes at a place of its TPM2B_PUBLIC.
fn changed(at: usize, to: &[u8]) -> Vec<u8> {
    let mut structure = P256.to_vec();
    structure[at..at + to.len()].copy_from_slice(to);
    structure
}

#[test]
fn a_storage_key_has_the_name_that_its_tpm_tells() {
    for (structure, name, kind, aes_bits, handle) in [
        (P256, P256_NAME, "P-256", 128, KeyFile::OWNER),
        (RSA, RSA_NAME, "RSA-2048", 128, 0x8100_0001),
        (P384, P384_NAME, "P-384", 256, 0x8100_0001),
    ] {
        let key = StorageKey::from_bytes(structure).unwrap();
        assert_eq!((key.name().to_string().as_str(), key.type_name().as_str()), (name, kind));
        assert_eq!((key.aes_bits(), key.usual_handle()), (aes_bits, handle), "{kind}");
        assert_eq!(key.as_bytes(), structure);
        assert_eq!(name.parse(), Ok(key.name()));
        assert_eq!(name.to_uppercase().parse(), Ok(key.name()));
    }
}

#[test]
fn every_bit_of_it_is_in_its_name() {
    let name = StorageKey::from_bytes(P256).unwrap().name();
    let mut others = 0;
    for bit in 0..8 * P256.len() {
        let other = changed(bit / 8, &[P256[bit / 8] ^ (1 << (bit % 8))]);
        if let Ok(key) = StorageKey::from_bytes(&other) {
            assert_ne!(key.name(), name, "{bit}");
            others += 1;
        }
    }
    assert!(others >= 512, "both coordinates: {others}");
}

#[test]
fn what_a_tpm_would_not_be_bound_by_is_refused() {
    // TPM2B_PUBLIC: size, type, nameAlg, attributes, authPolicy, symmetric (alg, bits, mode), scheme, curve, kdf, x, y.
    for (structure, says) in [
        (changed(6, &[0x00, 0x02, 0x04, 0x72]), "of no storage key"),
        (changed(6, &[0x00, 0x01, 0x04, 0x72]), "of no storage key"),
        (changed(6, &[0x00, 0x07, 0x04, 0x72]), "of no storage key"),
        (changed(6, &[0x00, 0x03, 0x04, 0x70]), "not fixed to one TPM"),
        (changed(6, &[0x00, 0x03, 0x04, 0x62]), "not fixed to one TPM"),
        (changed(6, &[0x00, 0x03, 0x04, 0x52]), "not fixed to one TPM"),
        (changed(6, &[0x00, 0x03, 0x04, 0x32]), "by a policy alone"),
        (ENDORSEMENT.to_vec(), "by a policy alone"),
        (changed(4, &[0x00, 0x0c]), "not by SHA-256"),
        (changed(12, &[0x00, 0x13]), "AES-128-CFB"),
        (changed(14, &[0x00, 0xc0]), "AES-128-CFB"),
        (changed(16, &[0x00, 0x44]), "AES-128-CFB"),
        (changed(18, &[0x00, 0x16]), "TPM2B_PUBLIC"),
        (changed(20, &[0x00, 0x05]), "P-256, P-384 and RSA"),
        (changed(22, &[0x00, 0x20]), "P-256, P-384 and RSA"),
        (changed(2, &[0x00, 0x25]), "P-256, P-384 and RSA"),
    ] {
        let why = StorageKey::from_bytes(&structure).unwrap_err();
        assert!(why.contains(says), "{says}: {why}");
    }
}

#[test]
fn what_is_no_tpm_structure_says_how_to_get_one() {
    let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let why = StorageKey::from_bytes(pem.as_bytes()).unwrap_err();
    assert!(why.contains("in PEM") && why.contains("tpm2-srk-public-key.tpm2b_public"), "{why}");
    for end in 0..P256.len() {
        assert_eq!(StorageKey::from_bytes(&P256[..end]), Err(NO_STORAGE_KEY), "{end}");
    }
    // Cut off with a length that fits, and longer than it says.
    for end in 2..P256.len() {
        let cut = [&(end as u16 - 2).to_be_bytes()[..], &P256[2..end]].concat();
        StorageKey::from_bytes(&cut).unwrap_err();
    }
    assert_eq!(StorageKey::from_bytes(&[P256, &[0]].concat()), Err(NO_STORAGE_KEY));
    // TPMT_PUBLIC without its length, as other tools' options write it.
    assert_eq!(StorageKey::from_bytes(&P256[2..]), Err(NO_STORAGE_KEY));
}

#[test]
fn a_name_of_another_hash_or_length_is_none() {
    for text in
        ["", "000b", &P256_NAME[..67], &format!("{P256_NAME}0"), &P256_NAME.replacen("000b", "000c", 1)]
    {
        assert!(text.parse::<Name>().unwrap_err().contains("000b and 64"), "{text}");
    }
    let with_sign = P256_NAME.replacen("0b", "+b", 1);
    assert!(with_sign.parse::<Name>().is_err());
}
