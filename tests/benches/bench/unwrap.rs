//! Unwraps through the real socket against the bare command: how many a second, and how long one takes.

use std::path::Path;

use hsm_sim::KeyKind;

use crate::Plan;
use crate::load::{Connections, Until};
use crate::report::{Cost, Report, Round};
use crate::scene::{Ours, Scene};

/// Callers of the daemon, and threads of the bare loop.
const CALLERS: usize = 16;
/// Memory that looks like a disk: what an audit log costs when flushing it costs nothing.
const TMPFS: &str = "/dev/shm";

/// All rows of the group.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    for (kind, name) in [
        (KeyKind::Rsa2048, "rsa2048"),
        (KeyKind::Rsa3072, "rsa3072"),
        (KeyKind::Rsa4096, "rsa4096"),
        (KeyKind::EcP256, "ecc-p256"),
    ] {
        throughput(plan, report, kind, &format!("unwrap/pkcs11/{name}"));
    }
    latency(plan, report, KeyKind::Rsa2048, "unwrap/pkcs11/rsa2048");
}

fn throughput(plan: &Plan, report: &mut Report, kind: KeyKind, group: &str) {
    let [new, kept, tmpfs, cpu] =
        ["new-connection", "kept-connection", "audit-on-tmpfs", "cpu"].map(|row| format!("{group}/{row}"));
    // Only for one key, where the rest of the way weighs most.
    let all = kind == KeyKind::Rsa2048;
    let wants_tmpfs = all && plan.wants(&tmpfs) && Path::new(TMPFS).is_dir();
    let mut sides = Vec::new();
    if plan.wants(&new) || plan.wants(&cpu) {
        sides.push((new.clone(), Connections::New, Vec::new()));
    }
    if all && plan.wants(&kept) {
        sides.push((kept, Connections::Kept, Vec::new()));
    }
    if wants_tmpfs {
        sides.push((tmpfs.clone(), Connections::New, Vec::new()));
    }
    if sides.is_empty() {
        return;
    }
    println!("{group} …");
    let scene = Scene::new(kind);
    let other_scene = wants_tmpfs.then(|| {
        let dir = tempfile::tempdir_in(TMPFS).expect("a scratch directory");
        (Scene::with_audit(kind, dir.path().join("audit.jsonl")), dir)
    });
    for _ in 0..plan.rounds {
        let bare = scene.bare(CALLERS, plan.time);
        for (name, connections, rounds) in &mut sides {
            let scene = match &other_scene {
                Some((on_tmpfs, _)) if *name == tmpfs => on_tmpfs,
                _ => &scene,
            };
            let ours = scene.ours(CALLERS, *connections, Until::Time(plan.time));
            let cost = cost(&ours, bare.cpu());
            rounds.push(Round { ours: ours.load.rate(), other: bare.rate(), cost: Some(cost) });
        }
    }
    for (name, _, rounds) in sides {
        if plan.wants(&cpu) && name == new {
            // Other processes slow a round down, but hardly change what it costs.
            let cpu_rounds: Vec<Round> = rounds
                .iter()
                .filter_map(|round| round.cost)
                .map(|cost| Round { ours: cost.daemon, other: cost.bare, cost: None })
                .collect();
            report.add(cpu.clone(), "CPU µs", &cpu_rounds);
        }
        if plan.wants(&name) {
            report.add(name, "unwraps/s", &rounds);
        }
    }
}

fn latency(plan: &Plan, report: &mut Report, kind: KeyKind, group: &str) {
    let names = ["p50", "p99", "added-p50"].map(|row| format!("{group}/{row}"));
    if !names.iter().any(|name| plan.wants(name)) {
        return;
    }
    println!("{group}, one caller …");
    let scene = Scene::new(kind);
    let mut rows = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..plan.rounds {
        let bare = scene.bare(1, plan.time);
        let ours = scene.ours(1, Connections::New, Until::Time(plan.time));
        let (p50, p99) = (ours.load.percentile(0.50), ours.load.percentile(0.99));
        let cost = || Some(cost(&ours, bare.cpu()));
        rows[0].push(Round { ours: p50, other: bare.p50_ms, cost: cost() });
        rows[1].push(Round { ours: p99, other: bare.p99_ms, cost: None });
        rows[2].push(Round { ours: p50 - bare.p50_ms, other: bare.p50_ms, cost: None });
    }
    for (name, rounds) in names.into_iter().zip(&rows).filter(|(name, _)| plan.wants(name)) {
        report.add(name, "ms", rounds);
    }
}

/// Where the time of one unwrap went, with what the bare loop needs for it.
pub(crate) fn cost(ours: &Ours, bare: f64) -> Cost {
    Cost { daemon: ours.daemon_cpu, callers: ours.callers_cpu, bare }
}
