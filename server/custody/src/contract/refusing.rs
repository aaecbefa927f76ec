//! What a token must reject, always with the same error, and without harm to what comes after.

use holdfast_wire::{Curve, OaepHash, Operation, PublicKey, Sealed};

use super::material::{foreign_point, random, rsa_oaep, rsa_pkcs1_v1_5, sealed_to};
use super::{Subject, rejects, rejects_or_replaces, still_opens};

pub(super) fn damaged(subject: &Subject) {
    let mut token = subject.connect();
    subject.each_operation(|key, operation| {
        let (sealed, message) = sealed_to(&mut *token, key, operation);
        for damaged in damages(&sealed) {
            match operation {
                Operation::RsaPkcs1v15 => rejects_or_replaces(&mut *token, key, &damaged, &message),
                _ => rejects(&mut *token, key, &damaged),
            }
        }
        still_opens(&mut *token, key);
    });
}

/// ECDH has none: any point on the curve has a shared secret.
fn damages(sealed: &Sealed) -> Vec<Sealed> {
    match sealed {
        Sealed::RsaOaep { hash, ciphertext } => {
            let len = ciphertext.len();
            let flipped = flips(ciphertext, &[0, 1, len / 2, len - 1]);
            let filled = [vec![0; len], vec![0xff; len]];
            let of = |ciphertext| Sealed::RsaOaep { hash: *hash, ciphertext };
            flipped.into_iter().chain(filled).map(of).collect()
        }
        Sealed::RsaPkcs1v15 { ciphertext } => {
            let len = ciphertext.len();
            let flipped = flips(ciphertext, &[0, 1, len / 2, len - 1]);
            let filled = [vec![0; len], vec![0xff; len]];
            flipped.into_iter().chain(filled).map(|ciphertext| Sealed::RsaPkcs1v15 { ciphertext }).collect()
        }
        Sealed::AesGcm { iv, ciphertext, tag } => {
            let flipped_iv = |i: usize| (flip(iv, i), ciphertext.clone(), *tag);
            let flipped_tag = |i: usize| (*iv, ciphertext.clone(), flip(tag, i));
            let flipped = flips(ciphertext, &[0, ciphertext.len() / 2, ciphertext.len() - 1]);
            let mut damages = vec![flipped_iv(0), flipped_iv(11), flipped_tag(0), flipped_tag(15)];
            damages.push((*iv, ciphertext.clone(), [0; 16]));
            damages.extend(flipped.into_iter().map(|ciphertext| (*iv, ciphertext, *tag)));
            let of = |(iv, ciphertext, tag)| Sealed::AesGcm { iv, ciphertext, tag };
            damages.into_iter().map(of).collect()
        }
        _ => Vec::new(),
    }
}

fn flip<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> [u8; LEN] {
    let mut flipped = *bytes;
    flipped[at] ^= 1;
    flipped
}

fn flips(bytes: &[u8], at: &[usize]) -> Vec<Vec<u8>> {
    at.iter()
        .map(|at| {
            let mut flipped = bytes.to_vec();
            flipped[*at] ^= 1;
            flipped
        })
        .collect()
}

pub(super) fn other_key(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        for other in subject.keys.iter().filter(|other| other.uri != key.uri) {
            match (&key.public, &other.public) {
                (Some(PublicKey::Rsa(ours)), Some(public @ PublicKey::Rsa(theirs))) => {
                    let hash = OaepHash::Sha1;
                    let same_length = ours.bits() == theirs.bits() && ours != theirs;
                    if same_length && key.operations.contains(&Operation::RsaOaep(hash)) {
                        rejects(&mut *token, key, &rsa_oaep(public, hash).0);
                    }
                    if same_length && key.operations.contains(&Operation::RsaPkcs1v15) {
                        let (theirs, message) = rsa_pkcs1_v1_5(public);
                        rejects_or_replaces(&mut *token, key, &theirs, &message);
                    }
                }
                (None, None) => {
                    let theirs = token.seal(&other.uri, &random(32)).expect("seal");
                    rejects(&mut *token, key, &theirs);
                }
                _ => {}
            }
        }
        still_opens(&mut *token, key);
    }
}

pub(super) fn odd_lengths(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        match &key.public {
            Some(PublicKey::Rsa(public)) => {
                let whole = public.modulus.len();
                for len in [0, 1, whole - 1, whole + 1, 4 * whole] {
                    let ciphertext = vec![0x42; len];
                    let sealed = match key.operations.first() {
                        Some(Operation::RsaOaep(hash)) => {
                            Sealed::RsaOaep { hash: *hash, ciphertext: ciphertext.clone() }
                        }
                        _ => Sealed::RsaPkcs1v15 { ciphertext: ciphertext.clone() },
                    };
                    rejects(&mut *token, key, &sealed);
                    if key.operations.contains(&Operation::RsaPkcs1v15) {
                        rejects(&mut *token, key, &Sealed::RsaPkcs1v15 { ciphertext });
                    }
                }
            }
            None => {
                let sealed = token.seal(&key.uri, &random(32)).expect("seal");
                let Sealed::AesGcm { iv, ciphertext, tag } = sealed else {
                    panic!("{}: sealed as {:?}", key.uri, sealed.operation());
                };
                for len in [0, 1, 16, 31] {
                    let cut = ciphertext[..len].to_vec();
                    rejects(&mut *token, key, &Sealed::AesGcm { iv, ciphertext: cut, tag });
                }
                let longer = [ciphertext, vec![0; 4096]].concat();
                rejects(&mut *token, key, &Sealed::AesGcm { iv, ciphertext: longer, tag });
            }
            Some(_) => continue,
        }
        still_opens(&mut *token, key);
    }
}

pub(super) fn off_curve(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        let Some(PublicKey::Ec(public)) = &key.public else {
            continue;
        };
        let curve = public.curve;
        let mut off = public.point.clone();
        if let Some(last) = off.last_mut() {
            *last ^= 1;
        }
        let truncated = public.point[..public.point.len() - 1].to_vec();
        for ephemeral in [off, truncated, Vec::new(), vec![0]] {
            rejects(&mut *token, key, &Sealed::Ecdh { curve, ephemeral });
        }
        let foreign = if curve == Curve::P256 { Curve::P384 } else { Curve::P256 };
        rejects(&mut *token, key, &foreign_point(foreign));
        still_opens(&mut *token, key);
    }
}
