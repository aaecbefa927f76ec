use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that must not outlive their use: wiped on drop, never printed, compared or copied by accident.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes over. The vector's own allocation is the one that is wiped later.
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(bytes)
    }

    /// Copies bytes that belong to a buffer the caller wipes or does not own.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Secret(bytes.to_vec())
    }

    /// The bytes. Named so that every use of them can be found.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be changed in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the bytes away to a library that takes a plain vector; from here on nobody wipes them.
    pub fn into_unprotected(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_bytes_nor_length() {
        assert_eq!(format!("{:?}", Secret::new(vec![7; 32])), "Secret(..)");
    }
}
