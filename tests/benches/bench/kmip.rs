//! Unwraps of a KMIP server's AES key through the real socket, against a bare client of the same server: what the
//! way costs, and what it brings that connections are kept.

use crate::Plan;
use crate::load::{Connections, Until};
use crate::report::{Report, Round};
use crate::scene::Scene;
use crate::unwrap::cost;

/// Callers of the daemon, and connections of the bare client.
const CALLERS: [usize; 2] = [1, 8];
/// How the callers come to the daemon, and what their row's name ends in.
const WAYS: [(Connections, &str); 2] = [(Connections::New, ""), (Connections::Kept, "/kept-connection")];

/// All rows of the group.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    let fresh = "unwrap/kmip/vs-new-connection";
    let each = CALLERS.iter().flat_map(|callers| WAYS.map(|(way, suffix)| (*callers, way, suffix)));
    let named =
        each.map(|(callers, way, suffix)| (callers, way, format!("unwrap/kmip/aes256/{callers}{suffix}")));
    let wanted: Vec<_> = named.filter(|(.., name)| plan.wants(name)).collect();
    if wanted.is_empty() && !plan.wants(fresh) {
        return;
    }
    println!("unwrap/kmip …");
    let scene = Scene::in_kmip(CALLERS[1]);
    let mut rows: Vec<Vec<Round>> = wanted.iter().map(|_| Vec::new()).collect();
    let mut anew = Vec::new();
    for _ in 0..plan.rounds {
        for ((callers, way, _), rounds) in wanted.iter().zip(&mut rows) {
            let bare = scene.bare(*callers, plan.time);
            let ours = scene.ours(*callers, *way, Until::Time(plan.time));
            let cost = cost(&ours, bare.cpu());
            rounds.push(Round { ours: ours.load.rate(), other: bare.rate(), cost: Some(cost) });
        }
        if plan.wants(fresh) {
            let bare = scene.bare_and_fresh(1, plan.time);
            let ours = scene.ours(1, Connections::New, Until::Time(plan.time));
            anew.push(Round { ours: ours.load.rate(), other: bare.rate(), cost: None });
        }
    }
    for ((.., name), rounds) in wanted.into_iter().zip(&rows) {
        report.add(name, "unwraps/s", rounds);
    }
    if plan.wants(fresh) {
        report.add(fresh.to_owned(), "unwraps/s", &anew);
    }
}
