//! The real daemon on its socket, called by the programs that will call it: skopeo, ctd-decoder and
//! ctr-imgcrypt of Debian 13, in a root of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod archives;
mod at_a_time;
mod bridge;
mod ctr;
mod decoder;
mod encrypted;
mod full;
mod inspect;
mod interrupted;
mod node;
mod openpgp;
mod others;
mod podman;
mod progress;
mod recipients;
mod reencrypt;
mod registry;
mod rewrap;
mod rust_client;
mod scene;
mod skopeo;
mod symmetric;
mod tcp;
mod tokens;
mod transfer;
mod trouble;
