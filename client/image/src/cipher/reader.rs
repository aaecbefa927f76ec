use std::io::{self, BufRead, Read};

use aws_lc_rs::cipher::{AES_256, DecryptionContext, StreamingDecryptingKey, UnboundCipherKey};
use holdfast_wire::OptsData;
use zeroize::Zeroizing;

use super::{BLOCK_LEN, no_cipher, read_block};
use crate::Error;

/// The plaintext of a verified blob, a block at a time.
pub struct Plaintext<R> {
    blob: R,
    key: StreamingDecryptingKey,
    ciphertext: Vec<u8>,
    plaintext: Zeroizing<Vec<u8>>,
    /// The part of `plaintext` that has not been read yet.
    unread: std::ops::Range<usize>,
}

impl<R: Read> Plaintext<R> {
    /// Reachable only through [`super::Verified`]: the blob has been checked.
    pub(super) fn new(blob: R, optsdata: &OptsData) -> Result<Plaintext<R>, Error> {
        let key = UnboundCipherKey::new(&AES_256, optsdata.symkey().expose()).map_err(no_cipher)?;
        let nonce = DecryptionContext::Iv128((*optsdata.nonce()).into());
        Ok(Plaintext {
            blob,
            key: StreamingDecryptingKey::ctr(key, nonce).map_err(no_cipher)?,
            ciphertext: vec![0; BLOCK_LEN],
            plaintext: Zeroizing::new(vec![0; BLOCK_LEN + AES_256.block_len()]),
            unread: 0..0,
        })
    }
}

impl<R: Read> BufRead for Plaintext<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.is_empty() {
            let block = read_block(&mut self.blob, &mut self.ciphertext)?;
            let opened = self
                .key
                .update(block, &mut self.plaintext)
                .map_err(|_| io::Error::other("the cryptographic library refused"))?;
            self.unread = 0..opened.written().len();
        }
        Ok(&self.plaintext[self.unread.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.unread.start = (self.unread.start + amount).min(self.unread.end);
    }
}

impl<R: Read> Read for Plaintext<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
