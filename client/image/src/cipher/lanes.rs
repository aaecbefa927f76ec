//! One pass over a ciphertext on two threads. Each block is read once and decrypted once, and goes to two
//! lanes: `Sealed` gets the ciphertext, `Opened` the plaintext, both in order.
//!
//! Hashing is what the time goes to, and each of the two hashes is a chain that only one thread can follow.
//! Reading and decrypting is done by whoever has nothing to do in its own lane: that is the thread that is
//! ahead, so both move at the same pace without a plan. Blocks are small enough to stay in a core's cache
//! from the reading to the hashing, and at most [`RING`] of them are under way.

use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::cipher::{AES_256, DecryptionContext, StreamingDecryptingKey, UnboundCipherKey};
use holdfast_wire::OptsData;
use zeroize::Zeroizing;

use super::{no_cipher, read_block, unreadable};
use crate::Error;

/// Bytes read and decrypted at once.
pub(super) const CHUNK_LEN: usize = 64 * 1024;
/// Most blocks between the reading and the slower lane.
const RING: usize = 16;
const RING_LEN: u64 = RING as u64;
/// Bytes that may lie between the reading and a lane that has not begun.
pub(super) const MOST_UNDER_WAY: u64 = RING_LEN * CHUNK_LEN as u64;

/// Which bytes a thread wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The ciphertext.
    Sealed = 0,
    /// The plaintext.
    Opened = 1,
}

/// A pass that is under way.
pub(super) struct Lanes<'k, R> {
    optsdata: &'k OptsData,
    /// Bytes to read: what lies behind them is left.
    size: u64,
    state: Mutex<State<R>>,
    changed: Condvar,
}

/// A block on its way. The buffer has room for what the library wants behind its output.
#[derive(Default)]
struct Block {
    buffer: Zeroizing<Vec<u8>>,
    len: usize,
}

struct State<R> {
    /// Away while a thread reads.
    source: Option<R>,
    /// Blocks and bytes read.
    blocks: u64,
    bytes: u64,
    ended: bool,
    lanes: [Queue; 2],
    free: Vec<Block>,
    /// What a block has room for.
    room: usize,
    failure: Option<Error>,
}

/// Blocks that wait in a lane, by their number modulo [`RING`].
#[derive(Default)]
struct Queue {
    wanted: bool,
    waiting: [Option<Block>; RING],
    /// Blocks taken and done with.
    done: u64,
}

/// What a thread does next.
enum Step<R> {
    Take(Block),
    Read(R, Block, Block),
}

impl<'k, R: Read> Lanes<'k, R> {
    /// A pass over `size` bytes, or as many as there are. Each of the lanes in `wanted` needs its thread.
    pub(super) fn new(source: R, size: u64, optsdata: &'k OptsData, wanted: &[Lane]) -> Lanes<'k, R> {
        let mut lanes: [Queue; 2] = Default::default();
        for &lane in wanted {
            lanes[lane as usize].wanted = true;
        }
        let state = State {
            source: Some(source),
            blocks: 0,
            bytes: 0,
            ended: size == 0,
            lanes,
            free: Vec::new(),
            room: usize::try_from(size).unwrap_or(CHUNK_LEN).min(CHUNK_LEN) + AES_256.block_len(),
            failure: None,
        };
        Lanes { optsdata, size, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A thread's part: `take` gets every block of the lane. Without one it only reads and decrypts. Ends
    /// when all is done, or early when any part has failed.
    pub(super) fn work(&self, lane: Option<Lane>, mut take: impl FnMut(&[u8]) -> Result<(), Error>) {
        while let Some(step) = self.next(lane) {
            let done = match step {
                Step::Take(block) => {
                    let taken = take(&block.buffer[..block.len]);
                    taken.map(|()| self.lock().taken(lane, block))
                }
                Step::Read(source, sealed, opened) => self.read(source, sealed, opened),
            };
            if let Err(error) = done {
                self.lock().failure.get_or_insert(error);
            }
            self.changed.notify_all();
        }
    }

    /// The source again and how many bytes it gave, when every part has ended.
    pub(super) fn end(self) -> Result<(R, u64), Error> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (state.failure, state.source) {
            (None, Some(source)) => Ok((source, state.bytes)),
            (failure, _) => {
                Err(failure.unwrap_or_else(|| unreadable(io::Error::other("a thread ended early"))))
            }
        }
    }

    fn next(&self, lane: Option<Lane>) -> Option<Step<R>> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(block) = state.waiting(lane) {
                return Some(Step::Take(block));
            }
            if state.is_over(lane) {
                return None;
            }
            if !state.ended
                && state.has_room()
                && let Some(source) = state.source.take()
            {
                let (sealed, opened) = (state.block(), state.block());
                return Some(Step::Read(source, sealed, opened));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads the next block, lets the next one be read, and decrypts this one meanwhile.
    fn read(&self, mut source: R, mut sealed: Block, mut opened: Block) -> Result<(), Error> {
        let left = self.size - self.lock().bytes;
        let most = usize::try_from(left).unwrap_or(CHUNK_LEN).min(CHUNK_LEN);
        sealed.len = read_block(&mut source, &mut sealed.buffer[..most]).map_err(unreadable)?.len();
        let number = {
            let mut state = self.lock();
            state.source = Some(source);
            state.bytes += sealed.len as u64;
            state.ended = sealed.len < most || state.bytes == self.size;
            state.blocks += u64::from(sealed.len > 0);
            state.blocks
        };
        self.changed.notify_all();
        let Some(number) = number.checked_sub(1).filter(|_| sealed.len > 0) else {
            return Ok(());
        };
        self.open(number, &sealed, &mut opened)?;
        self.lock().put(number, sealed, opened);
        Ok(())
    }

    /// Counter mode starts anywhere: each block of the cipher's own 16 bytes counts one.
    fn open(&self, number: u64, sealed: &Block, opened: &mut Block) -> Result<(), Error> {
        let before = u128::from(number) * (CHUNK_LEN / AES_256.block_len()) as u128;
        let counter = u128::from_be_bytes(*self.optsdata.nonce()).wrapping_add(before).to_be_bytes();
        let key = UnboundCipherKey::new(&AES_256, self.optsdata.symkey().expose()).map_err(no_cipher)?;
        let mut key =
            StreamingDecryptingKey::ctr(key, DecryptionContext::Iv128(counter.into())).map_err(no_cipher)?;
        let update = key.update(&sealed.buffer[..sealed.len], &mut opened.buffer).map_err(no_cipher)?;
        opened.len = update.written().len();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    fn waiting(&mut self, lane: Option<Lane>) -> Option<Block> {
        let queue = &mut self.lanes[lane? as usize];
        queue.waiting[(queue.done % RING_LEN) as usize].take()
    }

    fn is_over(&self, lane: Option<Lane>) -> bool {
        self.ended && lane.is_none_or(|lane| self.lanes[lane as usize].done == self.blocks)
    }

    fn has_room(&self) -> bool {
        let slowest = self.lanes.iter().filter(|queue| queue.wanted).map(|queue| queue.done).min();
        self.blocks - slowest.unwrap_or(self.blocks) < RING_LEN
    }

    fn block(&mut self) -> Block {
        let room = self.room;
        self.free.pop().unwrap_or_else(|| Block { buffer: Zeroizing::new(vec![0; room]), len: 0 })
    }

    fn put(&mut self, number: u64, sealed: Block, opened: Block) {
        for (queue, block) in self.lanes.iter_mut().zip([sealed, opened]) {
            if queue.wanted {
                queue.waiting[(number % RING_LEN) as usize] = Some(block);
            } else {
                self.free.push(block);
            }
        }
    }

    fn taken(&mut self, lane: Option<Lane>, block: Block) {
        if let Some(lane) = lane {
            self.lanes[lane as usize].done += 1;
        }
        self.free.push(block);
    }
}
