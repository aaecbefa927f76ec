//! What stands inside: one literal packet (RFC 9580 section 5.9). Its octets are authentic by now, so an error
//! may say what they are.

use holdfast_wire::{Malformed, Secret};

use super::framing::{Packets, Reader, tag};

const HEADER: [u8; 6] = [b'b', 0, 0, 0, 0, 0];

/// The data of the only literal packet. Its format (text, binary), file name and date mean nothing here.
pub(super) fn data(packets: &[u8]) -> Result<Secret, Malformed> {
    let mut packets = Packets::new(packets);
    let mut data = None;
    while let Some(packet) = packets.next()? {
        match packet.tag {
            tag::MARKER | tag::PADDING => {}
            tag::LITERAL if data.is_none() => {
                let mut reader = Reader(&packet.body);
                reader.octet()?;
                let name_len = reader.octet()?;
                reader.take(usize::from(name_len))?;
                reader.take(size_of::<u32>())?;
                data = Some(Secret::copy_of(reader.0));
            }
            other => return Err(unexpected(other)),
        }
    }
    data.ok_or_else(|| Malformed::new("a message without data"))
}

/// The body of a literal packet with this data: binary, without a name and a date.
pub(super) fn body(data: &Secret) -> Secret {
    let mut body = Vec::with_capacity(HEADER.len() + data.len());
    body.extend_from_slice(&HEADER);
    body.extend_from_slice(data.expose());
    Secret::new(body)
}

fn unexpected(tag: u8) -> Malformed {
    match tag {
        tag::COMPRESSED => Malformed::new("compressed data; encrypt with gpg's --compress-algo none"),
        tag::SIGNATURE | tag::ONE_PASS_SIGNATURE => {
            Malformed::new("signed data, which ocicrypt does not write; encrypt without signing")
        }
        other => {
            Malformed::new(format!("an OpenPGP packet of type {other} where one literal packet belongs"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(packets: &[u8]) -> Result<Vec<u8>, String> {
        data(packets).map(|data| data.expose().to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_data_of_one_literal_packet_and_nothing_else_is_taken() {
        let literal = b"\xcb\x0ct\x04name\x00\x00\x00\x00{}";
        assert_eq!(told(literal), Ok(b"{}".to_vec()));
        assert_eq!(told(&[&b"\xca\x03PGP"[..], literal, b"\xd5\x01\x00"].concat()), Ok(b"{}".to_vec()));
        assert_eq!(
            told(&[&literal[..], literal].concat()),
            Err("an OpenPGP packet of type 11 where one literal packet belongs".to_owned())
        );
        assert_eq!(
            told(b"\xc8\x02\x01\x00"),
            Err("compressed data; encrypt with gpg's --compress-algo none".to_owned())
        );
        assert_eq!(
            told(b"\xc4\x01\x03"),
            Err("signed data, which ocicrypt does not write; encrypt without signing".to_owned())
        );
        assert_eq!(told(b""), Err("a message without data".to_owned()));
        assert_eq!(told(b"\xcb\x03t\x04n"), Err("an OpenPGP packet ends too early".to_owned()));
    }
}
