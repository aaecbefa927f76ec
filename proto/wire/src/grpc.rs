//! The generated gRPC services: ocicrypt's key provider protocol and Holdfast's own.

/// `keyprovider.KeyProviderService`, the protocol that ocicrypt's users speak.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod keyprovider {
    tonic::include_proto!("keyprovider");
}

/// `holdfast.v1.Holdfast`, the service that the `holdfast` client speaks.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod v1 {
    tonic::include_proto!("holdfast.v1");
}

/// Both services as gRPC reflection tells them: an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Longest message either service takes or gives, in bytes (16 MiB).
pub const MAX_MESSAGE_LEN: usize = 16 * 1024 * 1024;
