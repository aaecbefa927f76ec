use super::*;

const ASKED: [Operation; 2] = [Operation::GetAttributes, Operation::Encrypt];

fn batch_item(id: Option<u64>, operation: Option<u32>, status: u32) -> Item {
    let mut fields = Vec::new();
    fields.extend(operation.map(|operation| Item::enumeration(tag::OPERATION, operation)));
    fields.extend(id.map(|id| Item::bytes(tag::UNIQUE_BATCH_ITEM_ID, &id.to_be_bytes())));
    fields.push(Item::enumeration(tag::RESULT_STATUS, status));
    if status == FAILED {
        fields.push(Item::enumeration(tag::RESULT_REASON, 0x0c));
        fields.push(Item::text(tag::RESULT_MESSAGE, "not\nallowed"));
    }
    Item::structure(tag::BATCH_ITEM, fields)
}

fn response(count: i32, items: Vec<Item>) -> Item {
    let header = vec![protocol_version(Version::V1_4), Item::integer(tag::BATCH_COUNT, count)];
    let header = Item::structure(tag::RESPONSE_HEADER, header);
    Item::structure(tag::RESPONSE_MESSAGE, [vec![header], items].concat_items())
}

trait Concat {
    fn concat_items(self) -> Vec<Item>;
}

impl Concat for [Vec<Item>; 2] {
    fn concat_items(self) -> Vec<Item> {
        self.into_iter().flatten().collect()
    }
}

fn good(id: u64, operation: Operation) -> Item {
    batch_item(Some(id), Some(operation.number()), SUCCESS)
}

#[test]
fn answers_go_to_their_questions_whatever_their_order() {
    let refused = batch_item(Some(8), Some(Operation::Encrypt.number()), FAILED);
    let message = response(2, vec![refused, good(7, Operation::GetAttributes)]);
    let answers = answers(message, &ASKED, 7).unwrap();
    assert!(answers[0].is_ok());
    let failure = answers[1].as_ref().unwrap_err();
    assert_eq!((failure.operation, failure.reason), (Some(Operation::Encrypt), 0x0c));
    assert_eq!(failure.text, "not allowed");
}

#[test]
fn a_request_that_is_refused_as_a_whole_is_a_failure_of_each_question() {
    let answers = answers(response(1, vec![batch_item(None, None, FAILED)]), &ASKED, 7).unwrap();
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(|failure| failure.operation.is_none())));
}

#[test]
fn each_defect_of_a_response_is_told() {
    let second = || good(8, Operation::Encrypt);
    let defects = [
        (
            "another_batch_id",
            response(2, vec![good(9, Operation::GetAttributes), second()]),
            "another request",
        ),
        (
            "batch_id_of_the_past",
            response(2, vec![good(6, Operation::GetAttributes), second()]),
            "another request",
        ),
        (
            "no_batch_id",
            response(2, vec![batch_item(None, Some(0x0b), SUCCESS), second()]),
            "another request",
        ),
        ("same_batch_id_twice", response(2, vec![good(8, Operation::Encrypt), second()]), "two answers"),
        ("operation_not_asked", response(2, vec![good(7, Operation::Get), second()]), "another operation"),
        (
            "no_operation",
            response(2, vec![batch_item(Some(7), None, SUCCESS), second()]),
            "another operation",
        ),
        ("one_missing", response(1, vec![second()]), "every question"),
        ("none", response(0, Vec::new()), "every question"),
        ("wrong_count", response(3, vec![good(7, Operation::GetAttributes), second()]), "does not count"),
        ("pending", response(1, vec![batch_item(Some(7), Some(0x0b), 2)]), "neither a success"),
        ("no_header", Item::structure(tag::RESPONSE_MESSAGE, vec![second()]), "does not count"),
        ("a_request", Item::structure(tag::REQUEST_MESSAGE, Vec::new()), "no response message"),
        ("no_structure", Item::integer(tag::RESPONSE_MESSAGE, 1), "no structure"),
    ];
    for (name, message, says) in defects {
        let error = answers(message, &ASKED, 7).unwrap_err().to_string();
        assert!(error.contains(says), "{name}: {error}");
    }
}

#[test]
fn a_request_counts_and_numbers_its_questions() {
    let question = |operation| Question { operation, payload: vec![Item::text(tag::UNIQUE_IDENTIFIER, "1")] };
    let (bytes, operations) = request(Version::V1_4, 7, ASKED.map(question).into()).unwrap();
    assert_eq!(operations, ASKED);
    let message = ttlv::decode(bytes.expose()).unwrap();
    let header = message.get(tag::REQUEST_HEADER).unwrap();
    assert_eq!(header.get(tag::BATCH_COUNT).unwrap().as_integer(), Some(2));
    assert_eq!(header.get(tag::MAXIMUM_RESPONSE_SIZE).unwrap().as_integer(), Some(65536));
    assert_eq!(header.get_enumeration(tag::BATCH_ERROR_CONTINUATION_OPTION), Some(value::CONTINUE));
    let ids: Vec<_> =
        message.items()[1..].iter().map(|item| item.get_bytes(tag::UNIQUE_BATCH_ITEM_ID)).collect();
    assert_eq!(ids, [Some(&7u64.to_be_bytes()[..]), Some(&8u64.to_be_bytes()[..])]);
}
