//! What a token opens, and what it says it cannot.

use holdfast_wire::Operation;

use super::material::{foreign, sealed_to};
use super::{Subject, still_opens};
use crate::Error;

pub(super) fn opens(subject: &Subject) {
    let mut token = subject.connect();
    subject.each_operation(|key, operation| {
        for _ in 0..3 {
            let (sealed, expected) = sealed_to(&mut *token, key, operation);
            let opened =
                token.open(&key.uri, &sealed).unwrap_or_else(|e| panic!("{} {operation}: {e}", key.uri));
            assert!(opened.expose() == expected.expose(), "{} {operation}: not what was sealed", key.uri);
        }
    });
}

pub(super) fn unsupported(subject: &Subject) {
    let mut token = subject.connect();
    for key in &subject.keys {
        for operation in Operation::ALL.into_iter().filter(|known| !key.operations.contains(known)) {
            let error = token.open(&key.uri, &foreign(operation)).expect_err("opened");
            assert!(matches!(error, Error::Unsupported(_)), "{} {operation}: {error:?}", key.uri);
        }
        still_opens(&mut *token, key);
    }
}

pub(super) fn at_once(subject: &Subject) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut token = subject.connect();
                for key in &subject.keys {
                    still_opens(&mut *token, key);
                }
            });
        }
    });
}
