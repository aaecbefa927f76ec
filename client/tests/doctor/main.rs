//! `holdfast doctor`, the binary: a node on which all is well, and each thing that can be wrong with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod containerd;
mod daemon;
mod image;
mod layers;
mod node;
mod others;
mod provider;
#[path = "../support/mod.rs"]
mod support;
