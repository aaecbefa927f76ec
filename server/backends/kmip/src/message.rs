//! Request and response messages (KMIP 1.4, sections 6 and 7): several questions in one request, and which answer
//! is to which.

use holdfast_wire::{Malformed, Secret};

use crate::protocol::{Operation, Version, tag, value};
use crate::ttlv::{self, Item, Value};

/// How much of a server's own text is kept.
const MAX_TEXT: usize = 200;

/// One item of a batch.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) operation: Operation,
    pub(crate) payload: Vec<Item>,
}

/// What a server says when it does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What it was asked; None if it did not even read that.
    pub(crate) operation: Option<Operation>,
    /// Result Reason (section 9.1.3.2.29).
    pub(crate) reason: u32,
    /// Result Message: its own words, in one line.
    pub(crate) text: String,
}

/// The payload of an answer, or why there is none.
pub(crate) type Answer = Result<Item, Failure>;

/// A request. Its items are numbered from `first_id`, so that no answer to another can be taken for one of its.
pub(crate) fn request(
    version: Version,
    first_id: u64,
    questions: Vec<Question>,
) -> Result<(Secret, Vec<Operation>), Malformed> {
    let operations: Vec<Operation> = questions.iter().map(|question| question.operation).collect();
    let mut header =
        vec![protocol_version(version), Item::integer(tag::MAXIMUM_RESPONSE_SIZE, number(ttlv::MAX_LEN)?)];
    if questions.len() > 1 {
        // One that fails fails only itself; without this, what stands behind it is not answered.
        header.push(Item::enumeration(tag::BATCH_ERROR_CONTINUATION_OPTION, value::CONTINUE));
    }
    header.push(Item::integer(tag::BATCH_COUNT, number(questions.len())?));
    let mut message = vec![Item::structure(tag::REQUEST_HEADER, header)];
    for (question, id) in questions.into_iter().zip(first_id..) {
        message.push(Item::structure(
            tag::BATCH_ITEM,
            vec![
                Item::enumeration(tag::OPERATION, question.operation.number()),
                Item::bytes(tag::UNIQUE_BATCH_ITEM_ID, &id.to_be_bytes()),
                Item::structure(tag::REQUEST_PAYLOAD, question.payload),
            ],
        ));
    }
    Ok((ttlv::encode(&Item::structure(tag::REQUEST_MESSAGE, message))?, operations))
}

pub(crate) fn protocol_version(version: Version) -> Item {
    Item::structure(
        tag::PROTOCOL_VERSION,
        vec![
            Item::integer(tag::PROTOCOL_VERSION_MAJOR, version.major),
            Item::integer(tag::PROTOCOL_VERSION_MINOR, version.minor),
        ],
    )
}

/// The answers to the questions whose operations are given, in their order. All of them, or none.
pub(crate) fn answers(
    message: Item,
    operations: &[Operation],
    first_id: u64,
) -> Result<Vec<Answer>, Malformed> {
    if message.tag != tag::RESPONSE_MESSAGE {
        return Err(Malformed::new("what came is no response message"));
    }
    let Value::Structure(items) = message.value else {
        return Err(Malformed::new("a response message that is no structure"));
    };
    let mut items = items.into_iter();
    let header = items.next().filter(|item| item.tag == tag::RESPONSE_HEADER);
    let count = header.as_ref().and_then(|header| header.get(tag::BATCH_COUNT)).and_then(Item::as_integer);
    let batch: Vec<Item> = items.collect();
    if batch.iter().any(|item| item.tag != tag::BATCH_ITEM) {
        return Err(Malformed::new("a response message with something else than a header and batch items"));
    }
    if count.and_then(|count| usize::try_from(count).ok()) != Some(batch.len()) {
        return Err(Malformed::new("a response message whose header does not count its batch items"));
    }
    if let [whole] = batch.as_slice()
        && let Some(failure) = whole_failure(whole)?
    {
        return Ok(operations.iter().map(|_| Err(failure.clone())).collect());
    }
    let mut answers: Vec<Option<Answer>> = operations.iter().map(|_| None).collect();
    for item in batch {
        let id = item.get_bytes(tag::UNIQUE_BATCH_ITEM_ID).and_then(|id| <[u8; 8]>::try_from(id).ok());
        let index = id.and_then(|id| u64::from_be_bytes(id).checked_sub(first_id));
        let index =
            index.and_then(|index| usize::try_from(index).ok()).filter(|index| *index < operations.len());
        let index =
            index.ok_or_else(|| Malformed::new("an answer to another request (Unique Batch Item ID)"))?;
        if answers[index].replace(answer(item, operations[index])?).is_some() {
            return Err(Malformed::new("two answers to one question"));
        }
    }
    let all: Option<Vec<Answer>> = answers.into_iter().collect();
    all.ok_or_else(|| Malformed::new("a response without an answer to every question"))
}

/// A refusal of the whole request: the server did not read as far as to what is asked in it, and so names neither.
fn whole_failure(item: &Item) -> Result<Option<Failure>, Malformed> {
    let named = [tag::OPERATION, tag::UNIQUE_BATCH_ITEM_ID].iter().any(|tag| item.get(*tag).is_some());
    if named || status(item)? == SUCCESS { Ok(None) } else { Ok(Some(failure(item, None))) }
}

const SUCCESS: u32 = 0;
const FAILED: u32 = 1;

fn status(item: &Item) -> Result<u32, Malformed> {
    item.get_enumeration(tag::RESULT_STATUS)
        .filter(|status| [SUCCESS, FAILED].contains(status))
        .ok_or_else(|| Malformed::new("an answer that is neither a success nor a failure"))
}

fn answer(item: Item, asked: Operation) -> Result<Answer, Malformed> {
    let status = status(&item)?;
    match item.get_enumeration(tag::OPERATION) {
        Some(operation) if operation == asked.number() => {}
        None if status == FAILED => {}
        _ => return Err(Malformed::new("an answer with another operation than was asked")),
    }
    if status == FAILED {
        return Ok(Err(failure(&item, Some(asked))));
    }
    let Value::Structure(fields) = item.value else { return Err(Malformed::new("an answer without fields")) };
    // Where there is nothing to say, some leave it out.
    let payload = fields.into_iter().find(|field| field.tag == tag::RESPONSE_PAYLOAD);
    Ok(Ok(payload.unwrap_or_else(|| Item::structure(tag::RESPONSE_PAYLOAD, Vec::new()))))
}

fn failure(item: &Item, operation: Option<Operation>) -> Failure {
    let text = item.get_text(tag::RESULT_MESSAGE).unwrap_or("no reason given");
    Failure { operation, reason: item.get_enumeration(tag::RESULT_REASON).unwrap_or(0), text: line(text) }
}

/// A server's text as a piece of one line.
pub(crate) fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_TEXT)
        .collect::<String>()
        .trim()
        .to_owned()
}

fn number(count: usize) -> Result<i32, Malformed> {
    i32::try_from(count).map_err(|_| Malformed::new("a request that is too large"))
}

#[cfg(test)]
mod tests;
