//! Keys in a KMIP server (OASIS Key Management Interoperability Protocol, 1.2 to 2.1).
//!
//! A [`Token`] stands for one `[[token]]` of the configuration: a server, or several that are one cluster. Each
//! worker of its pool calls [`Token::connect`] on its own thread and gets a
//! [`Custodian`](holdfast_custody::Custodian): one connection over mutual TLS.
//!
//! ```text
//! Token::connect ── cluster ── tls ── stream ── client ── Connection
//!                   which      both   one       version,  describe: object ── attributes ── public, evidence
//!                   address    sides  answer a  what it   open:     Decrypt
//!                   answers           question  can do    seal:     Encrypt, and Decrypt to be sure
//! ```
//!
//! What is one for all connections is which addresses answer, and the certificates, which are read again when they
//! change. What a key may be used for, and by whom, queues and deadlines: all of it is left to others.
//!
//! A [`Token`] also makes keys and takes those from outside, for an operator: [`Token::keysmith`].
//!
//! [`ttlv`] and [`read_response`] are public for the fuzzer alone. What a server answers becomes an error in `errors` alone.

pub mod ttlv;

mod ability;
mod address;
mod attributes;
mod client;
mod cluster;
mod connection;
mod errors;
mod evidence;
mod form;
mod gcm;
mod keysmith;
mod message;
mod object;
mod protocol;
mod public;
mod reading;
mod register;
mod rsa;
mod stream;
mod tls;
mod token;

pub use address::Address;
pub use object::check_uri;
pub use reading::read_response;
pub use tls::Files;
pub use token::Token;
