//! The RFCs' own examples. Their plaintext is no optsdata, so they are opened below `finish`.

use holdfast_wire::{Algorithm, Curve, EcPublicKey};

use super::key_wrap::{Agreement, concat_kdf};
use super::*;
use crate::{base64url, check_point};

#[path = "../../tests/jwe/token.rs"]
mod token;

fn opens_to(packet: &str, key: &str, text: &str) {
    let jwe = Jwe::parse(&token::vector(packet)).unwrap();
    let [recipient] = jwe.recipients() else { panic!("{packet}: not one recipient") };
    assert_eq!(recipient.algorithm(), Some(Algorithm::RsaOaep));
    let opened = token::open_with(&token::text_vector(key), recipient.sealed().unwrap()).unwrap();
    assert_eq!(jwe.open(0, &opened).unwrap().expose(), token::vector(text), "{packet}");
    let why = OptsData::parse(Secret::new(token::vector(text))).unwrap_err();
    assert_eq!(jwe.finish(0, opened).unwrap_err(), FinishError::Malformed(why));
}

#[test]
fn rfc_7516_a_1_opens() {
    opens_to("rfc/rfc7516-a.1.flattened.jwe.json", "rfc/rfc7516-a.1.key.pem", "rfc/rfc7516-a.1.txt");
}

#[test]
fn rfc_7520_5_2_opens_in_both_serializations() {
    for form in ["general", "flattened"] {
        let packet = format!("rfc/rfc7520-5.2.{form}.jwe.json");
        opens_to(&packet, "rfc/rfc7520-5.2.key.pem", "rfc/rfc7520-5.2.txt");
        let jwe = Jwe::parse(&token::vector(&packet)).unwrap();
        assert_eq!(jwe.recipients()[0].kid(), Some("samwise.gamgee@hobbiton.example"));
    }
}

/// Section 5.13 has its content in A128CBC-HS256, so only the second recipient's key is unwrapped.
#[test]
fn rfc_7520_5_13_unwraps_by_ecdh_es_a256kw() {
    let epk = EcPublicKey {
        curve: Curve::P384,
        point: [
            vec![4],
            bytes("Uzdvk3pi5wKCRc1izp5_r0OjeqT-I68i8g2b8mva8diRhsE2xAn2DtMRb25Ma2CX"),
            bytes("VDrRyFJh-Kwd1EjAgmj5Eo-CTHAZ53MC7PjjpLioy3ylEjI1pOMbw91fzZ84pbfm"),
        ]
        .concat(),
    };
    check_point(&epk).unwrap();
    let d = "iTx2pk7wW-GqJkHcEkFQb2EFyYcO7RugmaW3mRrQVAOUiPommT0IdnYK2xDlZh-j";
    let z = token::open_with_scalar(Curve::P384, d, &epk.point).unwrap();
    let agreement = Agreement {
        curve: Curve::P384,
        apu: vec![],
        apv: vec![],
        wrapped: bytes("ExInT0io9BqBMYF6-maw5tZlgoZXThD1zWKsHixJuw_elY4gSSId_w").try_into().unwrap(),
    };
    let cek = agreement.unwrap(z.expose()).unwrap();
    assert_eq!(cek[..], bytes("zXayeJ4gvm8NJr3IUInyokTUO-LbQNKEhe_zWlYbdpQ"));
    assert!(agreement.unwrap(&z.expose()[1..]).is_none());
}

#[test]
fn rfc_7518_appendix_c_derives_its_key() {
    let alice = [
        vec![4],
        bytes("gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0"),
        bytes("SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"),
    ]
    .concat();
    let bob = "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw";
    let z = token::open_with_scalar(Curve::P256, bob, &alice).unwrap();
    assert_eq!(z.expose()[..4], [158, 86, 217, 29]);
    let mut key = [0; 16];
    concat_kdf(z.expose(), "A128GCM", b"Alice", b"Bob", &mut key).unwrap();
    assert_eq!(base64url::encode(key), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn a_longer_key_takes_more_rounds_of_the_kdf() {
    // SP 800-56C: the key is cut from SHA-256 over a counter, Z and the info, whose last part is the length.
    let z = [7; 32];
    let mut key = [0; 48];
    concat_kdf(&z, "x", &[], &[], &mut key).unwrap();
    let info: &[u8] = &[0, 0, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 128];
    let round = |counter: u8| {
        let input = [&[0, 0, 0, counter], &z[..], info].concat();
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input)
    };
    assert_eq!(key, [round(1).as_ref(), round(2).as_ref()].concat()[..48]);
}

fn bytes(text: &str) -> Vec<u8> {
    base64url::decode(text).unwrap()
}
