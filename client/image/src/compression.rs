//! Uncompressing a tar, from a stream that others read too: for its digest, the diff id of a layer, or to keep it.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

use crate::Digest;
use crate::digest::Hasher;
use crate::media::Compression;

/// Uncompresses to the end and gives the digest of what came out.
pub(crate) fn diff_id(compression: Compression, source: &mut impl BufRead) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    uncompress(compression, source, &mut |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hasher.finish())
}

/// How a file is compressed, told by its first four bytes: gzip's magic (RFC 1952 section 2.3.1), or that of zstd's
/// frames (RFC 8878 section 3.1.1).
pub(crate) fn of_magic(first: &[u8]) -> Compression {
    match first {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Uncompresses to the end. Memory is constant: 64 KiB here, and what a zstd frame asks for as its window, which the
/// decoder bounds.
pub(crate) fn uncompress(
    compression: Compression,
    source: &mut impl BufRead,
    sink: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    match compression {
        Compression::None => pour(source, sink),
        Compression::Gzip => pour(&mut MultiGzDecoder::new(source), sink),
        Compression::Zstd => frames(source, sink),
    }
}

/// zstd layers may be many frames, some of them skippable (zstd:chunked, eStargz's kin).
fn frames(source: &mut impl BufRead, sink: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    while !source.fill_buf()?.is_empty() {
        match StreamingDecoder::new(&mut *source) {
            Ok(mut frame) => pour(&mut frame, sink)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = u64::from(length);
                if io::copy(&mut source.take(length), &mut io::sink())? != length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(())
}

fn pour(reader: &mut impl Read, sink: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => sink(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn many_frames_and_skippable_ones_are_one_tar() {
        let mut stream = zstd(b"first ");
        stream.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9]);
        stream.extend(zstd(b"second"));
        let digest = diff_id(Compression::Zstd, &mut &stream[..]).unwrap();
        assert_eq!(digest, Digest::of(b"first second"));
    }

    #[test]
    fn many_gzip_members_are_one_tar() {
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let stream = [gzip(b"first "), gzip(b"second")].concat();
        let digest = diff_id(Compression::Gzip, &mut &stream[..]).unwrap();
        assert_eq!(digest, Digest::of(b"first second"));
    }

    #[test]
    fn what_is_cut_or_not_compressed_is_an_error() {
        let cut = &zstd(&[7; 1000])[..8];
        assert!(diff_id(Compression::Zstd, &mut &cut[..]).is_err());
        assert!(diff_id(Compression::Zstd, &mut &[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1][..]).is_err());
        assert!(diff_id(Compression::Zstd, &mut &b"plain"[..]).is_err());
        assert!(diff_id(Compression::Gzip, &mut &b"plain"[..]).is_err());
    }
}
