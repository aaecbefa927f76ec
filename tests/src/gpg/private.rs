//! What `gpg --export-secret-keys` writes (RFC 9580 section 5.5.3), as the PEM that openssl and pkcs11-tool read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The first subkey, which must not be encrypted: PKCS#1 of RSA (RFC 8017), SEC1 of ECDH (RFC 5915).
pub(super) fn subkey_pem(packets: &[u8]) -> String {
    let mut rest = packets;
    loop {
        let (tag, body) = packet(&mut rest);
        if tag == 7 {
            return pem(body);
        }
    }
}

/// gpg writes the old format here.
fn packet<'a>(rest: &mut &'a [u8]) -> (u8, &'a [u8]) {
    let first = take(rest, 1)[0];
    assert_eq!(first & 0xc0, 0x80, "a packet in another format");
    let len = number(take(rest, 1 << (first & 3)));
    ((first >> 2) & 15, take(rest, len))
}

fn pem(mut body: &[u8]) -> String {
    let fields = &mut body;
    let algorithm = take(fields, 6)[5];
    let (name, der) = match algorithm {
        1 => ("RSA PRIVATE KEY", rsa(fields)),
        18 => ("EC PRIVATE KEY", ec(fields)),
        other => panic!("a key of algorithm {other}"),
    };
    format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", STANDARD.encode(der))
}

fn rsa(fields: &mut &[u8]) -> Vec<u8> {
    let (n, e) = (mpi(fields), mpi(fields));
    assert_eq!(take(fields, 1), [0], "an encrypted key");
    let [d, p, q, u] = [(); 4].map(|()| mpi(fields));
    // OpenPGP's u is the inverse of p modulo q, PKCS#1's that of its second prime modulo its first.
    let (dq, dp) = (remainder(d, &less_one(q)), remainder(d, &less_one(p)));
    der(0x30, &[&[0][..], n, e, d, q, p, &dq, &dp, u].map(integer).concat())
}

fn ec(fields: &mut &[u8]) -> Vec<u8> {
    let len = usize::from(take(fields, 1)[0]);
    let oid = take(fields, len).to_vec();
    let point = mpi(fields);
    let len = usize::from(take(fields, 1)[0]);
    take(fields, len);
    assert_eq!(take(fields, 1), [0], "an encrypted key");
    let scalar = mpi(fields);
    // As long as a coordinate.
    let mut padded = vec![0; (point.len() - 1) / 2 - scalar.len()];
    padded.extend_from_slice(scalar);
    let members = [
        integer(&[1]),
        der(4, &padded),
        der(0xa0, &der(6, &oid)),
        der(0xa1, &der(3, &[&[0], point].concat())),
    ];
    der(0x30, &members.concat())
}

fn mpi<'a>(fields: &mut &'a [u8]) -> &'a [u8] {
    let bits = number(take(fields, 2));
    take(fields, bits.div_ceil(8))
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, rest) = from.split_at(len);
    *from = rest;
    taken
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len().to_be_bytes();
    let len: Vec<u8> = len.into_iter().skip_while(|byte| *byte == 0).collect();
    let long = u8::try_from(len.len()).expect("a length");
    let len = if content.len() < 128 { len } else { [&[0x80 | long], &len[..]].concat() };
    [&[tag], &len[..], content].concat()
}

/// Positive, and as short as DER wants it.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros.min(number.len() - 1)..];
    let sign: &[u8] = if number[0] & 0x80 != 0 { &[0] } else { &[] };
    der(2, &[sign, number].concat())
}

fn less_one(odd: &[u8]) -> Vec<u8> {
    let mut number = odd.to_vec();
    *number.last_mut().expect("a number") -= 1;
    number
}

/// By long division, bit for bit.
fn remainder(number: &[u8], modulus: &[u8]) -> Vec<u8> {
    let modulus = [&[0], modulus].concat();
    let mut rest = vec![0; modulus.len()];
    for bit in (0..number.len() * 8).map(|bit| number[bit / 8] >> (7 - bit % 8) & 1) {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
        }
        if rest >= modulus {
            let mut borrow = 0;
            for (byte, less) in rest.iter_mut().zip(&modulus).rev() {
                let (difference, one) = byte.overflowing_sub(*less);
                let (difference, two) = difference.overflowing_sub(borrow);
                (*byte, borrow) = (difference, u8::from(one || two));
            }
        }
    }
    rest
}
