use std::io::{self, Cursor};

use holdfast_wire::Secret;

use super::relay::{BLOCK_LEN, SHORT};
use super::*;
use crate::cipher::{Encrypted, encrypt, new_key};

/// Lengths around what is read at once, what one thread does alone, what is kept back and what is under way at most.
const LENGTHS: [usize; 11] = [
    0,
    1,
    BLOCK_LEN - 1,
    BLOCK_LEN,
    BLOCK_LEN + 1,
    SHORT as usize,
    SHORT as usize + 1,
    HELD_BACK,
    HELD_BACK + 1,
    2 * HELD_BACK + 7,
    4 * HELD_BACK,
];

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

fn sealed_with(plain: &[u8], optsdata: &OptsData) -> (Vec<u8>, Encrypted) {
    let mut blob = Vec::new();
    let write = |block: &[u8]| {
        blob.extend_from_slice(block);
        Ok(())
    };
    let made = encrypt(plain, plain.len() as u64, optsdata, write, |_| Ok(())).unwrap();
    (blob, made)
}

fn sealed(plain: &[u8]) -> (OptsData, Vec<u8>, Encrypted) {
    let optsdata = new_key(&Digest::of(plain)).unwrap();
    let (blob, made) = sealed_with(plain, &optsdata);
    (optsdata, blob, made)
}

fn whole(blob: &[u8], made: &Encrypted, optsdata: &OptsData) -> Result<Vec<u8>, Error> {
    let mut opened = Vec::new();
    verify_whole(Cursor::new(blob), made.size, &made.public, optsdata)?.release(|block| {
        opened.extend_from_slice(block);
        Ok(())
    })?;
    Ok(opened)
}

/// What was written, whether it failed or not.
fn streamed(blob: impl Read + Send, made: &Encrypted, optsdata: &OptsData) -> (Vec<u8>, Result<(), Error>) {
    let mut opened = Vec::new();
    let write = |block: &[u8]| {
        opened.extend_from_slice(block);
        Ok(())
    };
    let end = stream(blob, made.size, &made.public, optsdata, write, |_| Ok(()));
    (opened, end)
}

#[test]
fn both_ways_give_what_was_encrypted_over_every_border() {
    for len in LENGTHS {
        let plain = plain(len);
        let (optsdata, blob, made) = sealed(&plain);
        assert!(whole(&blob, &made, &optsdata).unwrap() == plain, "{len} bytes");
        let (opened, end) = streamed(&blob[..], &made, &optsdata);
        end.unwrap();
        assert!(opened == plain, "{len} bytes");
    }
}

#[test]
fn a_counter_that_runs_over_starts_again_as_in_one_pass() {
    let plain = plain(3 * BLOCK_LEN + 5);
    for nonce in [[0xff; 16], [&[0x17; 12][..], &[0xff; 4]].concat().try_into().unwrap()] {
        let digest = Digest::of(&plain).to_string();
        let optsdata = OptsData::new(Secret::new(vec![7; 32]), nonce, &digest).unwrap();
        let (blob, made) = sealed_with(&plain, &optsdata);
        assert!(whole(&blob, &made, &optsdata).unwrap() == plain);
    }
}

/// Gives a few bytes at a time, and interruptions between them.
struct Drops<'b>(&'b [u8], bool);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(1009);
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn a_stream_in_drops_is_the_same() {
    let plain = plain(2 * HELD_BACK + 7);
    let (optsdata, blob, made) = sealed(&plain);
    let (opened, end) = streamed(Drops(&blob, false), &made, &optsdata);
    end.unwrap();
    assert!(opened == plain);
}

#[test]
fn what_is_kept_back_is_not_written_when_it_turns_out_wrong() {
    for len in LENGTHS.into_iter().filter(|len| *len > 0) {
        let (optsdata, mut blob, made) = sealed(&plain(len));
        blob[len - 1] ^= 1;
        let (opened, end) = streamed(&blob[..], &made, &optsdata);
        assert!(end.unwrap_err().to_string().contains("the MAC does not match"));
        assert!(opened.len() <= len.saturating_sub(HELD_BACK), "{} of {len}", opened.len());
        assert!(whole(&blob, &made, &optsdata).unwrap_err().to_string().contains("the MAC does not match"));
    }
}

#[test]
fn a_reader_or_writer_that_fails_ends_all_and_is_told() {
    struct Breaks(u64);
    impl Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::ConnectionReset)?;
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    let (optsdata, blob, made) = sealed(&plain(4 * HELD_BACK));
    for after in [0, 1, 7, 30] {
        let (_, end) = streamed(Breaks(after), &made, &optsdata);
        assert_eq!(end.unwrap_err().to_string(), "cannot read the layer: connection reset");
    }
    for after in [0, 1, 7, 30] {
        let mut blocks = 0;
        let full = |_: &[u8]| {
            blocks += 1;
            if blocks > after { Err(Error::image("the pipe is full")) } else { Ok(()) }
        };
        let verified = verify_whole(Cursor::new(&blob), made.size, &made.public, &optsdata).unwrap();
        assert_eq!(verified.release(full).unwrap_err().to_string(), "the pipe is full");
    }
}

#[test]
fn what_the_media_type_does_not_promise_is_found_out() {
    let begins = |head: &[u8], media_type: &str| {
        let (optsdata, blob, made) = sealed(head);
        let verified = verify_whole(Cursor::new(blob), made.size, &made.public, &optsdata).unwrap();
        verified.begins_as(media_type).is_ok()
    };
    let of = |compression: &str| format!("application/vnd.oci.image.layer.v1.tar{compression}+encrypted");
    assert!(begins(b"\x1f\x8b\x08", &of("+gzip")) && !begins(b"\x28\xb5\x2f\xfd", &of("+gzip")));
    assert!(begins(b"\x28\xb5\x2f\xfd...", &of("+zstd")) && begins(b"\x50\x2a\x4d\x18...", &of("+zstd")));
    assert!(!begins(b"\x1f\x8b\x08...", &of("+zstd")) && !begins(b"", &of("+zstd")));
    assert!(begins(b"anything", &of("")) && begins(b"anything", "application/octet-stream"));
}
