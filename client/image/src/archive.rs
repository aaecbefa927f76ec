//! Images in one tar file, as skopeo, podman and docker write them: `oci-archive:`, a layout packed whole, and
//! `docker-archive:`, what `docker save` writes.
//!
//! Nothing is unpacked. The file's members are listed once, and each is read where it lies; so no name in an
//! archive ever becomes a path of this machine, and a link in it leads to another member or nowhere.

mod docker;
mod members;
mod oci;
mod reference;

pub use docker::DockerArchive;
pub use oci::OciArchive;
