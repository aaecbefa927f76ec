//! How far the work is, as it is told: lines where stderr is no terminal, bars where it is one, nothing on request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::process::{Command, Output};

use support::encrypting::{Scene, jwe};
use support::images::{TestImage, tar};
use support::{holdfast, image};

/// An image with a layer that is worth a line, and one that is not.
fn scene() -> Scene {
    let scene = Scene::new();
    let mut large = TestImage::new();
    large.add(&tar("small", 3000), "");
    large.add(&tar("large", 20 << 20), "");
    fs::remove_dir_all(scene.path("plain")).unwrap();
    large.write(&scene.path("plain"));
    scene
}

fn encrypt(scene: &Scene, more: &[&str]) -> Command {
    let mut command = holdfast(&scene.socket);
    command.args(["image", "encrypt", &image(&scene.path("plain")), &image(&scene.path("sealed"))]);
    command.args(["--to", &jwe("rsa2048.pub.pem")]).args(more);
    command
}

/// The same with a terminal for stdout and stderr, by util-linux's `script`.
fn on_a_terminal(scene: &Scene, term: &str) -> String {
    let typed = encrypt(scene, &[]);
    let words: Vec<String> = [typed.get_program()]
        .into_iter()
        .chain(typed.get_args())
        .map(|word| format!("'{}'", word.display()))
        .collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    let Output { status, stdout, .. } =
        script.env("TERM", term).env("HOLDFAST_SOCKET", &scene.socket).output().expect("script (bsdutils)");
    assert!(status.success());
    String::from_utf8(stdout).unwrap()
}

#[test]
fn lines_are_told_of_large_layers_where_there_is_no_terminal() {
    let ran = encrypt(&scene(), &[]).output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.starts_with("holdfast: layer 2 of 2 (sha256:"), "{said}");
    assert!(said.contains("): 20.0 MiB done") && said.lines().count() == 2, "{said}");
    assert!(said.lines().last().unwrap().starts_with("holdfast: 2 layers, 20.0 MiB in "), "{said}");
    assert_eq!(String::from_utf8(ran.stdout).unwrap().lines().count(), 1);
}

#[test]
fn nothing_is_told_on_request() {
    for flag in ["-q", "--quiet"] {
        let ran = encrypt(&scene(), &[flag]).output().unwrap();
        assert!(ran.status.success());
        assert_eq!(String::from_utf8(ran.stderr).unwrap(), "");
    }
}

#[test]
fn a_terminal_has_bars_with_bytes_and_rate_and_they_go_in_the_end() {
    let said = on_a_terminal(&scene(), "xterm");
    assert!(
        said.contains("layer 2 of 2 ") && said.contains(" of 20.00 MiB ") && said.contains("/s ["),
        "{said:?}"
    );
    assert!(said.contains("%"), "{said:?}");
    // The last that is drawn over, before the one line that stays.
    let (_, stays) = said.rsplit_once("\u{1b}[2K").expect("bars are taken away");
    assert!(!stays.contains('%') && stays.contains(": 2 of 2 layers encrypted to "), "{stays:?}");
}

#[test]
fn a_terminal_that_cannot_go_back_has_lines() {
    let said = on_a_terminal(&scene(), "dumb");
    assert!(said.contains("holdfast: layer 2 of 2 (sha256:") && !said.contains('\u{1b}'), "{said:?}");
}
