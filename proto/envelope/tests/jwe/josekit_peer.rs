//! josekit, an independent JWE over OpenSSL: it opens what we seal, and we open what it seals.

use holdfast_envelope::jwe::Jwe;
use holdfast_wire::{Algorithm, Labels};
use josekit::jwe::alg::aesgcmkw::AesgcmkwJweAlgorithm;
use josekit::jwe::alg::ecdh_es::EcdhEsJweAlgorithm;
use josekit::jwe::alg::rsaes::RsaesJweAlgorithm;
use josekit::jwe::{self, JweContext, JweDecrypter, JweEncrypter, JweHeader, JweHeaderSet};

use crate::sealing::{every_way, kid, labels, optsdata, sealed_to};
use crate::token;

pub(crate) const ENCS: [&str; 6] =
    ["A256GCM", "A192GCM", "A128GCM", "A256CBC-HS512", "A192CBC-HS384", "A128CBC-HS256"];

/// What a JWK may make of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Compact,
    Flattened,
    General,
}

/// A packet that josekit seals to one key.
pub(crate) fn josekits(name: &str, algorithm: Algorithm, enc: &str, form: Form) -> String {
    let encrypter = encrypter(name, algorithm);
    let optsdata = optsdata();
    let payload = optsdata.raw().expose();
    let mut header = JweHeader::new();
    header.set_algorithm(algorithm.name());
    header.set_content_encryption(enc);
    let mut protected = JweHeaderSet::new();
    protected.set_content_encryption(enc, true);
    match form {
        Form::Compact => jwe::serialize_compact(payload, &header, &*encrypter),
        Form::Flattened => {
            protected.set_algorithm(algorithm.name(), true);
            jwe::serialize_flattened_json(payload, Some(&protected), None, None, &*encrypter)
        }
        Form::General => {
            let mut own = JweHeader::new();
            own.set_algorithm(algorithm.name());
            let recipients = [(Some(&own), &*encrypter)];
            jwe::serialize_general_json(payload, Some(&protected), &recipients, None)
        }
    }
    .unwrap()
}

/// The keys that the many combinations are tried with: one of each size would take too long.
pub(crate) fn keys_for(algorithm: Algorithm) -> &'static [&'static str] {
    match algorithm {
        Algorithm::RsaOaep | Algorithm::RsaOaep256 => &["rsa2048"],
        Algorithm::A256GcmKw => &[token::AES],
        _ => &["ec-P-256", "ec-P-384", "ec-P-521"],
    }
}

fn decrypter(name: &str, algorithm: Algorithm) -> Box<dyn JweDecrypter> {
    let pem = || token::vector(&format!("keys/{name}.pem"));
    match (rsa(algorithm), ecdh(algorithm)) {
        (Some(rsa), _) => Box::new(rsa.decrypter_from_pem(pem()).unwrap()),
        (_, Some(ecdh)) => Box::new(ecdh.decrypter_from_pem(pem()).unwrap()),
        _ => Box::new(AesgcmkwJweAlgorithm::A256gcmkw.decrypter_from_bytes(token::AES_KEY).unwrap()),
    }
}

fn encrypter(name: &str, algorithm: Algorithm) -> Box<dyn JweEncrypter> {
    let pem = || token::vector(&format!("keys/{name}.pub.pem"));
    match (rsa(algorithm), ecdh(algorithm)) {
        (Some(rsa), _) => Box::new(rsa.encrypter_from_pem(pem()).unwrap()),
        (_, Some(ecdh)) => Box::new(ecdh.encrypter_from_pem(pem()).unwrap()),
        _ => Box::new(AesgcmkwJweAlgorithm::A256gcmkw.encrypter_from_bytes(token::AES_KEY).unwrap()),
    }
}

fn rsa(algorithm: Algorithm) -> Option<RsaesJweAlgorithm> {
    match algorithm {
        Algorithm::RsaOaep => Some(RsaesJweAlgorithm::RsaOaep),
        Algorithm::RsaOaep256 => Some(RsaesJweAlgorithm::RsaOaep256),
        _ => None,
    }
}

fn ecdh(algorithm: Algorithm) -> Option<EcdhEsJweAlgorithm> {
    match algorithm {
        Algorithm::EcdhEs => Some(EcdhEsJweAlgorithm::EcdhEs),
        Algorithm::EcdhEsA128Kw => Some(EcdhEsJweAlgorithm::EcdhEsA128kw),
        Algorithm::EcdhEsA192Kw => Some(EcdhEsJweAlgorithm::EcdhEsA192kw),
        Algorithm::EcdhEsA256Kw => Some(EcdhEsJweAlgorithm::EcdhEsA256kw),
        _ => None,
    }
}

fn our_finish(packet: &str, index: usize, name: &str) -> Vec<u8> {
    let jwe = Jwe::parse(packet.as_bytes()).unwrap_or_else(|error| panic!("{error}: {packet}"));
    let secret = token::open(name, jwe.recipients()[index].sealed().unwrap()).unwrap();
    jwe.finish(index, secret).unwrap().raw().expose().to_vec()
}

#[test]
fn it_opens_what_we_seal_to_one() {
    for (name, algorithm) in every_way() {
        let packet = sealed_to(&[(name, algorithm)], &labels(&[("env", "prod")]));
        let decrypter = decrypter(name, algorithm);
        let (payload, _) = JweContext::new().deserialize_json(packet, &*decrypter).unwrap();
        assert_eq!(payload, optsdata().raw().expose(), "{name} {algorithm}");
    }
}

#[test]
fn it_opens_what_we_seal_to_several() {
    let ways = every_way();
    let packet = sealed_to(&ways, &Labels::default());
    for (name, algorithm) in ways {
        let decrypter = decrypter(name, algorithm);
        let kid = kid(name);
        let (payload, _) = JweContext::new()
            .deserialize_json_with_selector(&packet, |header| {
                let ours =
                    header.key_id() == Some(kid.as_str()) && header.algorithm() == Some(algorithm.name());
                Ok(ours.then_some(&*decrypter))
            })
            .unwrap();
        assert_eq!(payload, optsdata().raw().expose(), "{name} {algorithm}");
    }
}

#[test]
fn we_open_every_algorithm_with_every_content_encryption_in_every_form() {
    let mut opened = 0;
    for algorithm in Algorithm::ALL.into_iter().filter(|known| known.in_jwe()) {
        for name in keys_for(algorithm) {
            for enc in ENCS {
                for form in [Form::Compact, Form::Flattened, Form::General] {
                    let packet = josekits(name, algorithm, enc, form);
                    let found = our_finish(&packet, 0, name);
                    assert_eq!(found, optsdata().raw().expose(), "{name} {algorithm} {enc} {form:?}");
                    opened += 1;
                }
            }
        }
    }
    assert_eq!(opened, (3 + 4 * 3) * 6 * 3);
}

#[test]
fn we_open_what_it_seals_to_one() {
    for (name, algorithm) in every_way() {
        for protection in [true, false] {
            let mut header = JweHeaderSet::new();
            header.set_algorithm(algorithm.name(), protection);
            header.set_content_encryption("A256GCM", true);
            let encrypter = encrypter(name, algorithm);
            for aad in [None, Some(&b"bound to this"[..])] {
                let packet = JweContext::new()
                    .serialize_flattened_json(
                        optsdata().raw().expose(),
                        Some(&header),
                        None,
                        aad,
                        &*encrypter,
                    )
                    .unwrap();
                assert_eq!(our_finish(&packet, 0, name), optsdata().raw().expose(), "{name} {algorithm}");
            }
        }
    }
}

#[test]
fn we_open_what_it_seals_to_several() {
    let mut ways = every_way();
    ways.extend([("ec-P-256", Algorithm::EcdhEsA128Kw), ("ec-P-384", Algorithm::EcdhEsA192Kw)]);
    let encrypters: Vec<_> = ways.iter().map(|(name, algorithm)| encrypter(name, *algorithm)).collect();
    let headers: Vec<JweHeader> = ways
        .iter()
        .map(|(_, algorithm)| {
            let mut header = JweHeader::new();
            header.set_algorithm(algorithm.name());
            header
        })
        .collect();
    let recipients: Vec<(Option<&JweHeader>, &dyn JweEncrypter)> =
        headers.iter().map(Some).zip(encrypters.iter().map(|encrypter| &**encrypter)).collect();
    for enc in ENCS {
        let mut header = JweHeaderSet::new();
        header.set_content_encryption(enc, true);
        let packet =
            jwe::serialize_general_json(optsdata().raw().expose(), Some(&header), &recipients, None).unwrap();
        for (i, (name, algorithm)) in ways.iter().enumerate() {
            assert_eq!(our_finish(&packet, i, name), optsdata().raw().expose(), "{name} {algorithm} {enc}");
        }
    }
}

#[test]
fn party_information_goes_into_the_key() {
    for algorithm in [Algorithm::EcdhEsA256Kw, Algorithm::EcdhEs] {
        for name in keys_for(algorithm) {
            let pem = token::vector(&format!("keys/{name}.pub.pem"));
            let mut encrypter = ecdh(algorithm).unwrap().encrypter_from_pem(pem).unwrap();
            encrypter.set_agreement_partyuinfo("Alice");
            encrypter.set_agreement_partyvinfo("Bob");
            let mut header = JweHeaderSet::new();
            header.set_algorithm(algorithm.name(), true);
            header.set_content_encryption("A256GCM", true);
            let payload = optsdata().raw().expose().to_vec();
            let packet =
                jwe::serialize_flattened_json(&payload, Some(&header), None, None, &encrypter).unwrap();
            assert_eq!(our_finish(&packet, 0, name), payload, "{name} {algorithm}");
        }
    }
}
