//! One connection: the [`Custodian`].

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_custody::{Custodian, Error, Health, KeyInfo};
use holdfast_wire::{Curve, KeyUri, OaepHash, PublicKey, Sealed, Secret};
use tss_esapi::constants::SessionType;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Data, Digest, EccParameter, EccPoint, HashScheme, Private, Public, PublicBuffer, PublicKeyRsa,
    RsaDecryptionScheme,
};
use tss_esapi::traits::UnMarshall;
use tss_esapi::utils::TpmsContext;

use crate::desk::Desk;
use crate::device::Device;
use crate::errors::{self, Code, failed};
use crate::file::KeyFile;
use crate::policy::PcrPolicy;
use crate::source::{Source, Usable};
use crate::{Tcti, ability, evidence};

pub(crate) struct Connection {
    desk: Arc<Desk>,
    device: Device,
    /// Keys that were loaded once, as this TPM saved them.
    saved: HashMap<KeyUri, Saved>,
}

/// A key outside of the TPM, as only this TPM reads it until it is reset.
struct Saved {
    /// What it was loaded from: another file of the same name is another key.
    from: Usable,
    context: TpmsContext,
}

/// A key in the TPM, for this turn.
struct Loaded {
    handle: KeyHandle,
    /// To which sessions are salted.
    parent: KeyHandle,
    /// Whether that is the storage key above it, too: a persistent key does not tell its own.
    is_under_parent: bool,
    policy: Option<PcrPolicy>,
    public: Public,
}

impl Connection {
    pub(crate) fn open(tcti: &Tcti, desk: Arc<Desk>) -> Result<Connection, Error> {
        let device = {
            let _turn = desk.turn();
            Device::open(tcti)?
        };
        Ok(Connection { desk, device, saved: HashMap::new() })
    }

    /// One turn at the TPM.
    pub(crate) fn turn<T>(&mut self, work: impl FnOnce(&mut Device) -> Result<T, Error>) -> Result<T, Error> {
        let _turn = self.desk.turn();
        self.device.turn(work)
    }

    fn with_key<T>(
        &mut self,
        uri: &KeyUri,
        work: impl FnOnce(&mut Device, &Loaded) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Files are read before the turn: nobody waits for a slow disk.
        let source = Source::of(uri)?;
        let usable = match &source {
            Source::File(path) => Some(Usable::read(path)?),
            Source::Handle(_) => None,
        };
        let _turn = self.desk.turn();
        let saved = &mut self.saved;
        self.device.turn(|device| {
            let key = match (source, usable) {
                (Source::Handle(handle), _) => persistent(device, handle)?,
                (Source::File(_), Some(usable)) => load(device, saved, uri, usable)?,
                (Source::File(_), None) => return Err(Error::KeyNotFound),
            };
            work(device, &key)
        })
    }
}

impl Custodian for Connection {
    fn describe(&mut self, uri: &KeyUri) -> Result<KeyInfo, Error> {
        self.with_key(uri, |device, key| {
            let (public, operations) = ability::of(&key.public)?;
            let under = key.is_under_parent.then(|| read_public(device, key.parent)).transpose()?;
            let custody = evidence::of(&key.public, key.policy.as_ref(), under.as_ref(), device.about());
            Ok(KeyInfo { public: Some(public), operations, custody })
        })
    }

    fn open(&mut self, uri: &KeyUri, sealed: &Sealed) -> Result<Secret, Error> {
        self.with_key(uri, |device, key| {
            let (public, operations) = ability::of(&key.public)?;
            let operation = sealed.operation();
            if !operations.contains(&operation) {
                return Err(Error::Unsupported(operation.name()));
            }
            match (&public, sealed) {
                // The TPM's own answers to these differ from one maker to the next.
                (PublicKey::Rsa(public), Sealed::RsaOaep { ciphertext, .. })
                    if ciphertext.len() != public.modulus.len() =>
                {
                    Err(Error::Rejected)
                }
                (PublicKey::Ec(public), Sealed::Ecdh { curve, .. }) if public.curve != *curve => {
                    Err(Error::Rejected)
                }
                (_, Sealed::RsaOaep { hash, ciphertext }) => rsa_decrypt(device, key, *hash, ciphertext),
                (_, Sealed::Ecdh { curve, ephemeral }) => ecdh(device, key, *curve, ephemeral),
                _ => Err(Error::Unsupported(operation.name())),
            }
        })
    }

    fn probe(&mut self) -> Result<Health, Error> {
        let _turn = self.desk.turn();
        self.device.probe()?;
        let about = self.device.about();
        Ok(Health {
            token: format!("TPM 2.0, manufacturer {}, firmware {}", about.manufacturer, about.firmware),
        })
    }
}

fn rsa_decrypt(
    device: &mut Device,
    key: &Loaded,
    hash: OaepHash,
    ciphertext: &[u8],
) -> Result<Secret, Error> {
    let hash = HashScheme::new(match hash {
        OaepHash::Sha1 => HashingAlgorithm::Sha1,
        OaepHash::Sha256 => HashingAlgorithm::Sha256,
    });
    let ciphertext = PublicKeyRsa::try_from(ciphertext.to_vec()).map_err(|_| Error::Rejected)?;
    let plaintext = authorized(device, key, "RSA_Decrypt", |device, session| {
        device.context().execute_with_session(Some(session), |context| {
            let scheme = RsaDecryptionScheme::Oaep(hash);
            context.rsa_decrypt(key.handle, ciphertext.clone(), scheme, Data::default())
        })
    })?;
    Ok(Secret::copy_of(plaintext.value()))
}

fn ecdh(device: &mut Device, key: &Loaded, curve: Curve, ephemeral: &[u8]) -> Result<Secret, Error> {
    let len = curve.coordinate_len();
    let Some((4, point)) = ephemeral.split_first().filter(|(_, point)| point.len() == 2 * len) else {
        return Err(Error::Rejected);
    };
    let (x, y) = point.split_at(len);
    let coordinate = |bytes: &[u8]| EccParameter::try_from(bytes.to_vec()).map_err(|_| Error::Rejected);
    let point = EccPoint::new(coordinate(x)?, coordinate(y)?);
    let shared = authorized(device, key, "ECDH_ZGen", |device, session| {
        device
            .context()
            .execute_with_session(Some(session), |context| context.ecdh_z_gen(key.handle, point.clone()))
    })?;
    ability::padded(shared.x().value(), len).map(Secret::new)
}

/// Runs the command that uses a key, in a session that authorizes it. A PCR that is extended between the
/// policy and the command is a race and not a verdict: the policy is tried once more.
fn authorized<T>(
    device: &mut Device,
    key: &Loaded,
    doing: &str,
    mut command: impl FnMut(&mut Device, AuthSession) -> Result<T, tss_esapi::Error>,
) -> Result<T, Error> {
    let bound_to = key.policy.as_ref().map(|policy| policy.pcrs().to_string());
    let bound_to = bound_to.as_deref();
    let Some(policy) = &key.policy else {
        if !key.public.object_attributes().user_with_auth() {
            return Err(Error::KeyUnfit(
                "the key is used by a policy alone, which its file or handle does not tell".into(),
            ));
        }
        let session = device.session(SessionType::Hmac, key.parent)?;
        return command(device, session).map_err(|error| errors::not_opened(error, doing, None));
    };
    let (session, policy_session) = device.policy_session(key.parent)?;
    let selection = policy.selection().map_err(|error| failed(error, "selecting PCRs"))?;
    let mut tries = 0;
    loop {
        let values =
            Digest::try_from(policy.values().to_vec()).map_err(|error| failed(error, "PolicyPCR"))?;
        device.context().policy_pcr(policy_session, values, selection.clone()).map_err(|error| {
            match errors::code(error) {
                Code::Tpm(errors::VALUE | errors::POLICY_FAIL) => {
                    errors::state_refused(&policy.pcrs().to_string())
                }
                _ => failed(error, "PolicyPCR"),
            }
        })?;
        match command(device, session) {
            Err(error) if errors::code(error) == Code::Tpm(errors::PCR_CHANGED) && tries == 0 => {
                tries += 1;
                device
                    .context()
                    .policy_restart(policy_session)
                    .map_err(|error| failed(error, "PolicyRestart"))?;
            }
            Err(error) => return Err(errors::not_opened(error, doing, bound_to)),
            Ok(opened) => return Ok(opened),
        }
    }
}

fn persistent(device: &mut Device, handle: u32) -> Result<Loaded, Error> {
    let key = device.persistent(handle)?.ok_or(Error::KeyNotFound)?;
    let public = read_public(device, key)?;
    let parent = device.usual_parent()?;
    let parent = device.parent(parent)?;
    Ok(Loaded { handle: key, parent, is_under_parent: false, policy: None, public })
}

fn load(
    device: &mut Device,
    saved: &mut HashMap<KeyUri, Saved>,
    uri: &KeyUri,
    usable: Usable,
) -> Result<Loaded, Error> {
    let parent = device.parent(usable.file.parent)?;
    let public = public_of(&usable)?;
    let policy = usable.policy.clone();
    if let Some(known) = saved.get(uri).filter(|known| known.from == usable) {
        // It does not outlive a reset of the TPM; the file does.
        if let Ok(object) = device.context().context_load(known.context.clone()) {
            device.loaded(object);
            return Ok(Loaded { handle: object.into(), parent, is_under_parent: true, policy, public });
        }
        saved.remove(uri);
    }
    let private = Private::try_from(usable.file.private.get(2..).unwrap_or_default().to_vec())
        .map_err(|_| damaged())?;
    let session = device.session(SessionType::Hmac, parent)?;
    let handle = device
        .context()
        .execute_with_session(Some(session), |context| context.load(parent, private, public.clone()))
        .map_err(errors::not_loaded)?;
    device.loaded(handle.into());
    if let Ok(context) = device.context().context_save(handle.into()) {
        saved.insert(uri.clone(), Saved { from: usable, context });
    }
    Ok(Loaded { handle, parent, is_under_parent: true, policy, public })
}

/// The public half in a file, whose policy must be the one that the file tells. TPM2_Load proves the rest.
fn public_of(usable: &Usable) -> Result<Public, Error> {
    let KeyFile { public, private, .. } = &usable.file;
    if ![public, private].into_iter().all(|structure| is_whole(structure)) {
        return Err(damaged());
    }
    let public = PublicBuffer::unmarshall(public).and_then(Public::try_from).map_err(|_| damaged())?;
    if let Some(policy) = &usable.policy
        && (public.name_hashing_algorithm() != HashingAlgorithm::Sha256
            || public.auth_policy().value() != policy.digest())
    {
        return Err(Error::KeyUnfit("the policy in the key's file is not the one that the key has".into()));
    }
    Ok(public)
}

/// A TPM2B is its length in two bytes, then itself.
fn is_whole(structure: &[u8]) -> bool {
    structure
        .split_first_chunk()
        .is_some_and(|(len, rest)| rest.len() == usize::from(u16::from_be_bytes(*len)))
}

fn read_public(device: &mut Device, key: KeyHandle) -> Result<Public, Error> {
    let (public, _, _) =
        device.context().read_public(key).map_err(|error| failed(error, "reading the public half"))?;
    Ok(public)
}

fn damaged() -> Error {
    Error::KeyUnfit("the key's file is damaged: what it says are TPM structures is none".into())
}
