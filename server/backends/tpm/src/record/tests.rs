use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;

use hsm_sim::Firmware;

use super::file::{DAMAGED, MAX_LEN};
use super::*;
use crate::policy::PcrPolicy;

/// A log of one PCR's events: text, and what stands for its digest.
fn log_of(events: &[(&str, u8)]) -> EventLog {
    let mut firmware = Firmware::with_banks(&[(0xb, 32)]);
    for (text, digest) in events {
        firmware.entry(4, 13, &[vec![*digest; 32]], text.as_bytes());
    }
    EventLog::parse(firmware.log()).unwrap()
}

/// PCR 4 as the log gives it, and PCR 7 of zeros.
fn values(log: &EventLog) -> PcrValues {
    log.replay(&"sha256:4+7".parse().unwrap()).unwrap()
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

const BOOT: [(&str, u8); 3] = [("loader", 1), ("kernel", 2), ("initrd", 3)];

/// What is told of PCR 4 when another log is there, and its values.
fn told(now: &[(&str, u8)]) -> String {
    let (then, now) = (log_of(&BOOT), log_of(now));
    let differences = Record::of(values(&then), Some(&then)).differences(&values(&now), Some(&now));
    assert_eq!(differences.len(), 1);
    differences[0].to_string()
}

#[test]
fn the_first_event_that_differs_is_told() {
    let (one, two, four) = (BOOT[0], BOOT[1], ("kernel", 4));
    for (now, says) in [
        (
            vec![one, four, ("initrd", 3)],
            format!(
                "PCR 4 differs from event 4.2, EV_IPL \"kernel\": it measured {}, and now {}",
                hex(2),
                hex(4)
            ),
        ),
        (
            vec![("shim", 9), one, two],
            "PCR 4 differs from event 4.1: it was EV_IPL \"loader\", and now is EV_IPL \"shim\"".into(),
        ),
        (vec![one, two], "PCR 4 differs: event 4.3, EV_IPL \"initrd\", is missing now".into()),
        (
            [&BOOT[..], &[("devicetree", 5)]].concat(),
            "PCR 4 differs: event 4.4, EV_IPL \"devicetree\", is new".into(),
        ),
    ] {
        assert_eq!(told(&now), says);
    }
}

#[test]
fn a_pcr_that_was_extended_after_the_boot_is_told_apart() {
    let log = log_of(&BOOT);
    let record = Record::of(values(&log), Some(&log));
    let now: PcrValues = format!("sha256:4={}+7={}", hex(8), hex(0)).parse().unwrap();
    let differences = record.differences(&now, Some(&log));
    assert_eq!(differences.len(), 1);
    assert_eq!((differences[0].pcr, &differences[0].cause), (4, &Cause::NotInLog));
    assert_eq!(differences[0].is, [8; 32]);
    assert!(differences[0].to_string().contains("after the boot"), "{}", differences[0]);

    for (record, log) in [(record, None), (Record::of(values(&log), None), Some(&log))] {
        let differences = record.differences(&now, log);
        assert_eq!(differences[0].cause, Cause::NoLog);
        assert!(differences[0].to_string().starts_with("PCR 4 differs: 08080808… where it was "));
    }
}

#[test]
fn nothing_is_told_of_pcrs_that_are_as_they_were_or_are_not_asked_for() {
    let log = log_of(&BOOT);
    let record = Record::of(values(&log), Some(&log));
    assert_eq!(record.differences(&values(&log), Some(&log)), []);
    let others: PcrValues = format!("sha256:5={}", hex(8)).parse().unwrap();
    assert_eq!(record.differences(&others, Some(&log)), []);
}

#[test]
fn a_record_reads_back_for_its_own_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("a.tss");
    let log = log_of(&BOOT);
    let policy = PcrPolicy::new(&values(&log)).digest();
    for record in [Record::of(values(&log), Some(&log)), Record::of(values(&log), None)] {
        record.write(&key).unwrap();
        assert_eq!(Record::read(&key, &policy).unwrap(), record);
        let about = fs::metadata(dir.path().join("a.tss.pcrs")).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o644);
    }
    assert!(Record::read(&key, &[0; 32]).unwrap_err().contains("of another key"));
    assert!(Record::read(&dir.path().join("b.tss"), &policy).unwrap_err().contains("No such file"));
}

#[test]
fn a_damaged_record_tells_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("a.tss");
    let log = log_of(&BOOT);
    let policy = PcrPolicy::new(&values(&log)).digest();
    let good = Record::of(values(&log), Some(&log)).to_json(true);
    let end = good.len() - 2;
    for text in [
        "",
        "[]",
        "{}",
        &good[..end],
        &good.replace("sha256:", "sha1:"),
        &good.replace("\"digest\"", "\"d\""),
        &good.replace(&hex(2), "zz"),
        &good.replace("\"4\": [", "\"x\": ["),
    ] {
        fs::write(Record::path(&key), text).unwrap();
        assert_eq!(Record::read(&key, &policy).unwrap_err(), DAMAGED, "{text}");
    }
    File::create(Record::path(&key)).unwrap().set_len(MAX_LEN as u64 + 1).unwrap();
    assert!(Record::read(&key, &policy).unwrap_err().contains("has more than"));
    // What a terminal would obey is not handed on.
    fs::write(Record::path(&key), good.replace("kernel", "k\\u001b[31m")).unwrap();
    let record = Record::read(&key, &policy).unwrap();
    let other = format!("sha256:4={}", hex(8)).parse().unwrap();
    let now = log_of(&[("loader", 1), ("x", 9)]);
    assert!(record.differences(&other, Some(&now))[0].to_string().contains("\"k?[31m\""));
}

#[test]
fn a_history_too_long_to_be_read_back_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("a.tss");
    let mut firmware = Firmware::with_banks(&[(0xb, 32)]);
    (0..10_000).for_each(|_| firmware.entry(4, 13, &[vec![1; 32]], b"kernel"));
    let log = EventLog::parse(firmware.log()).unwrap();
    Record::of(values(&log), Some(&log)).write(&key).unwrap();
    let record = Record::read(&key, &PcrPolicy::new(&values(&log)).digest()).unwrap();
    assert_eq!(record, Record::of(values(&log), None));
}
