//! A blob that is read twice and comes over the network once: on the first way it is kept in a file without a
//! name, which goes with the process. What lies there is what the registry has: ciphertext.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use holdfast_image::printable;

pub(crate) struct Spool<R> {
    from: R,
    file: File,
    directory: PathBuf,
    begun: bool,
    /// Whether it is read from the file now.
    again: bool,
}

impl<R: Read> Spool<R> {
    pub(crate) fn new(from: R, directory: &Path) -> io::Result<Spool<R>> {
        let file = tempfile::tempfile_in(directory).map_err(|error| told(&error, directory))?;
        Ok(Spool { from, file, directory: directory.to_owned(), begun: false, again: false })
    }
}

impl<R: Read> Read for Spool<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.again {
            return self.file.read(buffer);
        }
        self.begun = true;
        let read = self.from.read(buffer)?;
        self.file.write_all(&buffer[..read]).map_err(|error| told(&error, &self.directory))?;
        Ok(read)
    }
}

/// Back to the beginning, and nowhere else.
impl<R: Read> Seek for Spool<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if to != SeekFrom::Start(0) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.begun {
            self.again = true;
            self.file.rewind()?;
        }
        Ok(0)
    }
}

fn told(error: &io::Error, directory: &Path) -> io::Error {
    let directory = printable(&directory.to_string_lossy());
    io::Error::new(
        error.kind(),
        format!(
            "it is kept in {directory} meanwhile, which failed: {error}; --tmpdir names another directory"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_read_again_and_nothing_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(&b"ciphertext"[..], dir.path()).unwrap();
        for _ in 0..3 {
            spool.seek(SeekFrom::Start(0)).unwrap();
            assert_eq!(io::read_to_string(&mut spool).unwrap(), "ciphertext");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let error = Spool::new(io::empty(), &dir.path().join("missing")).err().unwrap();
        assert!(error.to_string().contains("--tmpdir names another directory"), "{error}");
    }
}
