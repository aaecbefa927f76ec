//! A disk that is full in the middle of an image: one line, and nothing that stays.

use std::process::Command;

use holdfast_e2e::peers::run;
use holdfast_e2e::{image, must};

use super::transfer::{Scene, TO};

/// Runs it with room for 32 KiB, less than any layer needs, at the directory `full`, and gives what it said and what was left there.
fn without_room(scene: &Scene, command: &Command) -> (String, String) {
    let full = scene.layout("full");
    std::fs::create_dir_all(&full).unwrap();
    let script = "mount -t tmpfs -o size=32k none \"$0\" && { \"$@\"; code=$?; ls -A \"$0\"; exit $code; }";
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "sh", "-c", script])
        .arg(full)
        .arg(command.get_program())
        .args(command.get_args());
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = run(inside);
    assert!(!ran.success, "there was room enough for {command:?}: {}", ran.err);
    (ran.err, ran.out)
}

#[test]
fn a_full_disk_is_one_line_and_nothing_is_left_on_it() {
    let scene = Scene::new();
    let app = scene.name("app:v1");
    must(&mut scene.image("encrypt", &image::oci(&scene.plain), &app, &TO));
    let full = scene.layout("full");
    let layout = image::oci(&full.join("opened"));
    let archive = format!("oci-archive:{}", full.join("opened.tar").display());
    let tmpdir = format!("--tmpdir={}", full.display());
    for (to, options, place) in [
        (layout, &[][..], "cannot write to "),
        (archive, &[], "cannot write to "),
        (scene.name("opened:v1"), &[&tmpdir[..]], "it is kept in "),
    ] {
        let (said, left) = without_room(&scene, &scene.image("decrypt", &app, &to, options));
        assert!(said.contains("No space left on device") && said.contains(place), "{to}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(left, "", "{to}");
    }
    assert!(scene.tags("opened").is_empty());
}
