//! Encryption, in one pass over three threads: this one reads, hashes and encrypts, a second hashes what
//! comes out, a third authenticates and writes it. SHA-256 is what the time goes to, three times over,
//! and none of the three waits for another; so even an image with one large layer uses the machine.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use aws_lc_rs::cipher::{AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey};
use aws_lc_rs::rand;
use holdfast_wire::{NONCE_LEN, OptsData, SYMKEY_LEN, Secret};
use zeroize::Zeroizing;

use super::{BLOCK_LEN, check_digest, check_size, ended, mac_of, no_cipher, read_block, start, unreadable};
use crate::digest::Hasher;
use crate::{Digest, Error, PublicOptions};

/// Encrypted blocks that may wait for each of the two threads behind: with those at work, at most 7 MiB.
const QUEUE: usize = 2;

/// What [`encrypt`] made.
#[derive(Debug, Clone)]
pub struct Encrypted {
    /// What goes into the layer's annotations.
    pub public: PublicOptions,
    /// Digest of the encrypted blob.
    pub digest: Digest,
    /// Its size in bytes, which is that of the plaintext.
    pub size: u64,
}

/// A fresh key and nonce for the layer with this digest: what is to be wrapped, and may be before the
/// layer is read.
pub fn new_key(plaintext: &Digest) -> Result<OptsData, Error> {
    let mut symkey = vec![0; SYMKEY_LEN];
    let filled = rand::fill(&mut symkey);
    let symkey = Secret::new(symkey);
    let mut nonce = [0; NONCE_LEN];
    filled.and_then(|()| rand::fill(&mut nonce)).map_err(no_cipher)?;
    OptsData::new(symkey, nonce, &plaintext.to_string()).map_err(|error| Error::image(error.to_string()))
}

/// Encrypts a layer of `size` bytes with a key from [`new_key`], and checks that it has the digest that
/// the key was made for: a damaged layer is not made into a good one. `write` gets the blob in order, from
/// another thread; `on_block` is told the length of each block read, and may stop the work.
pub fn encrypt(
    plaintext: impl Read,
    size: u64,
    optsdata: &OptsData,
    write: impl FnMut(&[u8]) -> Result<(), Error> + Send,
    on_block: impl FnMut(usize) -> Result<(), Error>,
) -> Result<Encrypted, Error> {
    let expected: Digest = optsdata.digest().parse()?;
    let key = UnboundCipherKey::new(&AES_256, optsdata.symkey().expose()).map_err(no_cipher)?;
    let nonce = EncryptionContext::Iv128((*optsdata.nonce()).into());
    let key = StreamingEncryptingKey::less_safe_ctr(key, nonce).map_err(no_cipher)?;

    let (read, digest, hmac) = thread::scope(|scope| {
        let (hash, to_hash) = sync_channel(QUEUE);
        let (store, to_store) = sync_channel(QUEUE);
        let (give_back, free) = channel();
        let give_back_too = give_back.clone();
        let digest = start(scope, move || hash_all(&to_hash, &give_back))?;
        let hmac = start(scope, move || store_all(&to_store, optsdata.symkey(), write, &give_back_too))?;
        let source = Source { plaintext, key, free };
        let read = source.read_all(size, [hash, store], on_block);
        // A blob that cannot be written stops the reading, so that is the error to tell.
        let hmac = ended(hmac)??;
        Ok((read?, ended(digest)?, hmac))
    })?;

    check_size(read.size, size)?;
    check_digest(&read.digest, &expected)?;
    Ok(Encrypted { public: PublicOptions { hmac }, digest, size })
}

/// An encrypted block on its way. The buffer has room for what the library wants behind its output.
struct Block {
    buffer: Vec<u8>,
    len: usize,
}

impl Block {
    fn new() -> Block {
        Block { buffer: vec![0; BLOCK_LEN + AES_256.block_len()], len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// What the first thread has.
struct Source<R> {
    plaintext: R,
    key: StreamingEncryptingKey,
    /// Blocks that both others have done with.
    free: Receiver<Block>,
}

/// What was read of the plaintext: all of it, or the first bytes beyond its size.
struct Plain {
    size: u64,
    digest: Digest,
}

impl<R: Read> Source<R> {
    /// Ends early, without an error of its own, when the others have ended.
    fn read_all(
        mut self,
        size: u64,
        others: [SyncSender<Arc<Block>>; 2],
        mut on_block: impl FnMut(usize) -> Result<(), Error>,
    ) -> Result<Plain, Error> {
        let mut hasher = Hasher::new();
        let mut buffer = Zeroizing::new(vec![0; BLOCK_LEN]);
        let mut seen = 0;
        loop {
            let plain = read_block(&mut self.plaintext, &mut buffer).map_err(unreadable)?;
            seen += plain.len() as u64;
            if plain.is_empty() || seen > size {
                break;
            }
            hasher.update(plain);
            let mut block = self.free.try_recv().unwrap_or_else(|_| Block::new());
            let sealed = self.key.update(plain, &mut block.buffer).map_err(no_cipher)?;
            block.len = sealed.written().len();
            let block = Arc::new(block);
            if others.iter().any(|other| other.send(block.clone()).is_err()) {
                break;
            }
            on_block(plain.len())?;
        }
        Ok(Plain { size: seen, digest: hasher.finish() })
    }
}

fn hash_all(blocks: &Receiver<Arc<Block>>, give_back: &Sender<Block>) -> Digest {
    let mut hasher = Hasher::new();
    for block in blocks {
        hasher.update(block.bytes());
        done_with(block, give_back);
    }
    hasher.finish()
}

/// Gives the HMAC of all of it.
fn store_all(
    blocks: &Receiver<Arc<Block>>,
    symkey: &Secret,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
    give_back: &Sender<Block>,
) -> Result<[u8; 32], Error> {
    let mut mac = mac_of(symkey);
    for block in blocks {
        mac.update(block.bytes());
        write(block.bytes())?;
        done_with(block, give_back);
    }
    let mut hmac = [0; 32];
    hmac.copy_from_slice(mac.sign().as_ref());
    Ok(hmac)
}

/// The last of the two that have a block gives it back.
fn done_with(block: Arc<Block>, give_back: &Sender<Block>) {
    if let Some(block) = Arc::into_inner(block) {
        // Nobody wants it any more once everything has been read.
        let _ = give_back.send(block);
    }
}
