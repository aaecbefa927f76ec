//! What somebody sees of `holdfast image` on a terminal, line by line, while it works and when it has ended.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdfast_e2e::house::House;
use holdfast_e2e::terminal::{Terminal, on_terminal};
use holdfast_e2e::{image, must};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::interrupted::{Held, MIDDLE};
use super::transfer::{Scene, TO};

/// Two layers that are large enough to be told of.
fn large(house: &House) -> PathBuf {
    let (layout, noise) = (house.dir.path().join("large"), house.dir.path().join("noise"));
    let mut bytes = vec![0; 17 << 20];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    std::fs::write(&noise, bytes).unwrap();
    image::of_files(&layout, &[(&noise, "/one"), (&noise, "/two")]);
    layout
}

/// Encrypts it to a public key, on which nobody has to be asked.
fn encrypt(house: &House, large: &Path) -> Command {
    let key = concat!("jwe:", env!("CARGO_MANIFEST_DIR"), "/vectors/keys/rsa3072.pub.pem");
    let made = house.dir.path().join("made");
    let _ = std::fs::remove_dir_all(&made);
    let mut command = house.holdfast();
    command.args(["image", "encrypt", &image::oci(large), &image::oci(&made), "--to", key, "--json"]);
    command.env("TERM", "xterm");
    command
}

#[test]
fn a_terminal_shows_bars_and_keeps_a_line_for_each_layer_and_one_for_all() {
    let house = House::new();
    let large = large(&house);
    for columns in [100, 40] {
        let (said, shown, well) = on_terminal(encrypt(&house, &large), columns);
        assert!(well, "{shown:?}");
        // Bars go nowhere else.
        serde_json::from_str::<Value>(&said).unwrap();
        for bar in ["layer 1 of 2 ", "layer 2 of 2 ", "%"] {
            assert!(shown.written.contains(bar), "{bar}: {shown:?}");
        }
        // A bar that does not fit would be seen in pieces.
        assert_eq!(shown.written.contains(" of 17.0"), columns == 100, "{shown:?}");
        let text = shown.lines.join("\n");
        assert!(!text.contains('%') && !text.contains('['), "a bar stayed: {text}");
        let text = shown.lines.concat();
        assert_eq!(text.matches("17.0 MiB done").count(), 2, "{text}");
        assert_eq!(text.matches("holdfast: 2 layers, 34.0 MiB in ").count(), 1, "{text}");
    }
}

#[test]
fn an_interrupt_leaves_nothing_on_the_terminal_but_its_line() {
    let scene = Scene::new();
    let way = Held::way_to(scene.registry.address(), MIDDLE);
    let to = scene.name("app:v1").replace(scene.registry.address(), &way.address);
    let mut command = scene.image("encrypt", &image::oci(&scene.plain), &to, &TO);
    command.env("TERM", "xterm").stdout(Stdio::null());
    let terminal = Terminal::of(&mut command, 100);
    let mut child = command.spawn().unwrap();
    drop(command);
    terminal.wait_for("layer 1 of 3 ");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    way.let_go();
    assert!(!child.wait().unwrap().success());
    let lines = terminal.shown().lines;
    let seen: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(seen, ["holdfast: interrupted; nothing was written"]);
    assert!(scene.tags("app").is_empty());
}

#[test]
fn tags_are_counted_on_a_terminal_and_their_bar_goes_away() {
    let scene = Scene::new();
    must(&mut scene.image("encrypt", &image::oci(&scene.plain), &scene.name("app:v1"), &TO));
    let mut command = scene.holdfast();
    command.args(["image", "inventory", &format!("{}/app", scene.registry.address())]);
    command.env("TERM", "xterm");
    let (said, shown, well) = on_terminal(command, 100);
    assert!(well && said.ends_with("1 tag in 1 repository, all read\n"), "{said} {shown:?}");
    assert!(shown.written.contains("tags of "), "{shown:?}");
    assert_eq!(shown.lines.concat(), "", "{shown:?}");
}
