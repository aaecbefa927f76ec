//! The audit log when its disk is full, and when the daemon is killed.

use std::process::Command;

use holdfast_e2e::house::{House, file, me};
use holdfast_e2e::{eventually, rpc};
use holdfast_wire::grpc::v1;
use hsm_sim::KeyKind;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_requests_until_it_has_room_and_nothing_is_torn() {
    let house = House::new();
    let small = house.dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let house = house.audit_file(small.join("audit.jsonl")).key("images", KeyKind::EcP256);
    // A file system of its own, full but for one page, in a mount namespace of the daemon's; a line in
    // the pipe makes room, the next one shows the log outside.
    let pipe = house.dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let script = file(
        house.dir.path(),
        "small.sh",
        "set -eu\nmount -t tmpfs -o size=64k tmpfs \"$1\"\nhead -c 57344 /dev/zero > \"$1/filler\"\n\
         pipe=$2 out=$3; small=$1; shift 3\n\"$@\" &\ndaemon=$!\ntrap 'kill $daemon' TERM\n\
         read -r _ < \"$pipe\"; rm \"$small/filler\"\nread -r _ < \"$pipe\"; cp \"$small/audit.jsonl\" \"$out\"\nwait $daemon\n",
    );
    let daemon = house.holdfastd();
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if me() != 0 {
        command.arg("--map-current-user").arg("--keep-caps");
    }
    let seen = house.dir.path().join("seen.jsonl");
    command.args(["--", "sh"]).arg(script).arg(&small).arg(&pipe).arg(&seen).arg(daemon.get_program());
    command.args(daemon.get_args()).envs(house.hsm.env());
    let _daemon = house.start_command(command);

    // The first packet is wrapped while there is room.
    let packet = rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.unwrap();
    let mut answered = 1;
    let status = loop {
        match rpc::unwrap_key(&house.socket(), &packet).await {
            Ok(_) => answered += 1,
            Err(status) => break status,
        }
        assert!(answered < 2000, "the disk never filled");
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("the audit log cannot be written, so no key is used"),
        "{}",
        status.message()
    );
    let again = rpc::unwrap_key(&house.socket(), &packet).await.unwrap_err();
    assert_eq!(again.code(), Code::Unavailable);

    std::fs::write(&pipe, "make room\n").unwrap();
    eventually("room", async || rpc::unwrap_key(&house.socket(), &packet).await.is_ok()).await;
    answered += 1;
    std::fs::write(&pipe, "show\n").unwrap();
    let shown = || std::fs::read_to_string(&seen).unwrap_or_default();
    eventually("the log", async || shown().ends_with('\n')).await;
    let records: Vec<serde_json::Value> =
        shown().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
    assert_eq!(count("released") + count("wrapped"), answered);
    assert_eq!(records.iter().filter(|record| record["event"] == "audit-resumed").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_request_has_its_record_when_the_daemon_is_killed_under_load() {
    let house = House::new().key("images", KeyKind::EcP256);
    let mut answered: usize = 0;
    for round in 0..20 {
        let daemon = house.start();
        let packet =
            rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.unwrap();
        answered += 1;
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (socket, packet) = (house.socket(), packet.clone());
                tokio::spawn(async move {
                    let channel = rpc::connect(&socket).await;
                    let mut answered = 0;
                    while rpc::unwrap_on(channel.clone(), &packet).await.is_ok() {
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        // Killed at another moment each time, once it is busy.
        eventually("load", async || records(&house) >= answered + 20 + 7 * round).await;
        daemon.kill();
        for caller in callers {
            answered += caller.await.unwrap();
        }
        let text = std::fs::read_to_string(house.dir.path().join("audit.jsonl")).unwrap();
        let whole =
            text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
        assert!(whole >= answered, "{answered} answers, {whole} records");
        answered = whole;
    }
}

/// Whole records so far; the daemon may be writing the next.
fn records(house: &House) -> usize {
    let bytes = std::fs::read(house.dir.path().join("audit.jsonl")).unwrap();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_the_caller_names_is_recorded_and_nothing_else_in_its_place_is() {
    let house = House::new().key("images", KeyKind::EcP256);
    let _daemon = house.start();
    let packet = rpc::wrap_key(&house.socket(), &["images"], rpc::optsdata().raw().expose()).await.unwrap();
    let open = async |manifest: &str| {
        let packets = vec![v1::Packet { scheme: "provider.holdfast".into(), data: packet.clone() }];
        let request = v1::OpenPacketRequest { packets, manifest: manifest.into() };
        rpc::native(&house.socket()).await.open_packet(request).await
    };
    let manifest = format!("sha256:{}", "7".repeat(64));
    open(&manifest).await.unwrap();
    open("").await.unwrap();
    for bad in ["sha256:77", "x", &manifest.to_uppercase(), &format!("{manifest}\n"), &"7".repeat(100_000)] {
        let status = open(bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status.message().contains("manifest is not sha256: and 64 lower-case hexadecimal digits"),
            "{}",
            status.message()
        );
    }
    let records = house.audit();
    let named: Vec<_> = records.iter().filter(|record| record.get("manifest").is_some()).collect();
    assert_eq!(named.len(), 1);
    assert_eq!((&named[0]["manifest"], &named[0]["outcome"]), (&manifest.into(), &"released".into()));
}
