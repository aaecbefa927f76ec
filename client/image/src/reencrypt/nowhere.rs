use std::io::{self, Write};

use crate::place::{Location, NewBlob, NewImage, RootDocument, Target};
use crate::{Digest, DocumentKind, Error};

/// A target that keeps nothing, to see whether an image could be written. What stays as it is counts as there.
#[derive(Debug, Clone)]
pub struct Nowhere(pub Location);

struct Sink;

impl Target for Nowhere {
    fn location(&self) -> Location {
        self.0.clone()
    }

    fn begin(&self, _: &Location) -> Result<Box<dyn NewImage + '_>, Error> {
        Ok(Box::new(self.clone()))
    }
}

impl NewImage for Nowhere {
    fn place(&self) -> String {
        self.0.to_string()
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>, Error> {
        Ok(Box::new(Sink))
    }

    fn has(&self, _: &Digest) -> Result<bool, Error> {
        Ok(true)
    }

    fn document(&self, _: DocumentKind, _: &str, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn commit(self: Box<Self>, _: &RootDocument) -> Result<(), Error> {
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewBlob for Sink {
    fn keep(self: Box<Self>, _: &Digest) -> Result<(), Error> {
        Ok(())
    }
}
