//! All that reads what a server says, in one call: for the fuzzer, which has no server.

use holdfast_wire::Malformed;

use crate::attributes::Attributes;
use crate::form::Form;
use crate::message::{self, Answer};
use crate::protocol::{Operation, tag};
use crate::ttlv::{self, Item};
use crate::{evidence, public};

/// Reads a response message as if its questions had been asked: the attributes that its answers have and the public
/// keys. Gives what there is to tell of it, a line for each thing.
pub fn read_response(bytes: &[u8]) -> Result<Vec<String>, Malformed> {
    let message = ttlv::decode(bytes)?;
    let batch = || message.items().iter().filter(|item| item.tag == tag::BATCH_ITEM);
    let operation = |item: &Item| match item.get_enumeration(tag::OPERATION) {
        Some(0x0b) => Operation::GetAttributes,
        Some(0x20) => Operation::Decrypt,
        _ => Operation::Get,
    };
    let operations: Vec<Operation> = batch().map(operation).collect();
    let first_id = batch()
        .next()
        .and_then(|item| item.get_bytes(tag::UNIQUE_BATCH_ITEM_ID)?.try_into().ok())
        .map_or(1, u64::from_be_bytes);
    let major =
        (|| message.get(tag::RESPONSE_HEADER)?.get(tag::PROTOCOL_VERSION)?.get(tag::PROTOCOL_VERSION_MAJOR))(
        );
    let form = if major.and_then(Item::as_integer) == Some(2) { Form::Tagged } else { Form::Named };
    let answers = message::answers(message, &operations, first_id)?;
    Ok(answers.into_iter().flat_map(|answer| told(answer, form)).collect())
}

fn told(answer: Answer, form: Form) -> Vec<String> {
    let payload = match answer {
        Ok(payload) => payload,
        Err(failure) => return vec![failure.text],
    };
    let public = match public::read(&payload) {
        Ok(public) => public.type_name(),
        Err(why) => why.to_string(),
    };
    let attributes = Attributes::of(payload, form);
    let told = evidence::TOLD.into_iter().filter_map(|attribute| attributes.told(attribute));
    told.chain([public, format!("{:?}", attributes.state())]).collect()
}
