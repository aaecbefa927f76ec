//! What a KMIP server answers.

use holdfast_kmip::{read_response, ttlv};

use crate::one_printable_line;

/// Answers: what is taken is written again as the same bytes, and all that is told of it is told in lines.
pub fn kmip_answer(bytes: &[u8]) {
    match ttlv::decode(bytes) {
        Ok(item) => {
            let written = ttlv::encode(&item).expect("what was read can be written");
            assert!(written.expose() == bytes, "it is written in another way than it was read");
        }
        Err(error) => one_printable_line(&error),
    }
    match read_response(bytes) {
        Ok(told) => {
            for line in told {
                assert!(!line.chars().any(char::is_control), "control characters: {line:?}");
            }
        }
        Err(error) => one_printable_line(&error),
    }
}
