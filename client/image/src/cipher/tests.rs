use std::io::Cursor;

use super::*;

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

/// The key, the blob, and what is said of it.
fn sealed(plain: &[u8]) -> (OptsData, Vec<u8>, Encrypted) {
    let optsdata = new_key(&Digest::of(plain)).unwrap();
    let mut blob = Vec::new();
    let write = |block: &[u8]| {
        blob.extend_from_slice(block);
        Ok(())
    };
    let made = encrypt(plain, plain.len() as u64, &optsdata, write, |_| Ok(())).unwrap();
    (optsdata, blob, made)
}

#[test]
fn what_is_encrypted_comes_back_over_block_borders() {
    for len in [0, 1, 15, 16, BLOCK_LEN - 1, BLOCK_LEN, BLOCK_LEN + 17] {
        let plain = plain(len);
        let (optsdata, blob, made) = sealed(&plain);
        assert_eq!((made.size, made.digest.clone()), (len as u64, Digest::of(&blob)));
        assert_eq!(optsdata.digest(), Digest::of(&plain).to_string());
        let verified =
            verify(Cursor::new(&blob), made.size, &made.digest, &made.public, &optsdata, |_| Ok(())).unwrap();
        let mut opened = Vec::new();
        verified.plaintext().unwrap().read_to_end(&mut opened).unwrap();
        assert!(opened == plain, "{len} bytes");
    }
}

#[test]
fn size_digest_and_mac_are_each_told() {
    let (optsdata, blob, made) = sealed(&plain(1000));
    let says = |blob: &[u8], digest: &Digest, public: &PublicOptions| match verify(
        Cursor::new(blob),
        made.size,
        digest,
        public,
        &optsdata,
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
    let file = tempfile::tempfile().unwrap();
    let (optsdata, blob, made) = sealed(&plain(100));
    file.write_all_at(&blob, 0).unwrap();
    let end = file.try_clone().unwrap();
    let verified = verify(file, made.size, &made.digest, &made.public, &optsdata, |_| Ok(())).unwrap();
    end.write_all_at(b"more", 100).unwrap();
    let mut opened = Vec::new();
    verified.plaintext().unwrap().read_to_end(&mut opened).unwrap();
    assert_eq!(opened, plain(100));
}

#[test]
fn what_is_not_what_the_key_was_made_for_is_not_encrypted() {
    let good = plain(BLOCK_LEN + 5);
    let optsdata = new_key(&Digest::of(&good)).unwrap();
    let says = |plain: &[u8]| {
        let result = encrypt(plain, good.len() as u64, &optsdata, |_| Ok(()), |_| Ok(()));
        result.unwrap_err().to_string()
    };
    let mut damaged = good.clone();
    damaged[BLOCK_LEN] ^= 1;
    assert!(says(&damaged).contains("not that of the manifest"));
    assert!(says(&good[..9]).contains("it has only 9"));
    assert!(says(&[&good[..], b"x"].concat()).contains("it has more"));
}

#[test]
fn a_failure_of_any_of_the_threads_ends_all_and_is_told() {
    let plain = plain(20 * BLOCK_LEN);
    let optsdata = new_key(&Digest::of(&plain)).unwrap();
    let size = plain.len() as u64;
    let mut blocks = 0;
    let full = |_: &[u8]| {
        blocks += 1;
        if blocks == 3 { Err(Error::image("the disk is full")) } else { Ok(()) }
    };
    let error = encrypt(&plain[..], size, &optsdata, full, |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
    let error = encrypt(&plain[..], size, &optsdata, |_| Ok(()), |_| Err(Error::Cancelled)).unwrap_err();
    assert!(error.is_cancelled());
}

#[test]
fn no_two_keys_are_alike() {
    let digest = Digest::of(b"");
    let (one, other) = (new_key(&digest).unwrap(), new_key(&digest).unwrap());
    assert_ne!(one.symkey().expose(), other.symkey().expose());
    assert_ne!(one.nonce(), other.nonce());
}
