//! RFC 7518 appendix B, whose additional data is no JWE header.

use super::*;

const PLAINTEXT: &[u8] = b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience";
const ADDITIONAL_DATA: &str = "The second principle of Auguste Kerckhoffs";
const IV: &str = "1af38c2dc2b96ffdd86694092341bc04";

struct Vector {
    enc: Enc,
    ciphertext: &'static str,
    tag: &'static str,
}

const VECTORS: [Vector; 3] = [
    // B.1
    Vector {
        enc: Enc::A128CbcHs256,
        ciphertext: "c80edfa32ddf39d5ef00c0b468834279a2e46a1b8049f792f76bfe54b903a9c9\
                     a94ac9b47ad2655c5f10f9aef71427e2fc6f9b3f399a221489f16362c7032336\
                     09d45ac69864e3321cf82935ac4096c86e133314c54019e8ca7980dfa4b9cf1b\
                     384c486f3a54c51078158ee5d79de59fbd34d848b3d69550a67646344427ade5\
                     4b8851ffb598f7f80074b9473c82e2db",
        tag: "652c3fa36b0a7c5b3219fab3a30bc1c4",
    },
    // B.2
    Vector {
        enc: Enc::A192CbcHs384,
        ciphertext: "ea65da6b59e61edb419be62d19712ae5d303eeb50052d0dfd6697f77224c8edb\
                     000d279bdc14c1072654bd30944230c657bed4ca0c9f4a8466f22b226d174621\
                     4bf8cfc2400add9f5126e479663fc90b3bed787a2f0ffcbf3904be2a641d5c21\
                     05bfe591bae23b1d7449e532eef60a9ac8bb6c6b01d35d49787bcd57ef484927\
                     f280adc91ac0c4e79c7b11efc60054e3",
        tag: "8490ac0e58949bfe51875d733f93ac2075168039ccc733d7",
    },
    // B.3
    Vector {
        enc: Enc::A256CbcHs512,
        ciphertext: "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd\
                     822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df829410446b\
                     36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3\
                     a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950b\
                     be2638d09dd7a4930930806d0703b1f6",
        tag: "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5",
    },
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}

fn content(vector: &Vector) -> Content {
    Content {
        enc: vector.enc,
        iv: hex(IV),
        ciphertext: hex(vector.ciphertext),
        tag: hex(vector.tag),
        aad: ADDITIONAL_DATA.to_owned(),
    }
}

/// The RFC's keys count up from zero.
fn key(enc: Enc) -> Vec<u8> {
    (0..).take(enc.cek_len()).collect()
}

#[test]
fn rfc_7518_appendix_b_opens() {
    for vector in &VECTORS {
        let opened = content(vector).open(&key(vector.enc)).unwrap();
        assert_eq!(opened.expose(), PLAINTEXT, "{}", vector.enc.name());
    }
}

#[test]
fn no_altered_part_opens() {
    for vector in &VECTORS {
        let key = key(vector.enc);
        let fails = |change: &dyn Fn(&mut Content)| {
            let mut altered = content(vector);
            change(&mut altered);
            assert!(altered.open(&key).is_none(), "{}", vector.enc.name());
        };
        fails(&|content| content.iv[15] ^= 1);
        fails(&|content| content.ciphertext[0] ^= 1);
        fails(&|content| content.tag[0] ^= 1);
        fails(&|content| *content.tag.last_mut().unwrap() ^= 0x80);
        fails(&|content| content.tag.truncate(1));
        fails(&|content| content.tag.clear());
        fails(&|content| content.aad.push(' '));
        fails(&|content| content.aad.clear());
        fails(&|content| content.ciphertext.truncate(16));
        fails(&|content| content.iv.truncate(12));
        for at in 0..key.len() {
            let mut other = key.clone();
            other[at] ^= 1;
            assert!(content(vector).open(&other).is_none(), "{} key byte {at}", vector.enc.name());
        }
    }
}

/// The padding is behind the tag: one that is wrong, rightly tagged, opens no more than a wrong tag.
#[test]
fn wrong_padding_with_the_right_tag_does_not_open() {
    use aws_lc_rs::hmac;
    let vector = &VECTORS[0];
    let key = key(vector.enc);
    let mut altered = content(vector);
    // The last block but one changes what the last decrypts to.
    let last = altered.ciphertext.len() - 17;
    altered.ciphertext[last] ^= 0xff;
    let bits = (altered.aad.len() as u64 * 8).to_be_bytes();
    let covered = [altered.aad.as_bytes(), &altered.iv, &altered.ciphertext, &bits].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key[..16]), &covered);
    altered.tag = tag.as_ref()[..16].to_vec();
    assert!(altered.open(&key).is_none());
}

#[test]
fn a_key_for_one_algorithm_opens_no_other() {
    let plaintext = Secret::new(PLAINTEXT.to_vec());
    let sealed = Content::seal(&[7; 32], "protected", &plaintext).unwrap();
    assert_eq!(sealed.open(&[7; 32]).unwrap().expose(), PLAINTEXT);
    for enc in Enc::ALL.into_iter().filter(|enc| *enc != Enc::OURS) {
        let taken = Content { enc, ..sealed.clone() };
        for len in 0..=64 {
            assert!(taken.open(&vec![7; len]).is_none(), "{} {len}", enc.name());
        }
    }
}

#[test]
fn every_name_is_found_and_no_other() {
    for enc in Enc::ALL {
        assert_eq!(Enc::of_name(enc.name()), Some(enc));
    }
    for other in ["", "a256gcm", "A512GCM", "A256CBC", "A256CBC+HS512", "C20P", "XC20P"] {
        assert_eq!(Enc::of_name(other), None);
    }
}
