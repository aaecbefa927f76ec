//! A first address that answers nothing at all: every SYN to it is dropped, as by a firewall, in a network of this
//! test's own.
//!
//! The program starts itself again in a network namespace, in which an Ethernet link leads nowhere: the neighbour at
//! its other end is known, and is not there. That needs root, or a system that lets its users make user namespaces.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)] // what fails here fails the test

use std::fs;
use std::process::ExitCode;

use holdfast_e2e::house::{House, me};
use holdfast_e2e::{kmip, rpc};
use hsm_sim::Pykmip;
use libtest_mimic::{Arguments, Trial};
use tokio::task::JoinSet;

/// Set in the process that runs in the namespace.
const INSIDE: &str = "HOLDFAST_TEST_BLACKHOLE";
/// Of TEST-NET-1 (RFC 5737).
const DEAD: &str = "192.0.2.10:5696";
const NETWORK: &str = r#"
set -e
ip link set lo up
ip link add hole type veth peer name nowhere
ip link set hole addrgenmode none
ip link set nowhere addrgenmode none
ip link set nowhere up
ip link set hole up
ip address add 192.0.2.1/24 dev hole
ip neighbour add 192.0.2.10 lladdr 02:00:00:00:00:0a dev hole nud permanent
exec "$0" "$@"
"#;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if std::env::var_os(INSIDE).is_none() {
        return start_again(&arguments);
    }
    let trial = Trial::test("an_address_that_drops_every_syn_fails_no_request", || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(fails_no_request());
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn start_again(arguments: &Arguments) -> ExitCode {
    // Named when they are missing: `unshare` here, `ip` in there.
    hsm_sim::command("ip", "iproute2").expect("ip");
    let mut unshare = hsm_sim::command("unshare", "util-linux").expect("unshare");
    if me() != 0 {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--net", "--", "sh", "-c", NETWORK]).arg(std::env::current_exe().expect("this program"));
    let status = unshare.args(std::env::args_os().skip(1)).env(INSIDE, "1").status().expect("unshare");
    if !status.success() && !arguments.list {
        eprintln!("the test needs a network namespace: root, or kernel.unprivileged_userns_clone");
    }
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn fails_no_request() {
    let server = Pykmip::start().unwrap();
    let house = kmip::section_at(House::new(), &[DEAD, &server.address()], &server);
    let (house, _) = kmip::make(house, "backup", "aes-256");
    let daemon = house.start();
    let packet = rpc::wrap_key(&house.socket(), &["backup"], rpc::optsdata().raw().expose()).await.unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (socket, packet) = (house.socket(), packet.clone());
        callers.spawn(async move { rpc::unwrap_key(&socket, &packet).await });
    }
    while let Some(answer) = callers.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), rpc::optsdata().raw().expose());
    }
    // It was really asked, nothing came back, and all of the daemon's connections asked once.
    let (received, sent) = passed();
    assert!(received == 0 && sent > 0, "{received} received, {sent} sent");
    let log = daemon.log();
    let told: Vec<&str> =
        log.lines().filter(|line| line.contains("no connection to the KMIP server")).collect();
    assert!(
        matches!(told[..], [line] if line.contains(DEAD) && line.contains("connecting: the server did not answer in time")),
        "{log}"
    );
    assert!(daemon.stop().success());
}

/// Packets that came from the link, and that went into it (proc_net_dev(5)).
fn passed() -> (u64, u64) {
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
    let hole = devices.lines().find_map(|line| line.trim_start().strip_prefix("hole:")).unwrap();
    let numbers: Vec<u64> = hole.split_whitespace().map(|number| number.parse().unwrap()).collect();
    (numbers[1], numbers[9])
}
