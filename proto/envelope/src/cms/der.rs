//! A reader of DER (X.690), as far as CMS needs it: tags of one byte, definite lengths in their shortest form,
//! nothing left over. It knows nothing of what a tag means: whether 0x10 stands for a SEQUENCE is for its user to say.
//! [`value`] writes what it reads.

use holdfast_wire::Malformed;

pub(crate) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag of a context-specific member, primitive or constructed.
pub(super) const fn context(number: u8, constructed: bool) -> u8 {
    0x80 | number | if constructed { 0x20 } else { 0 }
}

/// What is left of a value's content.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Whose content it is: "the content's algorithm".
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    /// The tag that comes next; none at the end.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Bytes that are left.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next value: its tag and its content.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let what = self.what;
        let short = || Malformed::new(format!("{what} is cut off"));
        let [tag, rest @ ..] = self.rest else { return Err(short()) };
        if tag & 0x1f == 0x1f {
            return Err(Malformed::new(format!("{what} has a tag of more than one byte")));
        }
        let [first, rest @ ..] = rest else { return Err(short()) };
        let (len, rest) = match *first {
            short_form @ 0..=0x7f => (usize::from(short_form), rest),
            0x80 => return Err(Malformed::new(format!("{what} has an indefinite length, which is not DER"))),
            long_form => {
                let count = usize::from(long_form & 0x7f);
                if count > size_of::<u32>() {
                    return Err(Malformed::new(format!("{what} has a length of {count} bytes")));
                }
                let (digits, rest) = rest.split_at_checked(count).ok_or_else(short)?;
                let len = digits.iter().fold(0, |len, digit| len << 8 | u64::from(*digit));
                if len < 0x80 || digits.first() == Some(&0) {
                    return Err(Malformed::new(format!(
                        "{what} has a length that is not in its shortest form, which is not DER"
                    )));
                }
                (usize::try_from(len).map_err(|_| short())?, rest)
            }
        };
        let (content, rest) = rest.split_at_checked(len).ok_or_else(short)?;
        self.rest = rest;
        Ok((*tag, content))
    }

    /// The content of the next value, which must have this tag. `name` is what an error calls it: "no {name}".
    pub(super) fn value(&mut self, tag: u8, name: &'static str) -> Result<&'a [u8], Malformed> {
        if self.peek() != Some(tag) {
            return Err(Malformed::new(format!("{} has no {name}", self.what)));
        }
        self.any().map(|(_, content)| content)
    }

    /// The same as a reader, called by its own name from there on.
    pub(super) fn inner(&mut self, tag: u8, name: &'static str) -> Result<Reader<'a>, Malformed> {
        Ok(Reader::new(self.value(tag, name)?, name))
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Malformed::new(format!("{} has something that does not belong there", self.what)))
    }
}

/// The content of an INTEGER that must be a number of one byte.
pub(super) fn small(content: &[u8]) -> Option<u8> {
    match content {
        [number @ 0..=0x7f] => Some(*number),
        _ => None,
    }
}

/// A value with this tag and content, its length in the shortest form.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let digits = content.len().to_be_bytes();
    let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
    let mut written = Vec::with_capacity(2 + digits.len() + content.len());
    written.push(tag);
    match digits {
        [] => written.push(0),
        [short @ ..0x80] => written.push(*short),
        // At most 8, those of a usize.
        long => {
            written.push(0x80 | long.len() as u8);
            written.extend_from_slice(long);
        }
    }
    written.extend_from_slice(content);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(bytes: &[u8]) -> String {
        Reader::new(bytes, "it").any().unwrap_err().to_string()
    }

    #[test]
    fn lengths_of_one_to_four_bytes_are_read_and_written() {
        for (header, len) in [
            (&[4, 0][..], 0),
            (&[4, 0x7f], 0x7f),
            (&[4, 0x81, 0x80], 0x80),
            (&[4, 0x82, 1, 0], 0x100),
            (&[4, 0x83, 1, 0, 0], 0x1_0000),
        ] {
            assert_eq!(value(4, &vec![7; len]), [header, &vec![7; len]].concat());
            let bytes = [header, &vec![7; len], &[9]].concat();
            let mut reader = Reader::new(&bytes, "it");
            assert_eq!(reader.any().unwrap(), (4, &vec![7; len][..]));
            assert_eq!(reader.peek(), Some(9));
        }
    }

    #[test]
    fn every_other_length_is_told() {
        for cut in [&[][..], &[4], &[4, 1], &[4, 0x81], &[4, 0x82, 1], &[4, 0x84, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(says(cut), "it is cut off", "{cut:?}");
        }
        assert_eq!(says(&[0x30, 0x80, 0, 0]), "it has an indefinite length, which is not DER");
        assert_eq!(says(&[4, 0x85, 0, 0, 0, 0, 1]), "it has a length of 5 bytes");
        assert_eq!(says(&[4, 0xff]), "it has a length of 127 bytes");
        assert_eq!(says(&[0x1f, 0x20, 0]), "it has a tag of more than one byte");
        for long in [&[4, 0x81, 0x7f][..], &[4, 0x82, 0, 0xff], &[4, 0x83, 0, 1, 0]] {
            assert_eq!(says(long), "it has a length that is not in its shortest form, which is not DER");
        }
    }
}
