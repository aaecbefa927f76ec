//! Making keys in a KMIP server, for an operator.
//!
//! A key made here does what Holdfast asks of it and nothing else, and is active at once. It is asked for with
//! Sensitive true and Extractable false; a server that does not know these attributes (they came with KMIP 1.4) is
//! asked without, and the key's evidence tells so. What came of it is read back through the same eyes as any other
//! key, and a key that cannot be used is destroyed again.

use holdfast_custody::{Custodian as _, Error, KeyInfo, KeyKind, Keysmith, Made, PrivateKey, Requirement};
use holdfast_wire::KeyUri;

use crate::attributes::{self, Attributes, State};
use crate::connection::Connection;
use crate::errors::{Asked, is_about_attributes, refused};
use crate::form::{Form, Given, Of};
use crate::message::Question;
use crate::object;
use crate::protocol::attribute::{self, Attribute};
use crate::protocol::{Operation, tag, usage, value};
use crate::ttlv::{Item, Tag, Value};

/// The attributes that keep a key in its server, the least known last.
const KEEPING: [(Attribute, bool); 2] = [(attribute::SENSITIVE, true), (attribute::EXTRACTABLE, false)];

/// A connection that makes keys.
pub(crate) struct Smith(Connection);

impl Smith {
    pub(crate) fn new(connection: Connection) -> Smith {
        Smith(connection)
    }
}

impl Keysmith for Smith {
    fn create(&mut self, uri: &KeyUri, kind: KeyKind) -> Result<Made, Error> {
        let name = self.free_name(uri)?;
        let (ids, refused_attributes) = self.make(&name, kind)?;
        let made = self.activate(&ids).and_then(|()| self.read_back(uri, &ids));
        match made {
            Ok((uri, mut info)) => {
                if !refused_attributes.is_empty() {
                    let told = ("the server does not take".to_owned(), refused_attributes.join(", "));
                    info.custody.evidence.push(told);
                }
                Ok(Made { uri, info })
            }
            Err(error) => {
                let end = if self.destroy(&ids) {
                    "it was destroyed again"
                } else {
                    "it is still there: destroy it with the server's own tool"
                };
                Err(Error::KeyUnfit(format!("the key was made but cannot be used: {error}; {end}")))
            }
        }
    }

    fn import(&mut self, _: &KeyUri, _: &PrivateKey) -> Result<Made, Error> {
        Err(Error::KeyUnfit(
            "this version brings no keys into a KMIP server: register it with the server's own tool, or make a new key (key create)".into(),
        ))
    }
}

impl Smith {
    /// The name of a new key, which no key there has.
    fn free_name(&mut self, uri: &KeyUri) -> Result<String, Error> {
        object::check_uri(uri).map_err(Error::KeyUnfit)?;
        let unfit = |why: &str| Err(Error::KeyUnfit(why.into()));
        let name = match (uri.text("name"), uri.text("id")) {
            (_, Some(_)) => return unfit("leave id= out of the URI of a new key: the server chooses it"),
            (None, None) => return unfit("the URI of a new key needs name=, its Name attribute"),
            (Some(name), None) => name.to_owned(),
        };
        let types = [value::SYMMETRIC_KEY, value::PRIVATE_KEY, value::PUBLIC_KEY];
        match object::named(self.0.client(), &name, &types)?.is_empty() {
            true => Ok(name),
            false => unfit(
                "the server has a key of this name already, and a second one would make both ambiguous; give another name=",
            ),
        }
    }

    /// Makes the key; its identifiers, the private or symmetric one first, and which attributes had to be left out.
    fn make(&mut self, name: &str, kind: KeyKind) -> Result<(Vec<String>, Vec<&'static str>), Error> {
        for kept in (0..=KEEPING.len()).rev() {
            let question = creating(self.0.client().form(), name, kind, &KEEPING[..kept])?;
            match self.0.client().ask(question.operation, question.payload)? {
                Ok(answer) => {
                    return Ok((
                        ids(&answer)?,
                        KEEPING[kept..].iter().map(|(attribute, _)| attribute.name).collect(),
                    ));
                }
                Err(failure) if kept > 0 && is_about_attributes(&failure) => {}
                Err(failure) => return Err(refused(&failure, Asked::Other)),
            }
        }
        Err(Error::Internal("a key was asked for in no way at all".into()))
    }

    fn activate(&mut self, ids: &[String]) -> Result<(), Error> {
        let question =
            |id: &String| Question { operation: Operation::Activate, payload: vec![identifier(id)] };
        let client = self.0.client();
        let answers = client.ask_all(ids.iter().map(question).collect())?;
        for (id, answer) in ids.iter().zip(answers) {
            if let Err(failure) = answer
                // Some make their keys active.
                && Attributes::fetch(client, id)?.state() != Some(State::Active)
            {
                return Err(refused(&failure, Asked::Other));
            }
        }
        Ok(())
    }

    /// Found by its name alone, so that another of that name, made at the same time, is seen.
    fn read_back(&mut self, uri: &KeyUri, ids: &[String]) -> Result<(KeyUri, KeyInfo), Error> {
        let info = self.0.describe(uri)?;
        Requirement::default().check(&info.custody)?;
        let id = ids.first().map(String::as_str).unwrap_or_default();
        let full = uri.with("id", id.as_bytes()).map_err(|error| Error::KeyUnfit(error.to_string()))?;
        Ok((full, info))
    }

    /// An active key is not destroyed before it is revoked.
    fn destroy(&mut self, ids: &[String]) -> bool {
        let reason = || {
            let code = Item::enumeration(tag::REVOCATION_REASON_CODE, value::UNSPECIFIED);
            Item::structure(tag::REVOCATION_REASON, vec![code])
        };
        let revoke = ids
            .iter()
            .map(|id| Question { operation: Operation::Revoke, payload: vec![identifier(id), reason()] });
        let destroy =
            ids.iter().map(|id| Question { operation: Operation::Destroy, payload: vec![identifier(id)] });
        let (revoke, destroy): (Vec<_>, Vec<_>) = (revoke.collect(), destroy.collect());
        let client = self.0.client();
        // One that was never activated is not revoked.
        let _ = client.ask_all(revoke);
        client.ask_all(destroy).is_ok_and(|answers| answers.iter().all(Result::is_ok))
    }
}

fn identifier(id: &str) -> Item {
    Item::text(tag::UNIQUE_IDENTIFIER, id)
}

fn ids(answer: &Item) -> Result<Vec<String>, Error> {
    let told = |tag: Tag| answer.get_text(tag).map(str::to_owned);
    let found = match told(tag::UNIQUE_IDENTIFIER) {
        Some(id) => vec![id],
        None => [tag::PRIVATE_KEY_UNIQUE_IDENTIFIER, tag::PUBLIC_KEY_UNIQUE_IDENTIFIER]
            .into_iter()
            .filter_map(told)
            .collect(),
    };
    match found.is_empty() {
        false => Ok(found),
        true => {
            Err(Error::Unavailable("the server made a key but does not tell its Unique Identifier".into()))
        }
    }
}

/// Create (section 4.1) or CreateKeyPair (4.2).
fn creating(form: Form, name: &str, kind: KeyKind, keeping: &[(Attribute, bool)]) -> Result<Question, Error> {
    let keeping = keeping.iter().map(|(attribute, value)| (*attribute, Value::Boolean(*value)));
    let usage = |mask| (attribute::USAGE_MASK, Value::Integer(mask));
    let what = |algorithm, bits: u16| -> Vec<Given> {
        vec![
            (attribute::ALGORITHM, Value::Enumeration(algorithm)),
            (attribute::LENGTH, Value::Integer(i32::from(bits))),
            attributes::name(name),
        ]
    };
    match kind {
        KeyKind::Aes256 => {
            let mut new = what(value::AES, 256);
            new.push(usage(usage::ENCRYPT | usage::DECRYPT));
            new.extend(keeping);
            let mut payload = vec![Item::enumeration(tag::OBJECT_TYPE, value::SYMMETRIC_KEY)];
            payload.extend(form.write(Of::New, new));
            Ok(Question { operation: Operation::Create, payload })
        }
        KeyKind::Rsa(bits) => {
            let private = std::iter::once(usage(usage::DECRYPT)).chain(keeping).collect();
            let parts = [
                form.write(Of::Pair, what(value::RSA, bits)),
                form.write(Of::Private, private),
                form.write(Of::Public, vec![usage(usage::ENCRYPT)]),
            ];
            let payload = parts.into_iter().flatten().collect();
            Ok(Question { operation: Operation::CreateKeyPair, payload })
        }
        _ => Err(Error::KeyUnfit(format!(
            "a KMIP server has no ECDH that could use a key of kind {kind}; make aes-256 or rsa-3072"
        ))),
    }
}
