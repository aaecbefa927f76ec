//! A server, or the way to it, on a bad day: an error each time, never a hang, a panic or growing memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod answers;
mod certificates;
mod failover;
#[path = "../support/mod.rs"]
mod support;
mod told;

use holdfast_custody::Error;

/// The line of an error that says that the server, or the way to it, is the trouble.
fn unavailable<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Unavailable(why)) => why,
        Err(other) => panic!("{other:?} instead of Unavailable"),
        Ok(_) => panic!("it succeeded"),
    }
}
