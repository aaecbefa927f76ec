use std::io::Cursor;

use super::*;

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn what_is_encrypted_comes_back_over_block_borders() {
    for len in [0, 1, 15, 16, BLOCK_LEN - 1, BLOCK_LEN, BLOCK_LEN + 17] {
        let plain = plain(len);
        let mut blob = Vec::new();
        let made = encrypt(&plain[..], &mut blob).unwrap();
        assert_eq!(made.size, len as u64);
        assert_eq!(made.optsdata.digest(), Digest::of(&plain).to_string());
        let verified =
            verify(Cursor::new(&blob), made.size, &made.digest, &made.public, &made.optsdata, |_| Ok(()))
                .unwrap();
        let mut opened = Vec::new();
        verified.plaintext().unwrap().read_to_end(&mut opened).unwrap();
        assert!(opened == plain, "{len} bytes");
    }
}

#[test]
fn size_digest_and_mac_are_each_told() {
    let mut blob = Vec::new();
    let made = encrypt(&plain(1000)[..], &mut blob).unwrap();
    let says = |blob: &[u8], digest: &Digest, public: &PublicOptions| match verify(
        Cursor::new(blob),
        made.size,
        digest,
        public,
        &made.optsdata,
        |_| Ok(()),
    ) {
        Ok(_) => panic!("verified"),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        says(&blob[..999], &made.digest, &made.public),
        "the manifest says the blob has 1000 bytes, it has only 999; copy the image again from its source"
    );
    let longer = [&blob[..], b"x"].concat();
    assert!(says(&longer, &made.digest, &made.public).contains("1000 bytes, it has more"));
    let mut other = blob.clone();
    other[500] ^= 1;
    assert!(says(&other, &made.digest, &made.public).contains("not that of the manifest"));
    // The manifest was changed with the blob: only the MAC sees it.
    assert!(says(&other, &Digest::of(&other), &made.public).contains("the MAC does not match"));
    assert!(says(&blob, &made.digest, &PublicOptions { hmac: [0; 32] }).contains("the MAC does not match"));
}

#[test]
fn what_is_appended_after_the_check_is_not_decrypted() {
    use std::os::unix::fs::FileExt as _;
    let mut file = tempfile::tempfile().unwrap();
    let made = encrypt(&plain(100)[..], &mut file).unwrap();
    let end = file.try_clone().unwrap();
    let verified = verify(file, made.size, &made.digest, &made.public, &made.optsdata, |_| Ok(())).unwrap();
    end.write_all_at(b"more", 100).unwrap();
    let mut opened = Vec::new();
    verified.plaintext().unwrap().read_to_end(&mut opened).unwrap();
    assert_eq!(opened, plain(100));
}
