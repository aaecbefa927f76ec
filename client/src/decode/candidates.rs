//! A layer without a payload (containerd's transfer service, `ctr`, media types that imgcrypt does not know):
//! its descriptor is looked for in the manifests that containerd keeps.

use std::fs::File;

use holdfast_image::store::{Wanted, manifests_naming};
use holdfast_image::{Digest, EncryptedLayer, Error};

use super::Blob;
use crate::failure::Failure;

/// Most candidates that the daemon is asked for: a manifest costs nobody anything to plant.
const MAX_TRIED: usize = 8;

/// One way in which the layer may be opened.
pub(crate) struct Candidate {
    pub(crate) file: File,
    pub(crate) layer: EncryptedLayer,
    /// Where it says so.
    pub(crate) manifest: Digest,
}

/// What the stores say of these blobs, the newest manifest first, as far as it may be tried; what several
/// manifests say alike is there once. `single` refuses where they do not say the same.
pub(crate) fn candidates(blobs: Vec<Blob>, single: bool) -> Result<Vec<Candidate>, Failure> {
    const PAYLOAD: &str = "there is no payload on file descriptor 3";
    if blobs.is_empty() {
        return Err(Failure::line(format!(
            "{PAYLOAD}, and the layer is no blob that the process which started this one has open; run it as containerd's stream processor, as the same user"
        )));
    }
    let media_type = std::env::var("STREAM_PROCESSOR_MEDIATYPE").ok().filter(|text| !text.is_empty());
    let mut found: Vec<Candidate> = Vec::new();
    let mut broken = None;
    let digests: Vec<String> = blobs.iter().map(|blob| blob.digest.short()).collect();
    for blob in blobs {
        let wanted = Wanted { digest: &blob.digest, size: blob.size, media_type: media_type.as_deref() };
        for named in manifests_naming(&blob.directory, wanted) {
            match named.layer {
                Ok(layer) if found.iter().any(|other| other.layer == layer) => {}
                Ok(layer) => {
                    let file = blob.file.try_clone().map_err(|error| {
                        Failure::line(format!(
                            "cannot open the layer once more: {error}; raise the limit on open files"
                        ))
                    })?;
                    found.push(Candidate { file, layer, manifest: named.manifest });
                    if found.len() == MAX_TRIED {
                        break;
                    }
                }
                Err(error) => broken = broken.or(Some((named.manifest, error))),
            }
        }
    }
    match (found.as_slice(), broken) {
        ([], None) => Err(Failure::line(format!(
            "{PAYLOAD}, and no manifest in the content store names {} as an encrypted layer; pull the image again",
            digests.join(" or ")
        ))),
        ([], Some((manifest, error))) => Err(of_manifest(&manifest, &error)),
        ([first, second, ..], _) if single => Err(Failure::line(format!(
            "{PAYLOAD}, and manifests ({}, {}) name the layer with different packets, which --single-manifest refuses; remove the image that is not wanted",
            first.manifest.short(),
            second.manifest.short()
        ))),
        _ => Ok(found),
    }
}

fn of_manifest(manifest: &Digest, error: &Error) -> Failure {
    Failure::line(format!("manifest {}: {error}", manifest.short()))
}
