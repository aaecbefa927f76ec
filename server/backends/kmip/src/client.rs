//! Questions to a server, in a version of the protocol that both speak.

use holdfast_custody::Error;
use holdfast_wire::Malformed;

use crate::errors::{Asked, reason, refused, unreadable};
use crate::form::Form;
use crate::message::{self, Answer, Question, line};
use crate::protocol::{Operation, Version, tag, value};
use crate::stream::Stream;
use crate::ttlv::Item;

/// Every version, for people.
const SPOKEN: &str = "1.2, 1.3, 1.4, 2.0 and 2.1";

pub(crate) struct Client {
    stream: Stream,
    pub(crate) version: Version,
    next_id: u64,
    /// What it says it is.
    pub(crate) vendor: String,
    /// What it says it does; None where it does not say.
    operations: Option<Vec<u32>>,
}

impl Client {
    /// Agrees on a version and asks what the server can do.
    pub(crate) fn new(stream: Stream) -> Result<Client, Error> {
        let mut client =
            Client { stream, version: Version::V1_2, next_id: 1, vendor: String::new(), operations: None };
        client.version = client.agree()?;
        client.query()?;
        Ok(client)
    }

    /// One question.
    pub(crate) fn ask(&mut self, operation: Operation, payload: Vec<Item>) -> Result<Answer, Error> {
        let mut answers = self.ask_all(vec![Question { operation, payload }])?;
        answers.pop().ok_or_else(|| unreadable(&Malformed::new("no answer")))
    }

    /// Several questions in one request. Their answers are in their order; one that fails fails only itself.
    pub(crate) fn ask_all(&mut self, questions: Vec<Question>) -> Result<Vec<Answer>, Error> {
        let first_id = self.next_id;
        self.next_id += questions.len() as u64;
        let (request, operations) = message::request(self.version, first_id, questions)
            .map_err(|malformed| Error::Internal(malformed.to_string()))?;
        let message = self.stream.exchange(&request)?;
        message::answers(message, &operations, first_id).map_err(|malformed| {
            self.stream.spend();
            unreadable(&malformed)
        })
    }

    /// How attributes are written.
    pub(crate) fn form(&self) -> Form {
        Form::of(self.version)
    }

    /// Whether the server offers an operation, as far as it says.
    pub(crate) fn offers(&self, operation: Operation) -> bool {
        self.operations.as_ref().is_none_or(|offered| offered.contains(&operation.number()))
    }

    /// The best version that is spoken on both sides (DiscoverVersions, section 4.26). A server may refuse to read a
    /// question in a version that it does not have: then it is asked in the next.
    fn agree(&mut self) -> Result<Version, Error> {
        let mut refusal = None;
        for asked_in in Version::TO_ASK_IN {
            self.version = asked_in;
            let ours = Version::ALL.map(message::protocol_version).into();
            let answer = match self.ask(Operation::DiscoverVersions, ours)? {
                Ok(answer) => answer,
                Err(failure) => {
                    refusal.get_or_insert(failure.text);
                    continue;
                }
            };
            let theirs: Vec<Version> = answer.items().iter().filter_map(version).collect();
            return Version::ALL.into_iter().find(|version| theirs.contains(version)).ok_or_else(|| {
                Error::Unavailable(format!(
                    "the server speaks none of KMIP {SPOKEN}; allow one of them there"
                ))
            });
        }
        Err(Error::Unavailable(format!(
            "the server does not tell which versions of KMIP it speaks: {}; it must speak one of {SPOKEN}",
            refusal.unwrap_or_default()
        )))
    }

    /// Asks what the server is and can do.
    pub(crate) fn query(&mut self) -> Result<(), Error> {
        let functions = [value::QUERY_OPERATIONS, value::QUERY_SERVER_INFORMATION];
        let payload = functions.map(|function| Item::enumeration(tag::QUERY_FUNCTION, function)).into();
        let answer = match self.ask(Operation::Query, payload)? {
            Ok(answer) => answer,
            Err(failure) if failure.reason == reason::OPERATION_NOT_SUPPORTED => return Ok(()),
            Err(failure) => return Err(refused(&failure, Asked::Other)),
        };
        let offered = answer.items().iter().filter(|item| item.tag == tag::OPERATION);
        self.operations = Some(offered.filter_map(Item::as_enumeration).collect());
        self.vendor = answer.get_text(tag::VENDOR_IDENTIFICATION).map(line).unwrap_or_default();
        Ok(())
    }
}

fn version(item: &Item) -> Option<Version> {
    let number = |tag| item.get(tag).and_then(Item::as_integer);
    let (major, minor) = (number(tag::PROTOCOL_VERSION_MAJOR)?, number(tag::PROTOCOL_VERSION_MINOR)?);
    Some(Version { major, minor })
}
