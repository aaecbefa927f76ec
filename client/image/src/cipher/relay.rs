//! One pass over a ciphertext: a thread reads it and looks at every block, and hands it on to the caller's,
//! which gets the plaintext.
//!
//! Hashing is what the time goes to, and each of the two hashes is a chain that only one thread can follow.
//! Decrypting is done by whoever has less to do: the first thread does it when the second has enough blocks
//! waiting. A block is decrypted where it lies, and is small enough to stay in a core's cache from the
//! reading to the hashing.

use std::io::Read;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use holdfast_wire::OptsData;
use zeroize::Zeroizing;

use super::{ended, no_cipher, read_block, start, unreadable};
use crate::Error;

/// Bytes read and decrypted at once.
pub(super) const BLOCK_LEN: usize = 128 * 1024;
/// Most blocks between the reading and the taking.
const MOST: usize = 8;
/// Blocks that wait for the second thread when the first has time to decrypt for it.
const AHEAD: usize = 6;
/// Bytes of a layer for which a second thread costs more than it saves.
pub(super) const SHORT: u64 = 2 * BLOCK_LEN as u64;

/// Reads `size` bytes, or as many as there are: what lies behind them is left. `sealed` is shown each block's
/// ciphertext and `opened` its plaintext, both in order. Gives the source back, and how many bytes it gave.
pub(super) fn run<R: Read + Send>(
    source: R,
    size: u64,
    optsdata: &OptsData,
    sealed: impl FnMut(&[u8]) + Send,
    mut opened: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(R, u64), Error> {
    let cipher = Cipher::new(optsdata)?;
    let mut front = Front { source, left: size, read: 0, sealed };
    if size <= SHORT {
        let mut block = Block::new(size.min(BLOCK_LEN as u64));
        while front.next(&mut block)? {
            opened(cipher.open(&mut block)?)?;
        }
        return Ok((front.source, front.read));
    }
    thread::scope(|scope| {
        let (hand, handed) = mpsc::sync_channel(MOST);
        let (give_back, given_back) = mpsc::channel();
        let cipher = &cipher;
        let reading = start(scope, move || front.run(cipher, &hand, &given_back))?;
        let taken = take(cipher, handed, &give_back, &mut opened);
        drop(give_back);
        let (source, read) = ended(reading)??;
        taken.map(|()| (source, read))
    })
}

/// Takes the blocks until the first thread has no more, or has failed and tells it.
fn take(
    cipher: &Cipher<'_>,
    handed: Receiver<Block>,
    give_back: &Sender<Block>,
    opened: &mut impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    for mut block in handed {
        opened(cipher.open(&mut block)?)?;
        // Not wanted any more at the end.
        let _ = give_back.send(block);
    }
    Ok(())
}

/// The first thread's part.
struct Front<R, S> {
    source: R,
    left: u64,
    read: u64,
    sealed: S,
}

impl<R: Read, S: FnMut(&[u8])> Front<R, S> {
    fn run(
        mut self,
        cipher: &Cipher<'_>,
        hand: &SyncSender<Block>,
        given_back: &Receiver<Block>,
    ) -> Result<(R, u64), Error> {
        let mut made = 0;
        let mut spare = Vec::with_capacity(MOST);
        loop {
            spare.extend(given_back.try_iter());
            let waiting = made - spare.len();
            let mut block = match spare.pop() {
                Some(block) => block,
                None if made < MOST => {
                    made += 1;
                    Block::new(BLOCK_LEN as u64)
                }
                None => match given_back.recv() {
                    Ok(block) => block,
                    Err(_) => break,
                },
            };
            if !self.next(&mut block)? {
                break;
            }
            if waiting >= AHEAD {
                cipher.open(&mut block)?;
            }
            if hand.send(block).is_err() {
                break;
            }
        }
        Ok((self.source, self.read))
    }

    /// Fills the block, if anything is left.
    fn next(&mut self, block: &mut Block) -> Result<bool, Error> {
        let most = usize::try_from(self.left).unwrap_or(BLOCK_LEN).min(block.buffer.len());
        block.len = read_block(&mut self.source, &mut block.buffer[..most]).map_err(unreadable)?.len();
        block.at = self.read;
        block.opened = false;
        self.read += block.len as u64;
        self.left = if block.len < most { 0 } else { self.left - block.len as u64 };
        (self.sealed)(&block.buffer[..block.len]);
        Ok(block.len > 0)
    }
}

struct Block {
    buffer: Zeroizing<Vec<u8>>,
    len: usize,
    /// Where it lies in the layer, in bytes.
    at: u64,
    opened: bool,
}

impl Block {
    fn new(room: u64) -> Block {
        let room = usize::try_from(room).unwrap_or(BLOCK_LEN);
        Block { buffer: Zeroizing::new(vec![0; room]), len: 0, at: 0, opened: false }
    }
}

struct Cipher<'k> {
    key: DecryptingKey,
    nonce: &'k [u8; 16],
}

impl Cipher<'_> {
    fn new(optsdata: &OptsData) -> Result<Cipher<'_>, Error> {
        let key = UnboundCipherKey::new(&AES_256, optsdata.symkey().expose()).map_err(no_cipher)?;
        Ok(Cipher { key: DecryptingKey::ctr(key).map_err(no_cipher)?, nonce: optsdata.nonce() })
    }

    /// The block's plaintext. Counter mode starts anywhere: each 16 bytes count one.
    fn open<'b>(&self, block: &'b mut Block) -> Result<&'b [u8], Error> {
        let bytes = &mut block.buffer[..block.len];
        if !block.opened {
            let before = u128::from(block.at) / AES_256.block_len() as u128;
            let counter = u128::from_be_bytes(*self.nonce).wrapping_add(before).to_be_bytes();
            self.key.decrypt(bytes, DecryptionContext::Iv128(counter.into())).map_err(no_cipher)?;
            block.opened = true;
        }
        Ok(bytes)
    }
}
