//! What is sent, in parts that lie apart: freed memory in pieces of many MiB would make glibc keep that much of
//! every thread's.

use std::collections::VecDeque;
use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use reqwest::blocking::Body;

/// Bytes to be sent, cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts(VecDeque<Bytes>);

impl Parts {
    pub(crate) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.0.push_back(part);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Drops as many bytes from the front.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        while let Some(part) = self.0.front_mut() {
            if bytes < part.len() {
                part.advance(bytes);
                return;
            }
            bytes -= part.len();
            self.0.pop_front();
        }
    }

    /// One part alone can be sent again by reqwest, where it is redirected.
    pub(super) fn body(&self) -> Body {
        match (self.0.front(), self.0.len()) {
            (None, _) => Body::from(Bytes::new()),
            (Some(part), 1) => Body::from(part.clone()),
            _ => Body::sized(self.clone(), self.len() as u64),
        }
    }
}

impl From<Bytes> for Parts {
    fn from(part: Bytes) -> Parts {
        Parts(VecDeque::from([part]))
    }
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(part) = self.0.front() else {
            return Ok(0);
        };
        let read = buffer.len().min(part.len());
        buffer[..read].copy_from_slice(&part[..read]);
        self.advance(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_in_order_from_where_they_were_advanced_to() {
        let mut parts = Parts::default();
        for part in ["one", "", "two", "three"] {
            parts.push(Bytes::from(part));
        }
        for (advanced, rest) in
            [(0, "onetwothree"), (2, "etwothree"), (3, "twothree"), (4, "wothree"), (11, "")]
        {
            let mut parts = parts.clone();
            parts.advance(advanced);
            assert_eq!(parts.len(), rest.len());
            assert_eq!(io::read_to_string(parts).unwrap(), rest);
        }
    }
}
