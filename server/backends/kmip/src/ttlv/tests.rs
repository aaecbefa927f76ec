use super::*;

/// Tag 0x420020, type, length, value.
fn raw(kind: u8, len: u32, value: &[u8]) -> Vec<u8> {
    [&[0x42, 0, 0x20, kind][..], &len.to_be_bytes(), value].concat()
}

fn refused(bytes: &[u8]) -> String {
    decode(bytes).map(|_| ()).unwrap_err().to_string()
}

/// The examples of section 9.1.2.
#[test]
fn the_examples_of_the_standard_are_read_and_written() {
    let big = [0, 0, 0, 0, 0x03, 0xfd, 0x35, 0xeb, 0x6b, 0xc2, 0xdf, 0x46, 0x18, 0x08, 0, 0];
    let examples = [
        raw(2, 4, &[0, 0, 0, 8, 0, 0, 0, 0]),
        raw(3, 8, &[0x01, 0xb6, 0x9b, 0x4b, 0xa5, 0x74, 0x92, 0]),
        raw(4, 16, &big),
        raw(5, 4, &[0, 0, 0, 0xff, 0, 0, 0, 0]),
        raw(6, 8, &[0, 0, 0, 0, 0, 0, 0, 1]),
        raw(7, 11, b"Hello World\0\0\0\0\0"),
        raw(8, 3, &[1, 2, 3, 0, 0, 0, 0, 0]),
        raw(9, 8, &[0, 0, 0, 0, 0x47, 0xda, 0x67, 0xf8]),
        raw(10, 4, &[0, 0x0d, 0x2f, 0, 0, 0, 0, 0]),
        raw(1, 0, &[]),
    ];
    for bytes in &examples {
        let item = decode(bytes).unwrap();
        assert_eq!(item.tag, 0x42_0020);
        assert_eq!(encode(&item).unwrap().expose(), bytes);
    }
    let nested = raw(
        1,
        32,
        &[raw(5, 4, &[0, 0, 0, 254, 0, 0, 0, 0]), raw(2, 4, &[0, 0, 0, 255, 0, 0, 0, 0])].concat(),
    );
    let item = decode(&nested).unwrap();
    assert_eq!(item.items()[0].as_enumeration(), Some(254));
    assert_eq!(item.items()[1].as_integer(), Some(255));
    assert_eq!(encode(&item).unwrap().expose(), nested);
}

#[test]
fn each_defect_is_refused_with_its_own_line() {
    let defects = [
        ("empty", Vec::new(), "cut off"),
        ("header_of_seven_bytes", vec![0x42, 0, 0x20, 2, 0, 0, 0], "cut off"),
        ("length_of_4_gib", raw(8, u32::MAX, &[0; 8]), "longer than what is around it"),
        (
            "length_of_4_gib_in_a_structure",
            raw(1, 16, &raw(8, u32::MAX, &[0; 8])),
            "longer than what is around it",
        ),
        ("truncated", raw(8, 16, &[0; 8]), "longer than what is around it"),
        ("padding_cut_off", raw(8, 3, &[1, 2, 3, 0]), "padding is cut off"),
        ("padding_of_ones", raw(8, 3, &[1, 2, 3, 0, 0, 0, 0, 1]), "not zeros"),
        ("padding_of_a_number_of_ones", raw(2, 4, &[0, 0, 0, 8, 0, 0, 0, 1]), "not zeros"),
        ("integer_of_eight_bytes", raw(2, 8, &[0; 8]), "another length"),
        ("long_integer_of_four_bytes", raw(3, 4, &[0; 8]), "another length"),
        ("boolean_of_two", raw(6, 8, &[0, 0, 0, 0, 0, 0, 0, 2]), "neither true nor false"),
        ("big_integer_of_odd_length", raw(4, 7, &[0; 8]), "multiple of 8"),
        ("big_integer_of_nothing", raw(4, 0, &[]), "multiple of 8"),
        ("text_that_is_not_utf8", raw(7, 1, &[0xff, 0, 0, 0, 0, 0, 0, 0]), "UTF-8"),
        ("type_0", raw(0, 0, &[]), "unknown type"),
        ("type_11", raw(11, 8, &[0; 8]), "unknown type"),
        (
            "child_beyond_its_parent",
            [raw(1, 8, &raw(8, 8, &[])), vec![7; 8]].concat(),
            "longer than what is around it",
        ),
        ("child_cut_off", raw(1, 4, &[0x42, 0, 0x20, 2]), "cut off"),
        ("trailing_bytes", raw(2, 4, &[0; 16]), "after the end"),
    ];
    for (name, bytes, says) in defects {
        let error = refused(&bytes);
        assert!(error.contains(says), "{name}: {error}");
    }
}

fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for level in (0..depth).rev() {
        bytes.extend(raw(1, 8 * level as u32, &[]));
    }
    bytes
}

#[test]
fn nested_1000_deep() {
    assert!(refused(&nested(1000)).contains("nested too deep"));
    assert!(refused(&nested(MAX_DEPTH + 1)).contains("nested too deep"));
    assert!(decode(&nested(MAX_DEPTH)).is_ok());
}

#[test]
fn more_items_than_may_be() {
    let empty = raw(1, 0, &[]);
    let of = |count: usize| raw(1, 8 * count as u32, &empty.repeat(count));
    assert!(decode(&of(MAX_ITEMS - 1)).is_ok());
    assert!(refused(&of(MAX_ITEMS)).contains("more items"));
}

#[test]
fn longer_than_may_be() {
    let whole = raw(8, (MAX_LEN - HEADER_LEN) as u32, &vec![0; MAX_LEN - HEADER_LEN]);
    assert!(decode(&whole).is_ok());
    let longer = raw(8, MAX_LEN as u32, &vec![0; MAX_LEN]);
    assert!(refused(&longer).contains("more than 65536 bytes"));
}

#[test]
fn every_cut_of_a_message_is_refused() {
    let message = Item::structure(
        0x42_0078,
        vec![Item::text(0x42_0094, "images"), Item::bytes(0x42_00c2, &[7; 13]), Item::integer(0x42_000d, 1)],
    );
    let whole = encode(&message).unwrap();
    for len in 0..whole.len() {
        assert!(decode(&whole.expose()[..len]).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn no_byte_string_is_printed() {
    assert!(!format!("{:?}", Item::bytes(0x42_00c2, &[0xab; 32])).contains("171"));
}
