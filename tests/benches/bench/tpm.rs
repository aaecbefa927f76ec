//! Unwraps of a TPM's key through the real socket, against bare tpm2-tss on the same swtpm: what the way costs, and
//! what it brings that key and session stay in the TPM.

use crate::Plan;
use crate::load::{Connections, Until};
use crate::report::{Report, Round};
use crate::scene::Scene;
use crate::unwrap::cost;

/// Callers of the daemon. A TPM does one command at a time, so that the bare loop has one thread.
const CALLERS: usize = 4;

/// All rows of the group.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    for (algorithm, name) in [("rsa-2048", "rsa2048"), ("ecc-p256", "ecc-p256")] {
        throughput(plan, report, algorithm, name);
    }
}

fn throughput(plan: &Plan, report: &mut Report, algorithm: &str, name: &str) {
    let (way, reuse) = (format!("unwrap/tpm/{name}"), format!("unwrap/tpm/reuse-{name}"));
    // Names of rows are told apart by their beginning, and these are none of each other's.
    let (wants_way, wants_reuse) = (plan.wants(&way), plan.wants(&reuse));
    if !wants_way && !wants_reuse {
        return;
    }
    println!("{way} …");
    let scene = Scene::in_tpm(algorithm);
    let (mut ways, mut reuses) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let bare = scene.bare(1, plan.time);
        let ours = scene.ours(CALLERS, Connections::New, Until::Time(plan.time));
        let rate = ours.load.rate();
        ways.push(Round { ours: rate, other: bare.rate(), cost: Some(cost(&ours, bare.cpu())) });
        if wants_reuse {
            let fresh = scene.bare_and_fresh(1, plan.time);
            reuses.push(Round { ours: rate, other: fresh.rate(), cost: None });
        }
    }
    if wants_way {
        report.add(way, "unwraps/s", &ways);
    }
    if wants_reuse {
        report.add(reuse, "unwraps/s", &reuses);
    }
}
