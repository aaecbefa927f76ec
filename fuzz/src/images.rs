//! What an image's author hands us: its documents.

use std::collections::BTreeMap;

use holdfast_image::{Digest, DocumentKind, Documents, Error, inspect_documents};

use crate::one_printable_line;

/// Most documents of one input.
const MAX_PARTS: usize = 8;

/// The documents of an image, up to eight between NUL bytes: index.json first, and each before those it
/// leads to. In each, `@1` stands for the digest of the next document, `@2` for that of the one after it, and
/// `#1` for the next one's size: so the fuzzer gets past digests that it cannot guess.
pub fn image(bytes: &[u8]) {
    let parts: Vec<&[u8]> = bytes.splitn(MAX_PARTS, |byte| *byte == 0).collect();
    let mut documents = Parts::default();
    let mut names: Vec<(Digest, usize)> = Vec::new();
    let mut first = Vec::new();
    for part in parts.iter().rev() {
        first = filled(part, &names);
        let digest = Digest::of(&first);
        names.insert(0, (digest.clone(), first.len()));
        documents.0.insert(digest, first.clone());
    }
    for tag in [None, Some("v1")] {
        match inspect_documents(&first, tag, &documents) {
            Ok(image) => {
                for layer in image.manifests.iter().flat_map(|manifest| &manifest.layers) {
                    assert_eq!(layer.encrypted, layer.media_type.ends_with("+encrypted"));
                    assert!(layer.encrypted || layer.packets.is_empty());
                    assert!(layer.packets.iter().all(|packet| packet.recipients.len() <= 64));
                    if let Some(trouble) = &layer.trouble {
                        one_printable_line(trouble);
                    }
                }
            }
            Err(error) => one_printable_line(&error),
        }
    }
}

/// Puts digests and sizes where they are asked for.
fn filled(part: &[u8], behind: &[(Digest, usize)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part;
    while let [byte, after @ ..] = rest {
        let of = after
            .first()
            .and_then(|digit| digit.checked_sub(b'1'))
            .and_then(|at| behind.get(usize::from(at)));
        rest = after;
        match (byte, of) {
            (b'@', Some((digest, _))) => out.extend_from_slice(digest.to_string().as_bytes()),
            (b'#', Some((_, size))) => out.extend_from_slice(size.to_string().as_bytes()),
            _ => {
                out.push(*byte);
                continue;
            }
        }
        rest = &after[1..];
    }
    out
}

#[derive(Default)]
struct Parts(BTreeMap<Digest, Vec<u8>>);

impl Documents for Parts {
    fn document(&self, _: DocumentKind, digest: &Digest) -> Result<Vec<u8>, Error> {
        // A layout answers what it has under a name, and need not have what the name says.
        Ok(self.0.get(digest).cloned().unwrap_or_default())
    }
}
