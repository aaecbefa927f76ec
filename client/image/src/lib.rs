//! Encrypted container images: what is in them, and how they are made and opened.
//!
//! The layer cipher is ocicrypt's AES_256_CTR_HMAC_SHA256. Images lie in OCI image layouts and archives, as skopeo
//! writes them, or anywhere that is a [`Source`] or a [`Target`]. Everything read here comes from strangers: digests are checked before they
//! become paths, manifests, depths and counts are bounded, and no plaintext byte is written before
//! the layer's MAC, size and digest have been checked ([`cipher::Verified`] is that promise as a type).
//!
//! Left to others: who wraps a layer's key and who opens it (a [`Wrapper`], an [`Opener`]; this crate
//! knows neither gRPC nor anybody's keys), what is shown to people, and registries (holdfast-registry).

pub mod cipher;
pub mod layout;
pub mod store;

mod annotations;
mod archive;
mod compression;
mod decrypt;
mod descriptor;
mod digest;
mod encrypt;
mod error;
mod identity;
mod inspect;
mod layer;
mod media;
mod packets;
mod parallel;
mod payload;
mod place;
mod platform;
mod progress;
mod reencrypt;
mod release;
mod rewrap;
mod root;
mod sealed;
mod staging;
mod tree;
mod work;
mod written;

pub use annotations::{Packet, PublicOptions};
pub use archive::{DockerArchive, OciArchive};
pub use decrypt::{Opener, decrypt};
pub use digest::Digest;
pub use encrypt::{Selection, Wrapper, encrypt};
pub use error::{Error, printable};
pub use identity::{Identity, Name};
pub use inspect::{
    Inspected, InspectedLayer, InspectedManifest, InspectedPacket, inspect, inspect_documents, inspect_root,
};
pub use layer::EncryptedLayer;
pub use layout::Reference;
pub use packets::Recipient;
pub use parallel::side_by_side;
pub use payload::Payload;
pub use place::{Location, NewBlob, NewImage, ReadAgain, RootDocument, Source, StoredImage, Target};
pub use platform::Platform;
pub use progress::{Event, LayerName, Progress};
pub use reencrypt::{Nowhere, Recipients, reencrypt};
pub use rewrap::{
    Change, Opened, Reason, Refusal, Rewrapped, RewrappedLayer, RewrappedManifest, Rewrapper, Wish, holders,
    rewrap, rewrap_dry, rewrap_layout, rewrap_to,
};
pub use root::{NewDocument, Root};
pub use tree::{DocumentKind, Documents};
pub use written::{Written, WrittenLayer, WrittenManifest};
