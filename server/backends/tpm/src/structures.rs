//! TPM structures as bytes, for what is made and read without a TPM (TPM 2.0 Library Part 2): all numbers
//! big-endian, and a TPM2B is its length in two bytes, then itself.

/// TPM_ALG_ID (section 6.3).
pub(crate) mod alg {
    pub(crate) const RSA: u16 = 0x0001;
    pub(crate) const AES: u16 = 0x0006;
    pub(crate) const SHA256: u16 = 0x000b;
    pub(crate) const NULL: u16 = 0x0010;
    pub(crate) const ECC: u16 = 0x0023;
    pub(crate) const CFB: u16 = 0x0043;
}

/// TPM_ECC_CURVE (section 6.4).
pub(crate) mod curve {
    pub(crate) const P256: u16 = 0x0003;
    pub(crate) const P384: u16 = 0x0004;
}

/// TPMA_OBJECT (section 8.3).
pub(crate) mod attribute {
    pub(crate) const FIXED_TPM: u32 = 1 << 1;
    pub(crate) const FIXED_PARENT: u32 = 1 << 4;
    pub(crate) const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    pub(crate) const USER_WITH_AUTH: u32 = 1 << 6;
    pub(crate) const NO_DA: u32 = 1 << 10;
    pub(crate) const RESTRICTED: u32 = 1 << 16;
    pub(crate) const DECRYPT: u32 = 1 << 17;
    pub(crate) const SIGN: u32 = 1 << 18;
}

/// Takes a structure apart, from its beginning.
pub(crate) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Parts<'a> {
        Parts(bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    /// What is in a TPM2B.
    pub(crate) fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        let (inner, rest) = self.0.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some(inner)
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// What is in a TPM2B that has nothing after it.
pub(crate) fn whole(structure: &[u8]) -> Option<&[u8]> {
    let mut parts = Parts::of(structure);
    let inner = parts.sized()?;
    parts.end().map(|()| inner)
}

/// Appends a TPM2B. None if it is longer than one can be.
pub(crate) fn put_sized(to: &mut Vec<u8>, inner: &[u8]) -> Option<()> {
    to.extend_from_slice(&u16::try_from(inner.len()).ok()?.to_be_bytes());
    to.extend_from_slice(inner);
    Some(())
}

/// A TPM2B of some parts.
pub(crate) fn sized(parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut structure = Vec::new();
    put_sized(&mut structure, &parts.concat())?;
    Some(structure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sized_structure_reads_back_and_only_whole() {
        let structure = sized(&[&[1], &[2, 3]]).unwrap();
        assert_eq!(structure, [0, 3, 1, 2, 3]);
        assert_eq!(whole(&structure), Some(&[1, 2, 3][..]));
        assert_eq!(whole(&[0, 0]), Some(&[][..]));
        for wrong in [&structure[..4], &[0, 3, 1, 2, 3, 4], &[0], &[]] {
            assert_eq!(whole(wrong), None, "{wrong:?}");
        }
        assert_eq!(sized(&[&[0; 0x1_0000]]), None);
    }
}
