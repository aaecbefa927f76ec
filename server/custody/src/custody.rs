use crate::Error;

/// What a token states of a key's custody. `None` means it could not be read and counts as unproven.
///
/// The names are those of PKCS#11 (section 4.9); a TPM's sensitiveDataOrigin and fixedTPM, and KMIP's
/// Sensitive and Extractable attributes, say the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Custody {
    /// Its value cannot be read in plain.
    pub sensitive: Option<bool>,
    /// And never could be.
    pub always_sensitive: Option<bool>,
    /// It can leave the token, wrapped or in plain.
    pub extractable: Option<bool>,
    /// It never could.
    pub never_extractable: Option<bool>,
    /// It was generated inside the token, not brought in.
    pub local: Option<bool>,
    /// Everything the token says, by the token's own names and in its order.
    pub evidence: Vec<(String, String)>,
}

impl Custody {
    /// One line for people.
    pub fn summary(&self) -> String {
        let origin = match self.local {
            Some(true) => "generated in the token",
            Some(false) => "imported",
            None => "of unproven origin",
        };
        let leaving = match (self.extractable, self.never_extractable) {
            (Some(true), _) => "EXTRACTABLE",
            (Some(false), Some(true)) => "never extractable",
            (Some(false), Some(false)) => "not extractable now, but it once was",
            (Some(false), None) => "not extractable",
            (None, _) => "extractability unproven",
        };
        let reading = match self.sensitive {
            Some(false) => ", NOT SENSITIVE",
            Some(true) if self.always_sensitive == Some(false) => ", once not sensitive",
            _ => "",
        };
        format!("{origin}, {leaving}{reading}")
    }

    /// Whether the key was made in the token and can neither leave it nor ever could.
    pub fn is_proven(&self) -> bool {
        self.local == Some(true)
            && self.never_extractable == Some(true)
            && self.extractable == Some(false)
            && self.always_sensitive == Some(true)
            && self.sensitive == Some(true)
    }
}

/// What is asked of a key's custody before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Requirement {
    /// Accept a key that can leave its token, or whose value can be read.
    pub allow_extractable: bool,
}

impl Requirement {
    /// Refuses a key that its token lets go. An imported one is allowed, and told as imported.
    pub fn check(self, custody: &Custody) -> Result<(), Error> {
        if self.allow_extractable {
            return Ok(());
        }
        let reason = if custody.extractable == Some(true) {
            "the key may leave its token (extractable is true)"
        } else if custody.sensitive == Some(false) {
            "the key's value can be read from its token (sensitive is false)"
        } else {
            return Ok(());
        };
        Err(Error::KeyUnfit(format!(
            "{reason}; make a key that cannot, or set allow_extractable = true in its [[key]]"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven() -> Custody {
        Custody {
            sensitive: Some(true),
            always_sensitive: Some(true),
            extractable: Some(false),
            never_extractable: Some(true),
            local: Some(true),
            evidence: Vec::new(),
        }
    }

    #[test]
    fn a_key_made_in_the_token_is_proven() {
        assert!(proven().is_proven());
        assert_eq!(proven().summary(), "generated in the token, never extractable");
    }

    #[test]
    fn what_cannot_be_read_is_unproven() {
        let unread = Custody { local: None, never_extractable: None, ..proven() };
        assert!(!unread.is_proven());
        assert_eq!(unread.summary(), "of unproven origin, not extractable");
        assert!(!Custody::default().is_proven());
    }

    #[test]
    fn a_key_that_may_leave_is_refused_with_the_reason_and_the_setting() {
        for (weak, reason) in [
            (Custody { extractable: Some(true), ..proven() }, "may leave its token"),
            (Custody { sensitive: Some(false), ..proven() }, "can be read"),
        ] {
            let error = Requirement::default().check(&weak).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("allow_extractable = true"), "{error}");
            Requirement { allow_extractable: true }.check(&weak).unwrap();
        }
    }

    #[test]
    fn an_imported_key_is_allowed_and_told() {
        let imported = Custody { local: Some(false), never_extractable: Some(false), ..proven() };
        Requirement::default().check(&imported).unwrap();
        assert_eq!(imported.summary(), "imported, not extractable now, but it once was");
    }
}
