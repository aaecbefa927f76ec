//! Packet framing (RFC 9580 section 4.2): the old and the new format of headers, partial lengths joined.
//!
//! Inside a message it runs over plaintext, so what it copies is wiped.

use holdfast_wire::Malformed;
use zeroize::Zeroizing;

/// Packet types (RFC 9580 section 5).
pub(super) mod tag {
    pub(in super::super) const PKESK: u8 = 1;
    pub(in super::super) const SIGNATURE: u8 = 2;
    pub(in super::super) const SKESK: u8 = 3;
    pub(in super::super) const ONE_PASS_SIGNATURE: u8 = 4;
    pub(in super::super) const SECRET_KEY: u8 = 5;
    pub(in super::super) const PUBLIC_KEY: u8 = 6;
    pub(in super::super) const SECRET_SUBKEY: u8 = 7;
    pub(in super::super) const COMPRESSED: u8 = 8;
    pub(in super::super) const SED: u8 = 9;
    pub(in super::super) const MARKER: u8 = 10;
    pub(in super::super) const LITERAL: u8 = 11;
    pub(in super::super) const USER_ID: u8 = 13;
    pub(in super::super) const PUBLIC_SUBKEY: u8 = 14;
    pub(in super::super) const USER_ATTRIBUTE: u8 = 17;
    pub(in super::super) const SEIPD: u8 = 18;
    pub(in super::super) const AEAD: u8 = 20;
    pub(in super::super) const PADDING: u8 = 21;
}

/// One packet.
pub(super) struct Packet<'a> {
    /// Its type.
    pub(super) tag: u8,
    /// What is in it.
    pub(super) body: Body<'a>,
}

/// The octets of a packet.
pub(super) enum Body<'a> {
    /// As they stand.
    Whole(&'a [u8]),
    /// Of several parts.
    Joined(Zeroizing<Vec<u8>>),
}

impl std::ops::Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Body::Whole(bytes) => bytes,
            Body::Joined(bytes) => bytes,
        }
    }
}

/// Reads one packet after the other.
pub(super) struct Packets<'a> {
    rest: Reader<'a>,
}

impl<'a> Packets<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Packets { rest: Reader(bytes) }
    }

    /// The next packet; None at the end.
    pub(super) fn next(&mut self) -> Result<Option<Packet<'a>>, Malformed> {
        if self.rest.0.is_empty() {
            return Ok(None);
        }
        let first = self.rest.octet()?;
        match first {
            0xc0..=0xff => self.new_format(first & 0x3f),
            0x80..=0xbf => self.old_format((first >> 2) & 0x0f, first & 3),
            _ => Err(Malformed::new("not OpenPGP packets in binary form")),
        }
        .map(Some)
    }

    /// Section 4.2.1.
    fn new_format(&mut self, tag: u8) -> Result<Packet<'a>, Malformed> {
        let mut parts = Vec::new();
        loop {
            let (len, partial) = match self.rest.octet()? {
                short @ 0..192 => (usize::from(short), false),
                high @ 192..224 => {
                    (((usize::from(high) - 192) << 8) + usize::from(self.rest.octet()?) + 192, false)
                }
                power @ 224..255 => (1 << (power & 0x1f), true),
                255 => (self.rest.number(4)?, false),
            };
            if partial && !has_data(tag) {
                return Err(Malformed::new(format!(
                    "an OpenPGP packet of type {tag} has a partial length, which only data may have"
                )));
            }
            parts.push(self.rest.take(len)?);
            if !partial {
                break;
            }
        }
        let body = match parts.as_slice() {
            [whole] => Body::Whole(whole),
            // All at once, so that nothing is left behind where it grew.
            parts => Body::Joined(Zeroizing::new(parts.concat())),
        };
        Ok(Packet { tag, body })
    }

    /// Section 4.2.2.
    fn old_format(&mut self, tag: u8, length_type: u8) -> Result<Packet<'a>, Malformed> {
        let len = match length_type {
            0 => self.rest.number(1)?,
            1 => self.rest.number(2)?,
            2 => self.rest.number(4)?,
            _ if has_data(tag) => self.rest.0.len(),
            _ => {
                return Err(Malformed::new(format!(
                    "an OpenPGP packet of type {tag} has no length, which only data may lack"
                )));
            }
        };
        Ok(Packet { tag, body: Body::Whole(self.rest.take(len)?) })
    }
}

/// Whether a packet of this type may come in parts.
fn has_data(tag: u8) -> bool {
    matches!(tag, tag::COMPRESSED | tag::SED | tag::LITERAL | tag::SEIPD | tag::AEAD)
}

/// Reads what stands in a packet.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or_else(|| Malformed::new("an OpenPGP packet ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn octet(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// A big-endian number of at most 4 octets.
    pub(super) fn number(&mut self, octets: usize) -> Result<usize, Malformed> {
        Ok(self.take(octets)?.iter().fold(0, |number, octet| (number << 8) | usize::from(*octet)))
    }

    /// A multiprecision integer (section 3.2): its length in bits, then its octets.
    pub(super) fn mpi(&mut self) -> Result<&'a [u8], Malformed> {
        let bits = self.number(2)?;
        self.take(bits.div_ceil(8))
    }

    /// Nothing is left.
    pub(super) fn finish(self, what: &str) -> Result<(), Malformed> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(Malformed::new(format!("{what} has {left} bytes behind its end"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, String> {
        let mut packets = Packets::new(bytes);
        let mut all = Vec::new();
        while let Some(packet) = packets.next().map_err(|error| error.to_string())? {
            all.push((packet.tag, packet.body.to_vec()));
        }
        Ok(all)
    }

    #[test]
    fn every_form_of_a_length_is_read() {
        let long = vec![7; 300];
        let cases: [(&[u8], usize); 8] = [
            (&[0xd2, 3], 3),
            (&[0xd2, 0xc0, 0x6c], 300),
            (&[0xd2, 0xff, 0, 0, 1, 44], 300),
            (&[0xd2, 0xe7], 128),
            (&[0xac, 3], 3),
            (&[0xad, 1, 44], 300),
            (&[0xae, 0, 0, 1, 44], 300),
            (&[0xaf], 300),
        ];
        for (header, len) in cases {
            let partial = if header == [0xd2, 0xe7] { &[1, 9][..] } else { &[] };
            let bytes = [header, &long[..len], partial].concat();
            let tag = if header[0] >= 0xc0 { 18 } else { 11 };
            let mut body = long[..len].to_vec();
            body.extend_from_slice(partial.get(1..).unwrap_or_default());
            assert_eq!(read(&bytes), Ok(vec![(tag, body)]), "{header:?}");
        }
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        let early = Err("an OpenPGP packet ends too early".to_owned());
        for bytes in [
            &[0xd2][..],
            &[0xd2, 3, 1, 1],
            &[0xd2, 0xc0],
            &[0xd2, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xd2, 0xfe, 1],
            &[0xd2, 0xe0, 1],
            &[0xae, 0xff, 0xff, 0xff, 0xff],
            &[0xac],
        ] {
            assert_eq!(read(bytes), early, "{bytes:?}");
        }
        assert_eq!(
            read(&[0xc1, 0xe0, 1, 0]),
            Err("an OpenPGP packet of type 1 has a partial length, which only data may have".to_owned())
        );
        assert_eq!(
            read(&[0x87, 1]),
            Err("an OpenPGP packet of type 1 has no length, which only data may lack".to_owned())
        );
        assert_eq!(read(b"-----BEGIN"), Err("not OpenPGP packets in binary form".to_owned()));
    }
}
