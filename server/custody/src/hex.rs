//! Bytes in hexadecimal digits, as policies, PCR values and digests are written everywhere.

/// Lower case, without separators.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digits of either case and nothing else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        assert_eq!(to_hex(&[0, 0x0a, 0xff]), "000aff");
        assert_eq!(from_hex("000aFF"), Some(vec![0, 0x0a, 0xff]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for text in ["0", "0g", "+1", " 1", "é", "éa"] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }
}
