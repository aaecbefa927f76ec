use std::io::Write as _;

use holdfast_wire::PublicKey;
use serde_json::{Value, json};

use super::*;

const RSA: &[u8] = include_bytes!("../../tests/vectors/systemd-measure/rsa2048.json");
const ALL_BANKS: &[u8] = include_bytes!("../../tests/vectors/systemd-measure/all-banks.json");
const PCR11: &str = include_str!("../../tests/vectors/systemd-measure/pcr11.txt");

fn vector(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/systemd-measure/{name}.json", env!("CARGO_MANIFEST_DIR"));
    fs::read(path).unwrap()
}

fn signer(name: &str) -> PolicyKey {
    let path = format!("{}/../../../tests/vectors/keys/{name}.pub.pem", env!("CARGO_MANIFEST_DIR"));
    PolicyKey::new(PublicKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap()).unwrap()
}

/// What systemd-measure says PCR 11 is to be: "11:sha256=…", one line a phase and bank.
fn values(line: usize) -> PcrValues {
    let (bank, value) =
        PCR11.lines().nth(line).unwrap().strip_prefix("11:").unwrap().split_once('=').unwrap();
    format!("{bank}:11={value}").parse().unwrap()
}

/// Without those that are signed over SHA-384.
fn usable(file: &[u8]) -> Vec<SignedPolicy> {
    parse(file).unwrap().into_iter().filter(|policy| policy.pcrs.to_string() == "sha256:11").collect()
}

/// The signed policies with the first entry of the bank changed.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut root: Value = serde_json::from_slice(RSA).unwrap();
    change(&mut root["sha256"][0]);
    root.to_string().into_bytes()
}

#[test]
fn what_systemd_measure_signed_is_read_and_verified() {
    for name in ["rsa2048", "ec-P-256", "ec-P-384"] {
        let key = signer(name);
        let policies = parse(&vector(name)).unwrap();
        // SHA-256 in both phases, then SHA-384.
        for (policy, line) in policies.iter().zip([0, 2, 1, 3]) {
            assert_eq!(policy.key, key.fingerprint(), "{name}");
            assert_eq!(policy.pcrs, values(line).selection(), "{name}");
            assert_eq!(policy.policy, crate::policy::PcrPolicy::new(&values(line)).digest(), "{name} {line}");
            // Debian 12's signs what is of the bank sha384 over SHA-384, which its own TPM code does not take.
            let sha256 = policy.pcrs.bank() == holdfast_custody::PcrBank::Sha256;
            assert_eq!(key.verify(&policy.policy, &policy.signature), sha256, "{name} {line}");
            assert_eq!(key.verify_sha384(&policy.policy, &policy.signature), !sha256, "{name} {line}");
            assert!(!key.verify(&[0; 32], &policy.signature), "{name} {line}");
            assert!(!signer("rsa3072").verify(&policy.policy, &policy.signature), "{name} {line}");
            assert_eq!(policy.values, None);
        }
        assert_eq!(policies.len(), 4, "{name}");
    }
}

#[test]
fn banks_and_members_that_are_not_known_are_passed_over() {
    let banks: Vec<_> = parse(ALL_BANKS).unwrap().iter().map(|policy| policy.pcrs.to_string()).collect();
    assert_eq!(banks, ["sha256:11", "sha384:11"]);
    let all = parse(RSA).unwrap();
    assert_eq!(parse(&changed(|entry| entry["new"] = json!({"a": [1]}))).unwrap(), all);
    for member in ["pcrs", "pkfp", "pol", "sig"] {
        let without = changed(|entry| drop(entry.as_object_mut().unwrap().remove(member)));
        assert_eq!(parse(&without).unwrap(), all[1..], "{member}");
    }
    assert_eq!(parse(b"{}").unwrap(), []);
}

#[test]
fn a_damaged_file_is_told_by_what_is_wrong_with_it() {
    let with = |member: &'static str, value: Value| changed(move |entry| entry[member] = value);
    for (bytes, says) in [
        (Vec::new(), "not JSON from line 1"),
        (RSA[..RSA.len() - 9].to_vec(), "not JSON"),
        (b"[]".to_vec(), "not a JSON object"),
        (br#"{"sha256":{}}"#.to_vec(), "under sha256 is no list"),
        (br#"{"sha256":[7]}"#.to_vec(), "the form of entry 0 under sha256"),
        (with("pcrs", json!([])), "\"pcrs\" of entry 0"),
        (with("pcrs", json!([24])), "\"pcrs\" of entry 0"),
        (with("pcrs", json!([11.5])), "\"pcrs\" of entry 0"),
        (with("pcrs", json!("11")), "\"pcrs\" of entry 0"),
        (with("pkfp", json!("00")), "\"pkfp\" of entry 0"),
        (with("pol", json!("g".repeat(64))), "\"pol\" of entry 0"),
        (with("pol", json!("0".repeat(66))), "\"pol\" of entry 0"),
        (with("sig", json!("!")), "\"sig\" of entry 0"),
        (with("sig", json!("")), "\"sig\" of entry 0"),
        (with("sig", json!("AAAA".repeat(172))), "\"sig\" of entry 0"),
    ] {
        let why = parse(&bytes).unwrap_err();
        assert!(why.contains(says), "{says}: {why}");
    }
    let many = json!({"sha256": vec![json!({"pcrs": [1], "pkfp": "00".repeat(32), "pol": "00".repeat(32), "sig": "AA=="}); MAX_POLICIES + 1]});
    assert!(parse(many.to_string().as_bytes()).unwrap_err().contains("more than 4096"));
}

#[test]
fn values_are_believed_only_if_they_are_those_of_the_policy() {
    let with =
        |values: Value| parse(&changed(move |entry| entry["values"] = values)).unwrap().remove(0).values;
    let value = values(0).iter().map(|(_, value)| holdfast_custody::hex::to_hex(value)).next().unwrap();
    assert_eq!(with(json!({"11": value})), Some(values(0)));
    for wrong in
        [json!({"11": "00".repeat(32)}), json!({"12": value}), json!({"11": 7}), json!([]), json!({})]
    {
        assert_eq!(with(wrong), None);
    }
}

#[test]
fn a_merged_file_keeps_all_it_had_and_has_nothing_twice() {
    let policies = parse(RSA).unwrap();
    let mut one = policies[0].clone();
    one.values = Some(values(0));
    let new = merge(b"", &one).unwrap();
    assert_eq!(parse(new.as_bytes()).unwrap(), [one.clone()]);
    assert_eq!(merge(new.as_bytes(), &one).unwrap(), new);
    let again = SignedPolicy { signature: vec![1], ..one.clone() };
    assert_eq!(merge(new.as_bytes(), &again).unwrap(), new, "an ECDSA signature is another one each time");

    let kept: Value = serde_json::from_str(&merge(ALL_BANKS, &policies[1]).unwrap()).unwrap();
    let mut before: Value = serde_json::from_slice(ALL_BANKS).unwrap();
    assert_eq!(kept["sha256"].as_array().unwrap().len(), 2);
    for bank in ["sha1", "sha384", "sha512"] {
        assert_eq!(kept[bank], before[bank].take(), "{bank}");
    }
    assert!(merge(b"{", &one).unwrap_err().contains("not JSON"));
    assert!(merge(br#"{"sha384":7}"#, &one).unwrap_err().contains("no list"));
}

#[test]
fn a_policy_is_added_to_a_file_that_is_there_and_never_to_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.json");
    let policies = parse(RSA).unwrap();
    let mode =
        || std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions()) & 0o777;
    policies[0].add_to(&file).unwrap();
    assert_eq!(mode(), 0o644);
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    policies[1].add_to(&file).unwrap();
    assert_eq!((parse(&fs::read(&file).unwrap()).unwrap(), mode()), (policies[..2].to_vec(), 0o640));
    for (content, says) in
        [("a PEM file", "not JSON"), ("[]", "not a JSON object"), ("{\"sha256\":7}", "no list")]
    {
        fs::write(&file, content).unwrap();
        assert!(policies[0].add_to(&file).unwrap_err().contains(says));
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    assert!(policies[0].add_to(dir.path()).unwrap_err().contains("is not a file"));
    assert!(policies[0].add_to(&dir.path().join("none/a.json")).unwrap_err().contains("No such file"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left behind");
}

#[test]
fn a_directory_is_read_in_the_order_of_its_names_and_each_fault_is_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("b.json"), RSA).unwrap();
    fs::write(at("a.json"), ALL_BANKS).unwrap();
    fs::write(at("c.txt"), "not looked at").unwrap();
    fs::write(at("d.json"), "damaged").unwrap();
    fs::create_dir(at("e.json")).unwrap();
    fs::File::create(at("f.json")).unwrap().set_len(MAX_LEN as u64 + 1).unwrap();
    let policies = SignedPolicies::new(vec![dir.path().into(), at("none")]);
    let (read, faults) = policies.read_for(&signer("rsa2048"));
    assert_eq!(read, [&usable(ALL_BANKS)[..], &usable(RSA)].concat());
    let expected =
        ["none: No such file", "d.json: damaged", "e.json: is not a file", "f.json: has more than"];
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for (fault, says) in faults.iter().zip(expected) {
        assert!(fault.contains(says), "{says}: {fault}");
    }
    let (none, _) = policies.read_for(&signer("rsa3072"));
    assert_eq!(none, []);
}

#[test]
fn a_policy_that_its_signer_has_not_signed_is_left_out_with_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.json");
    fs::write(&file, changed(|entry| entry["pol"] = json!("00".repeat(32)))).unwrap();
    let policies = SignedPolicies::new(vec![file]);
    for _ in 0..2 {
        let (read, faults) = policies.read_for(&signer("rsa2048"));
        assert_eq!(read, usable(RSA)[1..]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("a.json: policies that say they are signed by RSA-2048"), "{faults:?}");
    }
}

#[test]
fn a_file_of_signatures_that_no_tpm_takes_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.json");
    let mut root: Value = serde_json::from_slice(RSA).unwrap();
    root.as_object_mut().unwrap().remove("sha256");
    fs::write(&file, root.to_string()).unwrap();
    let (read, faults) = SignedPolicies::new(vec![file]).read_for(&signer("rsa2048"));
    assert_eq!(read, []);
    assert!(faults.len() == 1 && faults[0].contains("over SHA-384"), "{faults:?}");
}

#[test]
fn a_file_that_changes_is_read_anew_and_one_that_goes_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.json");
    let policies = SignedPolicies::new(vec![dir.path().into()]);
    let count = || policies.read_for(&signer("rsa2048")).0.len();
    assert_eq!(count(), 0);
    fs::write(&file, RSA).unwrap();
    assert_eq!((count(), count()), (2, 2));
    let mut new = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
    new.write_all(ALL_BANKS).unwrap();
    new.persist(&file).unwrap();
    assert_eq!(count(), 1);
    fs::remove_file(&file).unwrap();
    assert_eq!(count(), 0);
}

#[test]
fn more_files_than_a_directory_may_have_are_told() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..=MAX_FILES {
        fs::write(
            dir.path().join(format!("{number:03}.json")),
            if number < MAX_FILES { &b"{}"[..] } else { RSA },
        )
        .unwrap();
    }
    let (read, faults) = SignedPolicies::new(vec![dir.path().into()]).read_for(&signer("rsa2048"));
    assert_eq!(read, []);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("more than 256 files"), "{faults:?}");
}
