//! Making keys in a KMIP server, and bringing keys there, for an operator.
//!
//! A key made here does what Holdfast asks of it and nothing else, and is active at once. It is asked for with
//! Sensitive true and Extractable false; a server that does not know these attributes (they came with KMIP 1.4) is
//! asked without, and the key's evidence tells so. What came of it is read back through the same eyes as any other
//! key, and a key that cannot be used is destroyed again.
//!
//! A key that is brought in gets one attribute more, by which it is told as imported for ever after.

use holdfast_custody::{Custodian as _, Error, KeyInfo, KeyKind, Keysmith, Made, PrivateKey, Requirement};
use holdfast_wire::{KeyUri, Secret};

use crate::attributes::{self, Attributes, State};
use crate::connection::Connection;
use crate::errors::{Asked, is_about_attributes, refused};
use crate::form::{Form, Given, Of};
use crate::message::Question;
use crate::protocol::attribute::{self, Attribute};
use crate::protocol::{Operation, tag, usage, value};
use crate::ttlv::{Item, Tag, Value};
use crate::{object, register};

/// An attribute that a new key shall have, and that a server need not know.
type Optional = (Attribute, fn() -> Value);

/// Those that keep a key in its server.
const KEEPING: [Optional; 2] =
    [(attribute::SENSITIVE, || Value::Boolean(true)), (attribute::EXTRACTABLE, || Value::Boolean(false))];

/// Likewise, and the one that tells for ever that it was brought in.
const IMPORTED: [Optional; 3] =
    [KEEPING[0], KEEPING[1], (attribute::APPLICATION_SPECIFIC_INFORMATION, || attributes::imported().1)];

/// A connection that makes keys.
pub(crate) struct Smith(Connection);

impl Smith {
    pub(crate) fn new(connection: Connection) -> Smith {
        Smith(connection)
    }
}

/// What a server has made, or taken.
struct New {
    /// The private or symmetric one first.
    ids: Vec<String>,
    /// The attributes that had to be left out.
    refused: Vec<&'static str>,
}

impl Keysmith for Smith {
    fn create(&mut self, uri: &KeyUri, kind: KeyKind) -> Result<Made, Error> {
        let name = self.free_name(uri)?;
        let new = self.ask_for(&KEEPING, |form, keeping| creating(form, &name, kind, keeping))?;
        self.vouch(uri, new, |_| Ok(()))
    }

    fn import(&mut self, uri: &KeyUri, key: &PrivateKey) -> Result<Made, Error> {
        let PrivateKey::Rsa(key) = key else {
            return Err(Error::KeyUnfit("a KMIP server has no ECDH that could use an EC key; import an RSA key, or make a new one (key create)".into()));
        };
        let name = self.free_name(uri)?;
        let mut new =
            self.ask_for(&IMPORTED, |form, optional| register::private(form, &name, key, optional))?;
        match self.ask_for(&[], |form, _| register::public(form, &name, key)) {
            Ok(public) => new.ids.extend(public.ids),
            Err(error) => return Err(self.undone(&new.ids, &error)),
        }
        self.vouch(uri, new, |info| match info.public.as_ref() == Some(&key.public) {
            true => Ok(()),
            false => Err(Error::KeyUnfit("the server tells another public half than the file's".into())),
        })
    }

    fn import_secret(&mut self, uri: &KeyUri, key: &Secret) -> Result<Made, Error> {
        let name = self.free_name(uri)?;
        let new = self.ask_for(&IMPORTED, |form, optional| register::secret(form, &name, key, optional))?;
        self.vouch(uri, new, |_| Ok(()))
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

    /// Asks for a new key with all of the optional attributes, or with as many of them as the server takes.
    fn ask_for(
        &mut self,
        optional: &[Optional],
        question: impl Fn(Form, Vec<Given>) -> Result<Question, Error>,
    ) -> Result<New, Error> {
        let form = self.0.client().form();
        for kept in subsets(optional.len()) {
            let given = kept.iter().map(|index| (optional[*index].0, optional[*index].1())).collect();
            let Question { operation, payload } = question(form, given)?;
            match self.0.client().ask(operation, payload)? {
                Ok(answer) => {
                    let refused = (0..optional.len()).filter(|index| !kept.contains(index));
                    let refused = refused.map(|index| optional[index].0.name).collect();
                    return Ok(New { ids: ids(&answer)?, refused });
                }
                Err(failure) if !kept.is_empty() && is_about_attributes(&failure) => {}
                Err(failure) => return Err(refused(&failure, Asked::Other)),
            }
        }
        Err(Error::Internal("a key was asked for in no way at all".into()))
    }

    /// Activates a new key and reads it back; one that cannot be used, or is not as `check` wants it, is destroyed
    /// again.
    fn vouch(
        &mut self,
        uri: &KeyUri,
        new: New,
        check: impl Fn(&KeyInfo) -> Result<(), Error>,
    ) -> Result<Made, Error> {
        let made = self.activate(&new.ids).and_then(|()| self.read_back(uri, &new.ids));
        match made.and_then(|(uri, info)| check(&info).map(|()| (uri, info))) {
            Ok((uri, mut info)) => {
                if !new.refused.is_empty() {
                    let told = ("the server does not take".to_owned(), new.refused.join(", "));
                    info.custody.evidence.push(told);
                }
                Ok(Made { uri, info })
            }
            Err(error) => Err(self.undone(&new.ids, &error)),
        }
    }

    /// The error of a key that was made in vain.
    fn undone(&mut self, ids: &[String], error: &Error) -> Error {
        let end = if self.destroy(ids) {
            "it was destroyed again"
        } else {
            "it is still there: destroy it with the server's own tool"
        };
        Error::KeyUnfit(format!("the key was made but cannot be used: {error}; {end}"))
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

/// Which of so many attributes to ask with: all, then all but one, and so on to none. Few enough to be tried.
fn subsets(of: usize) -> Vec<Vec<usize>> {
    let members = |set: u32| (0..of).filter(|index| set & (1 << index) != 0).collect();
    let mut sets: Vec<u32> = (0..1 << of).rev().collect();
    // A stable sort.
    sets.sort_by_key(|set| std::cmp::Reverse(set.count_ones()));
    sets.into_iter().map(members).collect()
}

/// Create (section 4.1) or CreateKeyPair (4.2).
fn creating(form: Form, name: &str, kind: KeyKind, keeping: Vec<Given>) -> Result<Question, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_asked_for_with_as_many_attributes_as_the_server_takes() {
        assert_eq!(subsets(0), [[0; 0]; 1]);
        assert_eq!(subsets(2), [vec![0, 1], vec![1], vec![0], vec![]]);
        assert_eq!(subsets(3).len(), 8);
    }
}
