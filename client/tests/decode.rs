//! `holdfast decode`, the binary, as containerd starts it, against a stand-in for the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::decoding::Decoding;

/// Longer than what is kept back, and no multiple of a block.
const LONG: usize = (3 << 20) + 7;

#[test]
fn a_layer_that_the_parent_has_open_is_given_whole() {
    for len in [0, 1, 4096, 4097, LONG] {
        let scene = Decoding::of(len);
        let _held = scene.open();
        scene.decode(&[]).gave(&scene.plain);
    }
}

#[test]
fn a_layer_through_a_pipe_alone_is_given_whole() {
    for len in [0, 1, 4096, 4097, (1 << 20) - 1, 1 << 20, LONG] {
        let scene = Decoding::of(len);
        scene.decode(&[]).gave(&scene.plain);
    }
}
