//! Registries as the OCI distribution-spec has them: manifests, tags, referrers and blobs, over HTTP.
//!
//! Everything a registry answers comes from a stranger: bodies are bounded, digests checked, names are taken
//! only if they can be a path as they are, and a list is only given when every page of it was read. What is
//! sent to it is this user's: credentials go to the host that they are for and to the token server that it
//! names over TLS, and stay behind when it redirects to another host.
//!
//! A blob goes either way in constant memory. A download that breaks off is read on from there, an upload is
//! sent in chunks, each again from what the registry says it has; one that is given up is taken back.
//!
//! Why not the crate oci-client: it reads bodies of any length into memory, forgets why a token was refused,
//! follows no `Link` and no `Retry-After`, and gives a manifest no precondition. What is left to libraries is
//! HTTP, TLS, redirects and proxies (reqwest), challenges (http-auth) and Docker's credentials
//! (docker_credential).
//!
//! Left to others: what is in a manifest (holdfast-image), waiting and being interrupted (the client's
//! [`Options::wait`]).

mod auth;
mod credentials;
mod download;
mod error;
mod http;
mod image;
mod reference;
mod repository;
mod spool;
mod upload;

pub use credentials::Credentials;
pub use error::Error;
pub use http::{Options, Registry, Wait};
pub use image::{Pulled, Pushed};
pub use reference::{Reference, RepositoryName, Target};
pub use repository::{Known, Manifest, Referrer, Repository};
