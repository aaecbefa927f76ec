//! `[[key]]`, and which token it lies on.

use std::collections::BTreeSet;

use holdfast_custody::{RegularFile, Requirement};
use holdfast_envelope::pgp::Certificate;
use holdfast_wire::keyprovider::is_alias;
use holdfast_wire::{Algorithm, KeyUri};

use super::super::Key;
use super::super::reader::{At, Section};
use super::token::Declared;
use super::{absolute, required_alias, required_uri};
use crate::backends;

pub(super) fn key(
    mut section: Section<'_, '_>,
    tokens: &[At<Declared>],
    aliases: &mut BTreeSet<String>,
) -> Option<At<Key>> {
    let span = section.span();
    let alias = required_alias(&mut section);
    aliases.extend(alias.clone());
    let uri = required_uri(&mut section, "[[key]]");
    let kid = section.string("kid").and_then(|kid| {
        if is_alias(&kid.value) {
            return Some(kid.value);
        }
        section.fault(kid.span, "kid has 1 to 64 letters, digits, '.', '_' or '-'");
        None
    });
    let algorithms = section.strings("algorithms").map(|list| {
        if list.value.is_empty() {
            section.fault(
                list.span.clone(),
                "algorithms is empty: leave it out to allow all that the token can do",
            );
        }
        let mut read = Vec::new();
        for name in list.value {
            match name.value.parse::<Algorithm>() {
                Ok(algorithm) => read.push(algorithm),
                Err(error) => section.fault(name.span, format!("{:?} is {error}", name.value)),
            }
        }
        if read.contains(&Algorithm::Rsa1_5) && read.iter().any(|other| *other != Algorithm::Rsa1_5) {
            section.fault(
                list.span,
                "algorithms lists RSA1_5 beside others: whoever may have PKCS#1 v1.5 opened often enough can open all that is the key's; take a key of its own, with algorithms = [\"RSA1_5\"]",
            );
        }
        read
    });
    let has_certificate = section.has("openpgp");
    let openpgp = certificate(&mut section);
    if !has_certificate && algorithms.as_ref().is_some_and(|listed| listed.contains(&Algorithm::OpenPgpEcdh))
    {
        section.fault(
            section.span(),
            "algorithms lists OpenPGP-ECDH, which needs openpgp = the file with the key's OpenPGP certificate",
        );
    }
    let oaep_sha256_in_daemon = section.boolean("oaep_sha256_in_daemon", false);
    if oaep_sha256_in_daemon
        && !algorithms.as_ref().is_some_and(|listed| listed.contains(&Algorithm::RsaOaep256))
    {
        section.fault(
            section.span(),
            "oaep_sha256_in_daemon = true needs algorithms to list RSA-OAEP-256, and nothing that the key need not do",
        );
    }
    let wraps = section.boolean("wraps", true);
    let allow_extractable = section.boolean("allow_extractable", false);
    let token = uri.as_ref().and_then(|uri| token_of(&section, uri, tokens));
    if let Some(uri) = uri.as_ref().filter(|uri| uri.value.names_key())
        && let Err(why) = backends::check_key(&uri.value)
    {
        section.fault(uri.span.clone(), why);
    }
    section.finish();
    let key = Key {
        alias: alias?,
        uri: uri?.value,
        token: token?,
        kid,
        algorithms,
        openpgp,
        oaep_sha256_in_daemon,
        wraps,
        requirement: Requirement { allow_extractable },
    };
    Some(At { value: key, span })
}

/// Read here, so that a missing file is told with the other faults of the configuration.
fn certificate(section: &mut Section<'_, '_>) -> Option<Certificate> {
    let text = section.string("openpgp")?;
    let span = text.span.clone();
    let path = absolute(section, "openpgp", text)?;
    let read = match RegularFile::read(&path, Certificate::MAX_LEN) {
        Ok(file) => Certificate::parse(file.bytes.expose()).map_err(|why| why.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(certificate) => Some(certificate),
        Err(why) => {
            section.fault(span, format!("openpgp: {} cannot be used: {why}", path.display()));
            None
        }
    }
}

fn token_of(section: &Section<'_, '_>, uri: &At<KeyUri>, tokens: &[At<Declared>]) -> Option<usize> {
    if !uri.value.names_key() {
        section.fault(uri.span.clone(), "the uri of a [[key]] must say which key: add object= or id=");
        return None;
    }
    let mut on = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.value.uri.as_ref().is_some_and(|token| token.is_token_of(&uri.value)));
    match (on.next(), on.next()) {
        (Some((index, _)), None) => Some(index),
        (None, _) if tokens.iter().any(|token| token.value.uri.is_none()) => None,
        (None, _) => {
            section.fault(
                uri.span.clone(),
                "no [[token]] matches this key's uri; their attributes must be equal",
            );
            None
        }
        (Some(_), Some(_)) => {
            section.fault(
                uri.span.clone(),
                "more than one [[token]] matches this key's uri; say more of the token in it",
            );
            None
        }
    }
}
