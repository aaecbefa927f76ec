//! A layer that is opened for somebody else: nobody but us looks at what it decrypts to before it is used,
//! so the plaintext's digest, which was wrapped with its key, is checked together with the MAC. (The MAC
//! covers neither the nonce nor the digest.)
//!
//! From a file nothing is released before all of it has been checked: [`verify_whole`], then
//! [`Verified::release`]. What comes through a pipe can be read once only: [`stream`] releases it on the way,
//! in constant memory, and keeps the end back until the verdict.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};

use aws_lc_rs::{constant_time, hmac};
use holdfast_wire::OptsData;
use zeroize::Zeroizing;

use super::{Verified, check_size, mac_of, relay, unreadable};
use crate::digest::Hasher;
use crate::media::{self, Compression};
use crate::{Digest, Error, PublicOptions};

/// Plaintext kept back until the verdict, in bytes.
pub const HELD_BACK: usize = 1 << 20;

/// Reads an encrypted blob from its beginning and checks size and MAC, and the digest of what it decrypts to.
pub fn verify_whole<'k, F: Read + Seek + Send>(
    mut blob: F,
    size: u64,
    public: &PublicOptions,
    optsdata: &'k OptsData,
) -> Result<Verified<'k, F>, Error> {
    let digest = expected(optsdata)?;
    blob.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut hasher = Hasher::new();
    let (mut blob, bytes, mac) = pass(blob, size, optsdata, |plain| {
        hasher.update(plain);
        Ok(())
    })?;
    let more = blob.read(&mut [0]).map_err(unreadable)? as u64;
    check_size(bytes + more, size)?;
    check(&mac, public, &hasher.finish(), &digest)?;
    Ok(Verified { blob, size, optsdata })
}

impl<F: Read + Seek + Send> Verified<'_, F> {
    /// Itself, if the plaintext begins as the layer's media type says. Anybody can make a key and a MAC for
    /// somebody else's blob, and wrap that key to a public one; what comes out then is no gzip by chance only.
    pub fn begins_as(mut self, media_type: &str) -> Result<Self, Error> {
        const HEAD_LEN: u64 = 4;
        let mut head = Vec::new();
        self.blob.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let take = |plain: &[u8]| {
            head.extend_from_slice(plain);
            Ok(())
        };
        relay::run(&mut self.blob, self.size.min(HEAD_LEN), self.optsdata, |_| {}, take)?;
        let fits = match media::compression(media_type) {
            Some(Compression::Gzip) => head.starts_with(&[0x1f, 0x8b]),
            // A frame, or one to be skipped (RFC 8878, sections 3.1.1 and 3.1.2).
            Some(Compression::Zstd) => {
                head == [0x28, 0xb5, 0x2f, 0xfd] || (head.ends_with(&[0x2a, 0x4d, 0x18]) && head[0] >> 4 == 5)
            }
            Some(Compression::None) | None => true,
        };
        if fits {
            return Ok(self);
        }
        Err(Error::damaged(
            "it does not decrypt to what its media type says; the packet was made for another layer: copy the image again from its source",
        ))
    }

    /// Decrypts it to `write`, in a second pass over the blob. What has been appended since was not
    /// checked and is not read.
    pub fn release(mut self, write: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.blob.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let (_, bytes) = relay::run(self.blob, self.size, self.optsdata, |_| {}, write)?;
        check_size(bytes, self.size)
    }
}

/// Decrypts `size` bytes to `write` as they come, all but the last [`HELD_BACK`], which follow when size,
/// MAC and digest have turned out right. `at_end` says whether nothing follows the blob.
pub fn stream<R: Read + Send>(
    blob: R,
    size: u64,
    public: &PublicOptions,
    optsdata: &OptsData,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
    at_end: impl FnOnce(R) -> Result<(), Error>,
) -> Result<(), Error> {
    let digest = expected(optsdata)?;
    let mut hasher = Hasher::new();
    let mut held = Held::default();
    let (blob, bytes, mac) = pass(blob, size, optsdata, |plain| {
        hasher.update(plain);
        held.push(plain, &mut write)
    })?;
    check_size(bytes, size)?;
    check(&mac, public, &hasher.finish(), &digest)?;
    at_end(blob)?;
    held.blocks.iter().try_for_each(|block| write(block))
}

/// The plaintext that is to wait.
#[derive(Default)]
struct Held {
    blocks: VecDeque<Zeroizing<Vec<u8>>>,
    len: usize,
}

impl Held {
    /// Takes a block in, and writes the oldest one when enough are held without it.
    fn push(
        &mut self,
        plain: &[u8],
        write: &mut impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut block = Zeroizing::new(Vec::new());
        let enough = |oldest: &Zeroizing<Vec<u8>>| self.len + plain.len() - oldest.len() >= HELD_BACK;
        if self.blocks.front().is_some_and(enough)
            && let Some(oldest) = self.blocks.pop_front()
        {
            write(&oldest)?;
            self.len -= oldest.len();
            block = oldest;
            block.clear();
        }
        block.reserve_exact(relay::BLOCK_LEN);
        block.extend_from_slice(plain);
        self.len += plain.len();
        self.blocks.push_back(block);
        Ok(())
    }
}

/// One pass: `take` gets the plaintext. Gives the source back, the bytes read and the MAC over them.
fn pass<R: Read + Send>(
    source: R,
    size: u64,
    optsdata: &OptsData,
    take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(R, u64, hmac::Tag), Error> {
    let mut mac = mac_of(optsdata.symkey());
    let (source, bytes) = relay::run(source, size, optsdata, |sealed| mac.update(sealed), take)?;
    Ok((source, bytes, mac.sign()))
}

/// The digest that was wrapped with the key, which every writer gives.
fn expected(optsdata: &OptsData) -> Result<Digest, Error> {
    optsdata.digest().parse().map_err(|_| {
        Error::image(
            "what was wrapped with its key says no digest (sha256) of what it decrypts to, so it cannot be checked; encrypt the image again",
        )
    })
}

fn check(mac: &hmac::Tag, public: &PublicOptions, found: &Digest, expected: &Digest) -> Result<(), Error> {
    constant_time::verify_slices_are_equal(mac.as_ref(), &public.hmac).map_err(|_| super::wrong_mac())?;
    if found == expected {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "it decrypts to {}, not to the digest that was wrapped with its key; the packet was damaged or made for another layer: copy the image again from its source",
        found.short()
    )))
}

#[cfg(test)]
mod tests;
