use hsm_sim::Firmware;

use super::*;

const EV_SEPARATOR: u32 = 4;
const EV_IPL: u32 = 13;
const EFI: u32 = 0x8000_0000;

/// One digest of each bank of [`Firmware::new`].
fn digests(byte: u8) -> Vec<Vec<u8>> {
    [20, 32, 48, 64].map(|len| vec![byte; len]).into()
}

/// A log of a remark, and two events of PCR 4 around one of PCR 7.
fn firmware() -> Firmware {
    let mut firmware = Firmware::new();
    firmware.remark(0, b"StartupLocality\0\x03");
    firmware.entry(4, EV_SEPARATOR, &digests(1), &[0; 4]);
    firmware.entry(7, EV_SEPARATOR, &digests(2), &[0; 4]);
    firmware.entry(4, EV_IPL, &digests(3), b"kernel\0");
    firmware
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

fn replay(log: &EventLog, pcrs: &str, replaced: &[&str]) -> Result<PcrValues, String> {
    let pcrs: PcrSelection = pcrs.parse().unwrap();
    let mut log = log.clone();
    for text in replaced {
        log.replace(pcrs.bank(), &text.parse().unwrap())?;
    }
    log.replay(&pcrs)
}

#[test]
fn a_replay_extends_what_the_log_extends_and_nothing_else() {
    let log = EventLog::parse(firmware().log()).unwrap();
    assert_eq!(log.banks(), [PcrBank::Sha256, PcrBank::Sha384]);
    let values = replay(&log, "sha256:0+4+5+7+17", &[]).unwrap();
    let mut locality = [0; 32];
    locality[31] = 3;
    assert_eq!(values.get(0), Some(&locality[..]));
    let first = sha256(&[&[0; 32], &[1; 32]]);
    assert_eq!(values.get(4).unwrap(), sha256(&[&first, &[3; 32]]));
    assert_eq!(values.get(5), Some(&[0; 32][..]));
    assert_eq!(values.get(7).unwrap(), sha256(&[&[0; 32], &[2; 32]]));
    assert_eq!(values.get(17), Some(&[0xff; 32][..]));
    assert_eq!(replay(&log, "sha384:4", &[]).unwrap().get(4).map(<[u8]>::len), Some(48));

    let other = format!("4.2={}", "ee".repeat(32));
    let predicted = replay(&log, "sha256:4+7", &[&other]).unwrap();
    assert_eq!(predicted.get(4).unwrap(), sha256(&[&first, &[0xee; 32]]));
    assert_eq!(predicted.get(7), values.get(7));
}

#[test]
fn what_cannot_be_replaced_is_told() {
    let log = EventLog::parse(firmware().log()).unwrap();
    let digest = "ee".repeat(32);
    for (event, says) in [
        (format!("4.0={digest}"), "no event 4.0"),
        (format!("4.3={digest}"), "PCR 4 has 2 in the log"),
        (format!("0.1={digest}"), "PCR 0 has 0 in the log"),
        (format!("4.1={digest}ee"), "has 33 bytes"),
        ("4.1=ee".to_owned(), "has 1 bytes; those of the bank sha256 have 32"),
    ] {
        let why = replay(&log, "sha256:4", &[&event]).unwrap_err();
        assert!(why.contains(says), "{event}: {why}");
    }
    for text in ["4.1", "4=00", "4.1=0", "4.1=g0", "24.1=00", "+4.1=00", "4.-1=00", "4.1=é0", ""] {
        assert!(text.parse::<Replacement>().unwrap_err().contains("as in 4.2="), "{text}");
    }
    let replacement: Replacement = format!("4.12={digest}").parse().unwrap();
    assert_eq!(replacement.to_string(), format!("4.12={digest}"));
}

#[test]
fn a_log_without_the_digests_that_are_asked_for_says_so() {
    let mut old = Firmware::old();
    old.sha1_entry(4, EV_SEPARATOR, [7; 20], &[0; 4]);
    let log = EventLog::parse(old.log()).unwrap();
    assert_eq!((log.events().len(), log.banks()), (1, &[][..]));
    assert!(replay(&log, "sha256:4", &[]).unwrap_err().contains("no sha256 digests"));

    let mut sha256 = Firmware::with_banks(&[(4, 20), (0xb, 32)]);
    sha256.entry(4, EV_SEPARATOR, &[vec![0; 20]], &[0; 4]);
    let log = EventLog::parse(sha256.log()).unwrap();
    assert!(replay(&log, "sha384:4", &[]).unwrap_err().contains("no sha384 digests"));
    assert!(replay(&log, "sha256:4", &[]).unwrap_err().contains("event 1 of the log has no sha256 digest"));
}

#[test]
fn a_log_cut_off_anywhere_is_refused_and_blank_memory_behind_it_is_not() {
    let firmware = firmware();
    let bytes = firmware.log();
    let whole = EventLog::parse(bytes).unwrap();
    assert_eq!(whole.events().len(), 5);
    let mut parsed = 0;
    for end in 0..bytes.len() {
        match EventLog::parse(&bytes[..end]) {
            // Nothing is missing at the end of an entry, nor after zeros alone, with which an entry of PCR 0 begins.
            Ok(log) => {
                assert_eq!(log.events(), &whole.events()[..log.events().len()]);
                parsed += 1;
            }
            Err(why) => assert!(why.contains("cut off"), "{end}: {why}"),
        }
    }
    assert_eq!(parsed, 4 + 4);
    for blank in [0, 0xff] {
        assert_eq!(EventLog::parse(&[bytes, &[blank; 100]].concat()).as_ref(), Ok(&whole));
    }
    assert!(EventLog::parse(&[bytes, &[1; 100]].concat()).unwrap_err().contains("event 5 at byte"));
}

#[test]
fn lengths_that_the_log_does_not_have_are_refused() {
    let header = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Firmware::with_banks(&[(0xb, 32)]).log().to_vec();
        change(&mut bytes);
        EventLog::parse(&bytes)
    };
    // 32 bytes of the entry, 16 of the signature, 8 of versions; then the count, an identifier and a length.
    for change in [
        |bytes: &mut Vec<u8>| bytes[56..60].fill(0xff),
        |bytes: &mut Vec<u8>| bytes[56..60].fill(0),
        |bytes: &mut Vec<u8>| bytes[62] = 31,
        |bytes: &mut Vec<u8>| bytes[56] = 2,
        |bytes: &mut Vec<u8>| bytes[64] = 1,
    ] {
        assert!(header(&change).unwrap_err().contains("header does not say"));
    }
    assert!(header(&|bytes| bytes[28..32].fill(0xff)).unwrap_err().contains("cut off in its first entry"));
    assert!(EventLog::parse(b"").unwrap_err().contains("not an event log"));

    let entry = |change: &dyn Fn(&mut [u8])| {
        let mut firmware = Firmware::with_banks(&[(0xb, 32)]);
        let start = firmware.log().len();
        firmware.entry(4, EV_SEPARATOR, &[vec![1; 32]], &[1; 4]);
        let mut bytes = firmware.log().to_vec();
        change(&mut bytes[start..]);
        EventLog::parse(&bytes)
    };
    for change in [
        // more digests than banks, a bank that the header does not have, endless data
        |entry: &mut [u8]| entry[8] = 2,
        |entry: &mut [u8]| entry[12] = 0xc,
        |entry: &mut [u8]| entry[46..50].fill(0xff),
    ] {
        assert!(entry(&change).unwrap_err().contains("event 1 at byte"));
    }
}

#[test]
fn a_log_of_nothing_but_empty_entries_ends() {
    let mut bytes = Firmware::new().log().to_vec();
    for _ in 0..70_000 {
        bytes.extend_from_slice(&[0; 16]);
    }
    bytes.push(1);
    assert!(EventLog::parse(&bytes).unwrap_err().contains("more than 65536 events"));
}

/// The description of one event.
fn described(kind: u32, data: &[u8]) -> (String, String) {
    let mut firmware = Firmware::new();
    firmware.entry(4, kind, &digests(1), data);
    let log = EventLog::parse(firmware.log()).unwrap();
    (log.events()[1].kind.to_string(), log.events()[1].description.clone())
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn variable(name: &str, claimed: u64) -> Vec<u8> {
    [&[9; 16][..], &claimed.to_le_bytes(), &4u64.to_le_bytes(), &wide(name), &[1, 2, 3, 4]].concat()
}

fn loaded(nodes: &[u8]) -> Vec<u8> {
    [&[0; 24][..], &(nodes.len() as u64).to_le_bytes(), nodes].concat()
}

fn node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
    [&[kind, subtype][..], &(data.len() as u16 + 4).to_le_bytes(), data].concat()
}

#[test]
fn events_are_told_by_what_they_were_about() {
    let path = [
        node(2, 1, &[0; 8]),
        node(4, 4, &wide("\\EFI\\Linux\0")),
        node(4, 4, &wide("\\a.efi\0")),
        node(0x7f, 0xff, &[]),
    ]
    .concat();
    for (kind, data, name, says) in [
        (EV_IPL, b"grub_cmd: linux /vmlinuz\0".to_vec(), "EV_IPL", "grub_cmd: linux /vmlinuz"),
        (EV_IPL, wide(".linux\0"), "EV_IPL", ".linux"),
        (EV_IPL, wide("quiet ✓ größe\0"), "EV_IPL", "quiet ? größe"),
        (6, [&[1; 8][..], &wide("Linux initrd\0")].concat(), "EV_EVENT_TAG", "Linux initrd"),
        (5, b"Calling INT 19h".to_vec(), "EV_ACTION", "Calling INT 19h"),
        (8, wide("1.2.3\0"), "EV_S_CRTM_VERSION", "1.2.3"),
        (EFI + 1, variable("SecureBoot", 10), "EV_EFI_VARIABLE_DRIVER_CONFIG", "SecureBoot"),
        (EFI + 0xe0, variable("db", 2), "EV_EFI_VARIABLE_AUTHORITY", "db"),
        (EFI + 3, loaded(&path), "EV_EFI_BOOT_SERVICES_APPLICATION", "\\EFI\\Linux\\a.efi"),
        (EFI + 0xa, b"\x03PEI\xff\xff".to_vec(), "EV_EFI_PLATFORM_FIRMWARE_BLOB2", "PEI"),
        (EV_SEPARATOR, b"text".to_vec(), "EV_SEPARATOR", ""),
        (EFI + 6, b"EFI PART".to_vec(), "EV_EFI_GPT_EVENT", ""),
        (0x1234, b"\xff\xfe".to_vec(), "type 0x1234", ""),
        // text with something for the terminal in it is none
        (EV_IPL, b"a\x1b[31mb\0".to_vec(), "EV_IPL", ""),
    ] {
        assert_eq!(described(kind, &data), (name.to_owned(), says.to_owned()), "{kind:#x} {data:?}");
    }
}

#[test]
fn data_that_says_it_is_longer_than_it_is_says_nothing() {
    for (kind, data) in [
        (EFI + 1, variable("SecureBoot", 1 << 40)),
        (EFI + 1, variable("SecureBoot", u64::MAX)),
        (EFI + 1, vec![1; 20]),
        (EFI + 3, [&[0; 24][..], &u64::MAX.to_le_bytes()].concat()),
        (EFI + 3, loaded(&[4, 4, 0xff, 0xff, b'a', 0])),
        // nodes without a length do not go on for ever
        (EFI + 3, loaded(&[4, 5, 0, 0, 4, 5, 0, 0])),
        (EFI + 3, loaded(&[4, 4, 0, 0])),
        (EFI + 0xa, vec![200, b'a']),
        (6, vec![b'a'; 7]),
    ] {
        assert_eq!(described(kind, &data).1, "", "{kind:#x} {data:?}");
    }
    let long = described(EV_IPL, &[b'a'; 5000]).1;
    assert_eq!(long.chars().count(), 128);
    assert!(long.ends_with("a…"), "{long}");
}

#[test]
fn only_a_regular_file_of_reasonable_size_is_read_and_none_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(EventLog::read(&dir.path().join("none")), Ok(None));
    assert!(EventLog::read(dir.path()).unwrap_err().contains("is not a file"));
    let large = dir.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(MAX_LEN as u64 + 1).unwrap();
    assert!(EventLog::read(&large).unwrap_err().contains("has more than"));
    let good = dir.path().join("good");
    std::fs::write(&good, firmware().log()).unwrap();
    assert_eq!(EventLog::read(&good).unwrap().unwrap().events().len(), 5);
}
