//! The schemes that others write: PKCS#1 v1.5, whose refusals must tell nothing, and RSA-OAEP around the optsdata.

use super::*;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/skopeo-1.18");

fn vector(name: &str) -> Wrapped {
    let data = std::fs::read(format!("{VECTORS}/{name}")).unwrap();
    Wrapped { scheme: name.rsplit('.').nth(1).unwrap().into(), data }
}

impl House {
    async fn told(&self, packet: Wrapped) -> (Code, String, (usize, usize)) {
        let before = (self.token.calls("open"), self.token.calls("probe"));
        let status = self.unwrap_all(ALICE, vec![packet]).await.err().expect("refused");
        let calls = (self.token.calls("open") - before.0, self.token.calls("probe") - before.1);
        (status.code(), without_id(status.message()), calls)
    }
}

/// Puts another wrapped key into a packet for RSA-2048.
fn with_key(packet: &Wrapped, key: &[u8]) -> Wrapped {
    let parsed = holdfast_envelope::Packet::parse(&packet.scheme, &packet.data).unwrap();
    let Some(holdfast_wire::Sealed::RsaPkcs1v15 { ciphertext }) = parsed.recipients()[0].sealed() else {
        panic!("another operation")
    };
    let at = packet.data.windows(256).position(|window| window == ciphertext).unwrap();
    let data = [&packet.data[..at], key, &packet.data[at + 256..]].concat();
    Wrapped { scheme: packet.scheme.clone(), data }
}

fn to(key: &PublicKey, message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
    let key = PublicEncryptingKey::from_der(&key.to_der().unwrap()).unwrap();
    let mut ciphertext = vec![0; 256];
    Pkcs1PublicEncryptingKey::new(key).unwrap().encrypt(message, &mut ciphertext).unwrap();
    ciphertext
}

#[tokio::test]
async fn a_refused_padding_is_told_as_a_wrong_content_key_of_any_length_is() {
    let mut plan = plan().key("images", "rsa1_5");
    plan.keys.push(("images", "oaep", true));
    let key = plan.token.generate_rsa(&uri("rsa1_5"));
    plan.token.generate_rsa(&uri("oaep"));
    let stranger = FakeToken::new().generate_rsa("pkcs11:object=x");
    let house = plan.open();
    let packet = vector("pkcs7-rsa2048.c7a70bc02a61.pkcs7.der");
    let rejected = house.told(vector("pkcs7-rsa2048.c7a70bc02a61.pkcs7.der")).await;
    assert_eq!(rejected.0, Code::InvalidArgument);
    assert!(rejected.1.starts_with("no key that this caller may use opens this packet"), "{rejected:?}");
    assert_eq!(rejected.2, (1, 1), "the key that does not list RSA1_5 is not asked");
    for (name, wrapped) in [
        ("another key's", to(&stranger, &[7; 16])),
        ("another content key", to(&key, &[7; 16])),
        ("too short", to(&key, &[7; 15])),
        ("too long", to(&key, &[7; 32])),
        ("empty", to(&key, &[])),
        ("no number below the modulus", vec![0xff; 256]),
        ("zero", vec![0; 256]),
    ] {
        assert_eq!(house.told(with_key(&packet, &wrapped)).await, rejected, "{name}");
    }
    let record = &house.records()[0];
    assert_eq!((&record["outcome"], &record["token_calls"]), (&"rejected".into(), &1.into()));
    assert_eq!(record["schemes"], serde_json::json!(["pkcs7"]));
}

#[tokio::test]
async fn a_packet_for_pkcs1_v1_5_is_not_tried_with_a_key_that_does_not_list_it() {
    let plan = plan().key("images", "oaep");
    plan.token.generate_rsa(&uri("oaep"));
    let house = plan.open();
    let (code, text, calls) = house.told(vector("pkcs7-rsa2048.c7a70bc02a61.pkcs7.der")).await;
    assert_eq!((code, calls), (Code::InvalidArgument, (0, 0)));
    assert!(text.contains("algorithms = [\"RSA1_5\"]"), "{text}");
}

#[tokio::test]
async fn a_key_for_pkcs1_v1_5_opens_no_jwe_and_wraps_nothing() {
    let plan = plan().key("images", "rsa1_5");
    let key = plan.token.generate_rsa(&uri("rsa1_5"));
    let house = plan.open();
    let (code, text) = house.refused(ALICE, &seal(&[(&key, Algorithm::RsaOaep)], &[])).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("are for RSA PKCS#1 v1.5 alone"), "{text}");
    assert_eq!(house.token.calls("open"), 0);
    let status = house.wrap(ALICE, "images").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_pkcs11_packet_opens_to_the_optsdata_itself() {
    use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
    use base64::Engine as _;
    let plan = plan().key("images", "oaep");
    let key = plan.token.generate_rsa(&uri("oaep"));
    let house = plan.open();
    let oaep = PublicEncryptingKey::from_der(&key.to_der().unwrap()).unwrap();
    let oaep = OaepPublicEncryptingKey::new(oaep).unwrap();
    let sealed = |message: &[u8]| {
        let mut ciphertext = vec![0; 256];
        oaep.encrypt(&OAEP_SHA1_MGF1SHA1, message, &mut ciphertext, None).unwrap();
        let blob = base64::engine::general_purpose::STANDARD.encode(ciphertext);
        let data = format!(r#"{{"version":0,"recipients":[{{"version":0,"blob":"{blob}","hash":"sha1"}}]}}"#);
        Wrapped { scheme: "pkcs11".into(), data: data.into_bytes() }
    };
    let opened = house.unwrap_all(ALICE, vec![sealed(optsdata().raw().expose())]).await.unwrap();
    assert!(same(&opened));
    assert_eq!(house.records()[0]["schemes"], serde_json::json!(["pkcs11"]));
    // A content key that somebody put there is told like a wrong key, after the same calls.
    let (code, text, calls) = house.told(sealed(&[b'1'; 32])).await;
    assert_eq!((code, calls), (Code::InvalidArgument, (1, 1)));
    assert!(text.starts_with("no key that this caller may use opens this packet"), "{text}");
}
