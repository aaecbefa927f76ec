//! ocicrypt's layer cipher AES_256_CTR_HMAC_SHA256: AES-256-CTR with the nonce as initial counter
//! block, and HMAC-SHA-256 with the same key over the ciphertext.
//!
//! The MAC covers neither the nonce nor anything around the blob, and a stream decrypted on the way
//! is out before its MAC is known. So decryption takes two passes: [`verify`] reads the whole blob
//! and checks size, digest and MAC; only the [`Verified`] that it gives can be decrypted. What the MAC
//! does not cover shows in the plaintext's digest, which whoever writes the plaintext checks.
//! Encryption takes one pass, as what it reads can be checked by its digest. Memory is constant: blocks
//! of 1 MiB. Where nobody else checks the plaintext, [`verify_whole`] and [`stream`] do.

mod encrypt;
mod reader;
mod relay;
#[cfg(test)]
mod tests;
mod whole;

use std::io::{self, Read, Seek, SeekFrom};
use std::thread::{self, ScopedJoinHandle};

use aws_lc_rs::{constant_time, hmac};
use holdfast_wire::{OptsData, Secret};

use crate::digest::Hasher;
use crate::{Digest, Error, PublicOptions};

pub use encrypt::{Encrypted, encrypt, new_key};
pub use reader::Plaintext;
pub use whole::{HELD_BACK, stream, verify_whole};

/// Bytes read and written at once.
pub const BLOCK_LEN: usize = 1 << 20;

/// An encrypted blob whose size, digest and MAC have been checked.
pub struct Verified<'k, F> {
    blob: F,
    size: u64,
    optsdata: &'k OptsData,
}

/// Reads an encrypted blob from its beginning and checks it against the manifest's size and digest
/// and the MAC in its annotations. `on_block` is told each block's length, and may stop the reading.
pub fn verify<'k, F: Read + Seek>(
    mut blob: F,
    size: u64,
    digest: &Digest,
    public: &PublicOptions,
    optsdata: &'k OptsData,
    mut on_block: impl FnMut(usize) -> Result<(), Error>,
) -> Result<Verified<'k, F>, Error> {
    let mut mac = mac_of(optsdata.symkey());
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BLOCK_LEN];
    let mut seen = 0u64;
    blob.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    loop {
        let block = read_block(&mut blob, &mut buffer).map_err(unreadable)?;
        if block.is_empty() {
            break;
        }
        hasher.update(block);
        mac.update(block);
        seen += block.len() as u64;
        if seen > size {
            break;
        }
        on_block(block.len())?;
    }
    check_size(seen, size)?;
    check_digest(&hasher.finish(), digest)?;
    constant_time::verify_slices_are_equal(mac.sign().as_ref(), &public.hmac).map_err(|_| wrong_mac())?;
    Ok(Verified { blob, size, optsdata })
}

impl<'k, F: Read + Seek> Verified<'k, F> {
    /// The plaintext, from the second pass over the blob.
    pub fn plaintext(mut self) -> Result<Plaintext<io::Take<F>>, Error> {
        self.blob.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        // What has been appended since the first pass was not checked.
        Plaintext::new(self.blob.take(self.size), self.optsdata)
    }
}

/// A blob that is not encrypted, checked the same way.
pub(crate) fn check_size(seen: u64, expected: u64) -> Result<(), Error> {
    if seen == expected {
        return Ok(());
    }
    let seen = if seen > expected { "more".to_owned() } else { format!("only {seen}") };
    Err(Error::damaged(format!(
        "the manifest says the blob has {expected} bytes, it has {seen}; copy the image again from its source"
    )))
}

pub(crate) fn check_digest(seen: &Digest, expected: &Digest) -> Result<(), Error> {
    if seen == expected {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "the blob's digest is {}, not that of the manifest; copy the image again from its source",
        seen.short()
    )))
}

/// Fills the buffer as far as the reader goes.
pub(crate) fn read_block<'b>(reader: &mut impl Read, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

fn wrong_mac() -> Error {
    Error::damaged(
        "the MAC does not match: blob, annotations and key were not made together; copy the image again from its source",
    )
}

fn mac_of(symkey: &Secret) -> hmac::Context {
    hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, symkey.expose()))
}

pub(crate) fn unreadable(source: io::Error) -> Error {
    Error::Io { what: "cannot read the layer".to_owned(), source }
}

/// The library answers nothing but "unspecified", and only for a key of the wrong length or without memory.
fn no_cipher(_: aws_lc_rs::error::Unspecified) -> Error {
    Error::Io {
        what: "cannot set up the layer cipher".to_owned(),
        source: io::Error::other("the cryptographic library refused"),
    }
}

pub(crate) fn start<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    thread::Builder::new()
        .spawn_scoped(scope, work)
        .map_err(|source| Error::Io { what: "cannot start a thread".to_owned(), source })
}

/// A thread that panicked has told why; what is left to do is to fail.
pub(crate) fn ended<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T, Error> {
    thread.join().map_err(|_| Error::Io {
        what: "cannot work on the layer".to_owned(),
        source: io::Error::other("a thread ended before its work"),
    })
}
