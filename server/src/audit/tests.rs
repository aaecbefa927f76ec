use std::time::Duration;

use super::*;
use crate::caller::{Caller, Peer};

fn request(uid: u32) -> Request {
    Request::begin(Peer::new(Caller::Unix { uid, gid: 1 }, Some(2), None), Duration::from_secs(5))
}

fn record(labels: &Labels) -> Record<'_> {
    Record {
        event: "unwrap",
        outcome: "released".into(),
        aliases: vec!["images"],
        kids: vec![],
        layer: Some("sha256:00"),
        schemes: &["jwe"],
        labels,
        token_calls: 1,
    }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half a record");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_record_is_on_disk_when_its_receipt_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    let request = request(7);
    let _receipt = audit.append(&request, &record(&Labels::default())).await.unwrap();
    let lines = lines(&path);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["request"], request.id.to_string());
    assert_eq!(lines[0]["uid"], 7);
    assert_eq!(lines[0]["aliases"][0], "images");
    assert_eq!(lines[0]["layer"], "sha256:00");
}

#[tokio::test]
async fn many_writers_get_a_line_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    let writers: Vec<_> = (0..200)
        .map(|uid| {
            let audit = audit.clone();
            tokio::spawn(
                async move { audit.append(&request(uid), &record(&Labels::default())).await.map(drop) },
            )
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let mut uids: Vec<u64> = lines(&path).iter().map(|line| line["uid"].as_u64().unwrap()).collect();
    uids.sort_unstable();
    assert_eq!(uids, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_torn_record_is_cut_and_whole_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let torn = format!("{{\"a\":1}}\n{{\"torn\":\"{}", "x".repeat(10_000));
    std::fs::write(&path, torn).unwrap();
    let audit = Audit::open(&path).unwrap();
    let _receipt = audit.append(&request(1), &record(&Labels::default())).await.unwrap();
    let lines = lines(&path);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["a"], 1);
}

#[tokio::test]
async fn a_full_disk_is_told_and_stays_told_until_it_has_room() {
    // Every write to this device fails with ENOSPC.
    let audit = Audit::open(Path::new("/dev/full")).unwrap();
    audit.ready().await.unwrap();
    assert!(audit.append(&request(1), &record(&Labels::default())).await.is_err());
    assert!(audit.is_down());
    assert_eq!(audit.ready().await, Err(AuditDown));
}

#[test]
fn two_daemons_do_not_write_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let _first = Audit::open(&path).unwrap();
    let error = Audit::open(&path).err().unwrap();
    assert!(error.to_string().contains("another process writes this audit log"), "{error}");
}

#[tokio::test]
async fn a_caller_refused_over_and_over_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    let labels = Labels::default();
    for _ in 0..500 {
        audit.note_refusal(&request(7), &record(&labels));
    }
    let _receipt = audit.append(&request(7), &record(&labels)).await.unwrap();
    let lines = lines(&path);
    assert!(lines.len() < 50, "{} lines", lines.len());
    let counted: u64 = lines.iter().map(|line| 1 + line["suppressed"].as_u64().unwrap_or(0)).sum();
    assert_eq!(counted, 501);
}

#[tokio::test]
async fn after_a_rotation_records_go_into_the_new_file_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    let labels = Labels::default();
    let _receipt = audit.append(&request(1), &record(&labels)).await.unwrap();
    let rotated = dir.path().join("audit.jsonl.1");
    std::fs::rename(&path, &rotated).unwrap();
    let _receipt = audit.append(&request(2), &record(&labels)).await.unwrap();
    audit.reopen(&path).await.unwrap();
    let _receipt = audit.append(&request(3), &record(&labels)).await.unwrap();
    assert_eq!((lines(&rotated).len(), lines(&path).len()), (2, 1));
    // The same file again, and one that cannot be: what is open stays in use.
    audit.reopen(&path).await.unwrap();
    assert!(audit.reopen(Path::new("/nonexistent/audit.jsonl")).await.is_err());
    let _receipt = audit.append(&request(4), &record(&labels)).await.unwrap();
    assert_eq!(lines(&path).len(), 2);
    assert!(Audit::open(&path).is_err(), "still locked");
}
