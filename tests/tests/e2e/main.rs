//! The real daemon and client, over real SoftHSM tokens, with the distribution's skopeo.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)] // what fails here fails the test

mod audit;
mod backends;
mod callers;
mod check;
mod client;
mod decode;
mod faults;
mod hang;
mod health;
mod images;
mod key;
mod kmip;
mod kmip_cluster;
mod kmip_import;
mod life;
mod limits;
mod malformed;
mod memory;
mod module;
mod openpgp;
mod others;
mod packets;
mod provider;
mod reflection;
mod reload;
mod secrets;
mod symmetric;
mod tcp;
mod tpm;
mod tpm_faults;
mod tpm_pcr;
mod tpm_seal;
mod unpadding;
