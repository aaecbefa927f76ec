//! How much memory `holdfast image` takes for a layer of 10 GiB, on its way into a registry and out of it.
//!
//! Both take minutes and 40 GiB of disk, so they run only when they are named.

use std::process::{Command, Stdio};

use holdfast_e2e::house::House;
use holdfast_e2e::image;
use holdfast_e2e::peers::Peers;
use holdfast_e2e::peers::registry::Registry;
use hsm_sim::KeyKind;

use crate::Plan;
use crate::encrypt::make;
use crate::process::peak_until_end;
use crate::report::{Report, Round};

const GROUP: &str = "memory/10g";
const LAYER: usize = 10 << 30;
/// What it may take, in MiB, whatever the layer's length.
const BOUND: f64 = 64.0;

/// Both rows: what is pushed by one is pulled by the other.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    if !plan.names(GROUP) {
        return;
    }
    println!("{GROUP}, minutes …");
    let house = House::new().key("images", KeyKind::Rsa3072);
    let peers = Peers::of(&house);
    let registry = Registry::start(&peers);
    let _daemon = house.start();
    let plain = house.dir.path().join("plain");
    make(&plain, &[LAYER]);
    let published = registry.image("large");
    let holdfast = |arguments: &[&str]| {
        let mut command = house.holdfast();
        command.arg("image").args(arguments).stdout(Stdio::null());
        command.env("HOME", house.dir.path()).env_remove("XDG_RUNTIME_DIR");
        command.env("TMPDIR", house.dir.path());
        peak(command)
    };
    let encrypt = holdfast(&["encrypt", "--to", "holdfast:images", &image::oci(&plain), &published]);
    let opened = house.dir.path().join("opened");
    let decrypt = holdfast(&["decrypt", &published, &image::oci(&opened)]);
    assert_eq!(image::layers(&plain), image::layers(&opened), "it opens to another image");
    for (verb, ours) in [("encrypt", encrypt), ("decrypt", decrypt)] {
        report.add(format!("{GROUP}/{verb}"), "MiB", &[Round { ours, other: BOUND, cost: None }]);
    }
}

fn peak(mut command: Command) -> f64 {
    let mut child = command.spawn().expect("holdfast");
    let peak = peak_until_end(child.id(), || child.try_wait().expect("a child").is_some());
    assert!(child.wait().expect("an end").success());
    peak
}
