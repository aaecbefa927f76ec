//! Messages with one defect behind the token's call, named after it. What is not authentic is one error; what
//! is authentic and cannot be used says why.

use holdfast_envelope::FinishError;
use holdfast_envelope::pgp::Pgp;

use crate::keys::{finish, optsdata};
use crate::writer::{KEY, literal, message, packet, pkesk, protected, seipd, session_key};

fn line(message: &[u8]) -> String {
    match finish(&Pgp::parse(message).unwrap(), 0, "rsa3072") {
        Ok(opened) => {
            assert_eq!(opened.raw().expose(), optsdata());
            "opened".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

fn good() -> Vec<u8> {
    protected(&literal(&optsdata()))
}

#[test]
fn the_messages_that_are_broken_here_are_good_before() {
    assert_eq!(line(&message(&good())), "opened");
    let aes128 = [pkesk(&session_key(7, &KEY[..16])), seipd(&KEY[..16], &good())].concat();
    assert_eq!(line(&aes128), "opened");
}

#[test]
fn of_session_keys() {
    let with = |written: &[u8]| line(&[pkesk(written), seipd(&KEY, &good())].concat());
    let of = |algorithm: u8, len: usize| session_key(algorithm, &vec![0x5a; len]);
    let mut bad_sum = of(9, 32);
    bad_sum[34] ^= 1;
    for (name, written) in [
        ("checksum_wrong", bad_sum),
        ("checksum_missing", of(9, 32)[..33].to_vec()),
        ("algorithm_idea", of(1, 32)),
        ("algorithm_3des", of(2, 24)),
        ("algorithm_cast5", of(3, 16)),
        ("algorithm_blowfish", of(4, 16)),
        ("algorithm_twofish", of(10, 32)),
        ("algorithm_camellia256", of(13, 32)),
        ("algorithm_none", of(0, 32)),
        ("algorithm_private", of(110, 32)),
        ("aes128_with_a_key_of_32_bytes", of(7, 32)),
        ("aes256_with_a_key_of_16_bytes", of(9, 16)),
        ("aes256_content_with_an_aes128_key", of(7, 16)),
        ("no_session_key", Vec::new()),
        ("an_octet_more", [of(9, 32), vec![0]].concat()),
        ("padded_as_for_ecdh", [of(9, 32), vec![5; 5]].concat()),
    ] {
        assert_eq!(with(&written), FinishError::Rejected.to_string(), "{name}");
    }
}

#[test]
fn of_integrity_protection() {
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let changed = |change: Change<'_>| {
        let mut plaintext = good();
        change(&mut plaintext);
        line(&message(&plaintext))
    };
    let end = good().len();
    let cases: [(&str, Change<'_>); 8] = [
        ("mdc_stripped", &|plaintext| plaintext.truncate(end - 22)),
        ("mdc_hash_stripped", &|plaintext| plaintext.truncate(end - 20)),
        ("mdc_cut", &|plaintext| plaintext.truncate(end - 1)),
        ("mdc_of_zeros", &|plaintext| plaintext[end - 20..].fill(0)),
        ("mdc_header_of_another_packet", &|plaintext| plaintext[end - 22] = 0xd2),
        ("mdc_header_of_another_length", &|plaintext| plaintext[end - 21] = 0x13),
        ("packets_altered", &|plaintext| plaintext[30] ^= 1),
        ("octets_behind_the_mdc", &|plaintext| plaintext.push(0)),
    ];
    for (name, change) in cases {
        assert_eq!(changed(change), FinishError::Rejected.to_string(), "{name}");
    }
}

/// What looks at them before the modification detection code is an oracle, and after it they tell nothing.
#[test]
fn the_repeated_octets_of_the_prefix_are_not_looked_at() {
    let mut plaintext = b"sixteen octets..not the last two again".to_vec();
    plaintext.truncate(18);
    assert_ne!(plaintext[14..16], plaintext[16..18]);
    plaintext.extend(literal(&optsdata()));
    plaintext.extend([0xd3, 0x14]);
    let mdc = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &plaintext);
    plaintext.extend_from_slice(mdc.as_ref());
    assert_eq!(line(&message(&plaintext)), "opened");
}

#[test]
fn of_what_is_inside() {
    let inside = |packets: &[u8]| line(&message(&protected(packets)));
    let literal = literal(&optsdata());
    for (name, packets, told) in [
        ("nothing", Vec::new(), "a message without data"),
        (
            "two_literals",
            [&literal[..], &literal].concat(),
            "an OpenPGP packet of type 11 where one literal packet belongs",
        ),
        ("encrypted_again", message(&good()), "an OpenPGP packet of type 1 where one literal packet belongs"),
        ("literal_cut", literal[..literal.len() - 1].to_vec(), "an OpenPGP packet ends too early"),
        ("not_packets", b"{}".to_vec(), "not OpenPGP packets in binary form"),
        (
            "compressed",
            packet(8, &[&[0], &literal[..]].concat()),
            "compressed data; encrypt with gpg's --compress-algo none",
        ),
        ("no_optsdata", crate::writer::literal(b"{"), "optsdata ends too early (line 1, column 1)"),
        ("empty_literal", crate::writer::literal(b""), "optsdata ends too early (line 1, column 0)"),
    ] {
        let wanted = format!("the packet opened, but what it holds cannot be used: {told}");
        assert_eq!(inside(&packets), wanted, "{name}");
    }
}
