//! The daemon's memory: how much it is after many unwraps, and whether it still grows.

use hsm_sim::KeyKind;

use crate::Plan;
use crate::load::{Connections, Until};
use crate::process::memory;
use crate::report::{Report, Round};
use crate::scene::Scene;

/// What the daemon may take, in MiB.
const BOUND: f64 = 32.0;
const EARLY: usize = 10_000;
const LATE: usize = 100_000;

/// `memory/daemon` and `memory/flat`, from one daemon.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    const PEAK: &str = "memory/daemon";
    const FLAT: &str = "memory/flat";
    if !plan.wants(PEAK) && !plan.wants(FLAT) {
        return;
    }
    println!("{PEAK}: {LATE} unwraps, about a minute …");
    let scene = Scene::new(KeyKind::Rsa2048);
    let id = scene.daemon.id();
    scene.ours(16, Connections::New, Until::Calls(EARLY));
    let early = memory(id);
    scene.ours(16, Connections::New, Until::Calls(LATE - EARLY));
    let late = memory(id);
    if plan.wants(PEAK) {
        report.add(PEAK.into(), "MiB", &[Round { ours: late.peak, other: BOUND, cost: None }]);
    }
    if plan.wants(FLAT) {
        report.add(FLAT.into(), "MiB", &[Round { ours: late.now, other: early.now, cost: None }]);
    }
}
