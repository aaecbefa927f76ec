//! Encrypted images on nodes: containerd of three generations (1.6, 1.7 and 2.1, of Debian 12, 13 and the
//! next) pulls them from a registry as kubelet has it do, and runs them. The keys are in an HSM.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

/// Makes a test of each promise on each generation.
macro_rules! on_each {
    ($($promise:ident),+ $(,)?) => {
        mod containerd_1_6 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(holdfast_e2e::node::Release::Bookworm).await })+
        }
        mod containerd_1_7 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(holdfast_e2e::node::Release::Trixie).await })+
        }
        mod containerd_2_1 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(holdfast_e2e::node::Release::Forky).await })+
        }
    };
}

mod decoded;
mod ends;
mod refused;
mod scene;
mod stock;
mod trouble;
