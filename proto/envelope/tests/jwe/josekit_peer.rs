//! josekit, an independent JWE over OpenSSL: it opens what we seal, and we open what it seals.

use holdfast_envelope::jwe::Jwe;
use holdfast_wire::{Algorithm, Labels};
use josekit::jwe::alg::ecdh_es::EcdhEsJweAlgorithm;
use josekit::jwe::alg::rsaes::RsaesJweAlgorithm;
use josekit::jwe::{self, JweContext, JweDecrypter, JweEncrypter, JweHeader, JweHeaderSet};

use crate::sealing::{every_way, labels, optsdata, sealed_to};
use crate::token;

fn decrypter(name: &str, algorithm: Algorithm) -> Box<dyn JweDecrypter> {
    let pem = token::vector(&format!("keys/{name}.pem"));
    match rsa(algorithm) {
        Some(rsa) => Box::new(rsa.decrypter_from_pem(pem).unwrap()),
        None => Box::new(EcdhEsJweAlgorithm::EcdhEsA256kw.decrypter_from_pem(pem).unwrap()),
    }
}

fn encrypter(name: &str, algorithm: Algorithm) -> Box<dyn JweEncrypter> {
    let pem = token::vector(&format!("keys/{name}.pub.pem"));
    match rsa(algorithm) {
        Some(rsa) => Box::new(rsa.encrypter_from_pem(pem).unwrap()),
        None => Box::new(EcdhEsJweAlgorithm::EcdhEsA256kw.encrypter_from_pem(pem).unwrap()),
    }
}

fn rsa(algorithm: Algorithm) -> Option<RsaesJweAlgorithm> {
    match algorithm {
        Algorithm::RsaOaep => Some(RsaesJweAlgorithm::RsaOaep),
        Algorithm::RsaOaep256 => Some(RsaesJweAlgorithm::RsaOaep256),
        _ => None,
    }
}

fn our_finish(packet: &str, index: usize, name: &str) -> Vec<u8> {
    let jwe = Jwe::parse(packet.as_bytes()).unwrap();
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
        let kid = holdfast_envelope::jwk::thumbprint(&token::public_key(name));
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
    let ways = every_way();
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
    let mut header = JweHeaderSet::new();
    header.set_content_encryption("A256GCM", true);
    let packet =
        jwe::serialize_general_json(optsdata().raw().expose(), Some(&header), &recipients, None).unwrap();
    for (i, (name, algorithm)) in ways.iter().enumerate() {
        assert_eq!(our_finish(&packet, i, name), optsdata().raw().expose(), "{name} {algorithm}");
    }
}

#[test]
fn party_information_goes_into_the_key() {
    for name in ["ec-P-256", "ec-P-384", "ec-P-521"] {
        let pem = token::vector(&format!("keys/{name}.pub.pem"));
        let mut encrypter = EcdhEsJweAlgorithm::EcdhEsA256kw.encrypter_from_pem(pem).unwrap();
        encrypter.set_agreement_partyuinfo("Alice");
        encrypter.set_agreement_partyvinfo("Bob");
        let mut header = JweHeaderSet::new();
        header.set_algorithm("ECDH-ES+A256KW", true);
        header.set_content_encryption("A256GCM", true);
        let packet =
            jwe::serialize_flattened_json(optsdata().raw().expose(), Some(&header), None, None, &encrypter)
                .unwrap();
        assert_eq!(our_finish(&packet, 0, name), optsdata().raw().expose(), "{name}");
    }
}
