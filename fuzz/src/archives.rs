//! An image in a tar file that somebody else made.

use std::io::Write as _;

use holdfast_image::{DockerArchive, OciArchive, Source, inspect};

use crate::one_printable_line;

/// Bytes of a header, and where in it its checksum is.
const BLOCK: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A tar file, taken for both kinds. A block whose checksum is `????????` gets the right one first: so the fuzzer gets
/// past what it cannot guess.
pub fn archive(bytes: &[u8]) {
    let mut tar = bytes.to_vec();
    for header in tar.chunks_exact_mut(BLOCK).filter(|header| header[CHECKSUM] == *b"????????") {
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&tar).expect("room for the file");
    let name = || file.path().to_owned();
    let kinds: [&dyn Source; 3] = [
        &OciArchive { file: name(), tag: None },
        &DockerArchive { file: name(), image: None },
        &DockerArchive { file: name(), image: Some("app:v1".to_owned()) },
    ];
    for kind in kinds {
        match inspect(kind) {
            Ok(image) => assert!(image.manifests.iter().all(|manifest| manifest.layers.len() <= 1024)),
            Err(error) => one_printable_line(&error),
        }
    }
}
