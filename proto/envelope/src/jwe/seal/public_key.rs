//! The content encryption key (CEK), sealed to a public key.

use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use holdfast_wire::{Algorithm, EcPublicKey, Operation, PublicKey};

use super::To;
use super::form::Epk;
use crate::jwe::agreement;
use crate::point::{check_point, coordinates, ecdh};
use crate::{SealError, base64url, rsa};

/// The encrypted key, and for ECDH the ephemeral key. `number` is the recipient's, from 1.
pub(super) fn seal(number: usize, to: &To<'_>, cek: &[u8]) -> Result<(Vec<u8>, Option<Epk>), SealError> {
    match (to.key, to.algorithm.operation(), to.algorithm) {
        (PublicKey::Rsa(_), Operation::RsaOaep(hash), _) => Ok((rsa::oaep(number, to.key, hash, cek)?, None)),
        (PublicKey::Ec(key), _, Algorithm::EcdhEsA256Kw) => {
            let (wrapped, epk) = ecdh_es_a256kw(number, key, cek)?;
            Ok((wrapped, Some(epk)))
        }
        _ => {
            Err(SealError::Unfit { recipient: number, algorithm: to.algorithm, key_type: to.key.type_name() })
        }
    }
}

fn ecdh_es_a256kw(number: usize, key: &EcPublicKey, cek: &[u8]) -> Result<(Vec<u8>, Epk), SealError> {
    check_point(key).map_err(|why| SealError::Key { recipient: number, why })?;
    let curve = ecdh(key.curve);
    let failed = || SealError::Library("ECDH");
    let ephemeral = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(|_| failed())?;
    let public = ephemeral.compute_public_key().map_err(|_| failed())?;
    let peer = UnparsedPublicKey::new(curve, &key.point);
    let wrapped = agree_ephemeral(ephemeral, peer, failed(), |z| {
        agreement::wrap(key.curve, z, cek).ok_or(SealError::Library("AES key wrap"))
    })?;
    let (x, y) = coordinates(public.as_ref());
    let epk = Epk { kty: "EC", crv: key.curve.name(), x: base64url::encode(x), y: base64url::encode(y) };
    Ok((wrapped, epk))
}
