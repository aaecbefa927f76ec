//! Sessions, salted to the storage key, in which the first parameter is encrypted both ways (AES-128-CFB): who
//! listens on the bus between processor and TPM sees no plaintext, and who answers has the storage key's
//! private half.
//!
//! To start one costs the TPM a private operation of the storage key. One of each kind is kept for the next turn;
//! TPM2_PolicyRestart makes a policy session as new.

use holdfast_custody::Error;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{ObjectHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::SymmetricDefinition;

use super::Device;
use crate::errors::{Failure, failed};

/// One of each kind, at most, as the TPM holds three for everybody.
#[derive(Default)]
pub(super) struct Kept {
    hmac: Option<AuthSession>,
    policy: Option<AuthSession>,
}

impl Kept {
    pub(super) fn keeps(&self) -> bool {
        self.hmac.is_some() || self.policy.is_some()
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = ObjectHandle> + use<> {
        let sessions = [self.hmac.take(), self.policy.take()];
        sessions.into_iter().flatten().map(|session| SessionHandle::from(session).into())
    }
}

impl Device {
    /// For commands that are authorized by a password, which is empty.
    pub(crate) fn hmac_session(&mut self) -> Result<AuthSession, Failure> {
        match self.sessions.hmac {
            Some(session) => Ok(session),
            None => {
                let session = self.start(SessionType::Hmac)?;
                self.sessions.hmac = Some(session);
                Ok(session)
            }
        }
    }

    /// For a command that is authorized by a policy, of which nothing is met yet.
    pub(crate) fn policy_session(&mut self) -> Result<(AuthSession, PolicySession), Failure> {
        const DOING: &str = "starting a policy session";
        let other_kind = |_| Error::Internal("the TPM started another kind of session".into());
        if let Some(session) = self.sessions.policy {
            let policy = PolicySession::try_from(session).map_err(other_kind)?;
            self.context.policy_restart(policy).map_err(|error| failed(error, DOING))?;
            return Ok((session, policy));
        }
        let session = self.start(SessionType::Policy)?;
        self.sessions.policy = Some(session);
        Ok((session, PolicySession::try_from(session).map_err(other_kind)?))
    }

    fn start(&mut self, kind: SessionType) -> Result<AuthSession, Failure> {
        const DOING: &str = "starting a session";
        let salted_to = self.storage_key()?;
        let session = self.context.start_auth_session(
            Some(salted_to),
            None,
            None,
            kind,
            SymmetricDefinition::AES_128_CFB,
            HashingAlgorithm::Sha256,
        );
        // Its slot is needed for keys.
        self.done_with(salted_to.into());
        let session = session
            .map_err(|error| failed(error, DOING))?
            .ok_or_else(|| Error::Internal("the TPM started no session".into()))?;
        if let Err(failure) = self.encrypt_answers_alone(session, false) {
            self.loaded(SessionHandle::from(session).into());
            return Err(failure);
        }
        Ok(session)
    }

    /// For a command that has no parameter to be encrypted; the others want both ways.
    pub(super) fn encrypt_answers_alone(&mut self, session: AuthSession, alone: bool) -> Result<(), Failure> {
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(!alone)
            .with_encrypt(true)
            .build();
        self.context
            .tr_sess_set_attributes(session, attributes, mask)
            .map_err(|error| failed(error, "starting a session"))
    }
}
