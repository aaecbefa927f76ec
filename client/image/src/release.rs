//! The one place where plaintext is written: each block goes out as it is hashed, and the layer
//! counts for nothing until both digests have come out right.

use std::io::{self, BufRead, Read, Write};

use crate::compression::diff_id;
use crate::digest::Hasher;
use crate::media::Compression;
use crate::{Digest, Error};

/// What a plaintext layer must turn out to be.
pub(crate) struct Expected {
    /// The digest in the packet; ocicrypt's writers always give one.
    pub(crate) digest: Option<Digest>,
    /// The config's diff id, and how the tar under it is compressed.
    pub(crate) diff_id: Option<(Digest, Compression)>,
}

/// Writes `plaintext` to `out`, which an error calls `place`, and checks it. Gives its digest and
/// size in bytes.
pub(crate) fn release(
    plaintext: impl BufRead,
    out: impl Write,
    place: &str,
    expected: &Expected,
    on_block: &mut dyn FnMut(usize) -> Result<(), Error>,
) -> Result<(Digest, u64), Error> {
    let mut tee =
        Tee { plaintext, out, place, on_block, hasher: Hasher::new(), size: 0, fresh: 0, failure: None };
    let uncompressed = match &expected.diff_id {
        Some((_, compression)) => diff_id(*compression, &mut tee).map(Some),
        None => Ok(None),
    };
    // A decoder may stop before the end; the rest belongs to the blob too.
    let drained = io::copy(&mut tee, &mut io::sink());
    if let Some(failure) = tee.failure {
        return Err(failure);
    }
    drained.map_err(crate::cipher::unreadable)?;

    let digest = tee.hasher.finish();
    if expected.digest.as_ref().is_some_and(|expected| *expected != digest) {
        return Err(Error::damaged(format!(
            "it decrypts to {}, not to the digest that was wrapped with its key; the packet was damaged or made for another layer: copy the image again from its source",
            digest.short()
        )));
    }
    if let Some((expected, _)) = &expected.diff_id {
        match uncompressed {
            Ok(Some(found)) if found == *expected => {}
            Ok(_) => {
                return Err(Error::damaged(
                    "its uncompressed tar does not have the diff id that the image's config gives; copy the image again from its source",
                ));
            }
            Err(_) => {
                return Err(Error::damaged(
                    "it is not compressed as its media type says, or is cut off; copy the image again from its source",
                ));
            }
        }
    }
    Ok((digest, tee.size))
}

/// Reads `plaintext`, and writes and hashes every block the moment it is there.
struct Tee<'p, R, W> {
    plaintext: R,
    out: W,
    place: &'p str,
    on_block: &'p mut dyn FnMut(usize) -> Result<(), Error>,
    hasher: Hasher,
    size: u64,
    /// Bytes of the current block that have been written but not yet read.
    fresh: usize,
    /// Decoders turn every error into their own; the first real one is kept here.
    failure: Option<Error>,
}

impl<R: BufRead, W: Write> BufRead for Tee<'_, R, W> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.failure.is_some() {
            return Err(io::ErrorKind::Other.into());
        }
        let block = match self.plaintext.fill_buf() {
            Ok(block) => block,
            Err(error) => {
                self.failure = Some(crate::cipher::unreadable(error));
                return Err(io::ErrorKind::Other.into());
            }
        };
        if self.fresh == 0 && !block.is_empty() {
            self.hasher.update(block);
            self.size += block.len() as u64;
            self.fresh = block.len();
            let written = self.out.write_all(block).map_err(Error::writing(self.place.to_owned()));
            if let Err(error) = written.and_then(|()| (self.on_block)(block.len())) {
                self.failure = Some(error);
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(block)
    }

    fn consume(&mut self, amount: usize) {
        self.fresh = self.fresh.saturating_sub(amount);
        self.plaintext.consume(amount);
    }
}

impl<R: BufRead, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
