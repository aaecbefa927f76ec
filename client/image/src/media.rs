//! Media types, OCI's and Docker's: what a document or a layer is, and how a layer is compressed.

/// What a media type says of a document in a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Index,
    Manifest,
    Other,
}

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What ocicrypt's users put behind the media type of an encrypted layer.
const ENCRYPTED: &str = "+encrypted";

pub(crate) fn kind(media_type: &str) -> Kind {
    match media_type {
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json" => Kind::Index,
        "application/vnd.oci.image.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v2+json" => Kind::Manifest,
        _ => Kind::Other,
    }
}

/// Whether a config of this type has `rootfs.diff_ids`.
pub(crate) fn is_image_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    )
}

/// The media type that an encrypted layer has once it is opened; `None` for one that is not encrypted.
pub(crate) fn decrypted(media_type: &str) -> Option<&str> {
    media_type.strip_suffix(ENCRYPTED)
}

/// The media type that a layer has once it is encrypted, whether or not it was before.
pub(crate) fn encrypted(media_type: &str) -> String {
    format!("{}{ENCRYPTED}", decrypted(media_type).unwrap_or(media_type))
}

/// Whether this is Docker's own manifest, whose readers know of no annotations.
pub(crate) fn is_docker_manifest(media_type: &str) -> bool {
    media_type == "application/vnd.docker.distribution.manifest.v2+json"
}

/// How a tar layer is compressed; `None` for what is no tar.
pub(crate) fn compression(media_type: &str) -> Option<Compression> {
    let plain = decrypted(media_type).unwrap_or(media_type);
    let (tar, compression) = [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)]
        .into_iter()
        .find_map(|(name, compression)| {
            // OCI writes `tar+gzip`, Docker `tar.gzip`.
            let tar = plain.strip_suffix(name)?.strip_suffix(['+', '.'])?;
            Some((tar, compression))
        })
        .unwrap_or((plain, Compression::None));
    tar.ends_with(".tar").then_some(compression)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oci_and_docker_layers_are_known() {
        for (media_type, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", Some(Compression::Gzip)),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd+encrypted",
                Some(Compression::Zstd),
            ),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar+encrypted", Some(Compression::None)),
            ("application/vnd.in-toto+json", None),
        ] {
            assert_eq!(compression(media_type), expected, "{media_type}");
        }
        assert_eq!(
            decrypted("application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted"),
            Some("application/vnd.docker.image.rootfs.diff.tar.gzip")
        );
        assert_eq!(decrypted("application/vnd.oci.image.layer.v1.tar"), None);
    }
}
