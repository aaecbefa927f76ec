//! A bare loop of the one TPM command that opens a layer's key: what tpm2-tss gives when nothing stands before
//! it. The benchmarks hold the daemon against it.
//!
//! Straight calls of tss-esapi. Of this crate it takes the reader of key files and nothing else, or it would
//! measure what it is to be measured against; it stands here because no other crate may name tpm2-tss. One thread,
//! since a TPM does one command at a time.
//!
//! ```text
//! bare-tpm --tcti swtpm:host=ADDRESS,port=N --key FILE --operation oaep|ecdh [--pcr N]
//!          --input FILE --record BYTES --threads 1 --seconds S [--fresh]
//! ```
//! The key is loaded once, and one session is kept: salted to the key's parent, the first parameter encrypted
//! both ways (AES-128-CFB), with the policy begun anew for each call where the key is bound to a PCR of the SHA-256
//! bank. With `--fresh` each call starts its own session and loads the key, and puts both away. The parent of
//! the key's file is persistent.
//!
//! `--input` holds records of `--record` bytes, one after the other: RSAES-OAEP ciphertexts (SHA-1, as long as the
//! modulus) or uncompressed points. One line of JSON answers: calls, seconds, CPU seconds of this process, and the
//! p50 and p99 of one call in milliseconds.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use holdfast_tpm::file::KeyFile;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Data, Digest, EccParameter, EccPoint, HashScheme, PcrSelectionList, PcrSlot, Private, Public,
    PublicBuffer, PublicKeyRsa, RsaDecryptionScheme, SymmetricDefinition,
};
use tss_esapi::traits::UnMarshall as _;
use tss_esapi::{Context, TctiNameConf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of a content encryption key, and of a P-256 shared secret.
const OPENED_LEN: usize = 32;
/// Ticks of /proc/PID/stat a second: USER_HZ, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Result<()> {
    let asked = Asked::from_arguments()?;
    let mut tpm = Tpm::open(&asked)?;
    let kept = if asked.fresh { None } else { Some(tpm.prepare(&asked)?) };
    // What is set up at first use belongs to no call.
    tpm.open_one(&asked, kept, 0)?;
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    let deadline = begun + asked.time;
    let mut latencies = Vec::new();
    loop {
        let before = Instant::now();
        if before >= deadline {
            break;
        }
        tpm.open_one(&asked, kept, latencies.len() + 1)?;
        latencies.push(before.elapsed());
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    if let Some(ready) = kept {
        tpm.put_away(ready)?;
    }
    report(seconds, cpu, latencies)
}

struct Tpm {
    context: Context,
    parent: KeyHandle,
    public: Public,
    private: Private,
    pcr: Option<PcrSelectionList>,
}

/// What is in the TPM for a call.
#[derive(Clone, Copy)]
struct Ready {
    key: KeyHandle,
    session: AuthSession,
}

impl Tpm {
    fn open(asked: &Asked) -> Result<Tpm> {
        let file = KeyFile::from_pem(&std::fs::read(&asked.key)?)?;
        let mut context = Context::new(TctiNameConf::from_str(&asked.tcti)?)?;
        let parent = TpmHandle::Persistent(PersistentTpmHandle::new(file.parent)?);
        let pcr = asked.pcr.map(|number| {
            let slot = PcrSlot::try_from(1u32.checked_shl(number).unwrap_or(0))?;
            PcrSelectionList::builder().with_selection(HashingAlgorithm::Sha256, &[slot]).build()
        });
        Ok(Tpm {
            parent: context.tr_from_tpm_public(parent)?.into(),
            public: PublicBuffer::unmarshall(&file.public)?.try_into()?,
            private: Private::try_from(file.private.get(2..).unwrap_or_default().to_vec())?,
            pcr: pcr.transpose()?,
            context,
        })
    }

    fn prepare(&mut self, asked: &Asked) -> Result<Ready> {
        let (parent, private, public) = (self.parent, self.private.clone(), self.public.clone());
        let key = self.context.execute_with_session(Some(AuthSession::Password), |context| {
            context.load(parent, private, public)
        })?;
        let kind = if asked.pcr.is_some() { SessionType::Policy } else { SessionType::Hmac };
        let symmetric = SymmetricDefinition::AES_128_CFB;
        let session = self
            .context
            .start_auth_session(Some(parent), None, None, kind, symmetric, HashingAlgorithm::Sha256)?
            .ok_or("no session")?;
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(true)
            .with_encrypt(true)
            .build();
        self.context.tr_sess_set_attributes(session, attributes, mask)?;
        Ok(Ready { key, session })
    }

    fn put_away(&mut self, ready: Ready) -> Result<()> {
        self.context.flush_context(SessionHandle::from(ready.session).into())?;
        Ok(self.context.flush_context(ready.key.into())?)
    }

    fn open_one(&mut self, asked: &Asked, kept: Option<Ready>, number: usize) -> Result<()> {
        let ready = kept.map_or_else(|| self.prepare(asked), Ok)?;
        if let Some(pcrs) = self.pcr.clone() {
            let policy = PolicySession::try_from(ready.session)?;
            if kept.is_some() {
                self.context.policy_restart(policy)?;
            }
            self.context.policy_pcr(policy, Digest::default(), pcrs)?;
        }
        let records = asked.input.len() / asked.record;
        let from = number % records * asked.record;
        let record = &asked.input[from..from + asked.record];
        let opened = self.context.execute_with_session(Some(ready.session), |context| -> Result<usize> {
            match asked.operation {
                Operation::Oaep => {
                    let scheme = RsaDecryptionScheme::Oaep(HashScheme::new(HashingAlgorithm::Sha1));
                    let record = PublicKeyRsa::try_from(record.to_vec())?;
                    Ok(context.rsa_decrypt(ready.key, record, scheme, Data::default())?.value().len())
                }
                Operation::Ecdh => {
                    let (x, y) = record[1..].split_at(record.len() / 2);
                    let [x, y] = [x, y].map(|half| EccParameter::try_from(half.to_vec()));
                    Ok(context.ecdh_z_gen(ready.key, EccPoint::new(x?, y?))?.x().value().len())
                }
            }
        })?;
        if opened != OPENED_LEN {
            return Err(format!("the TPM opened {opened} bytes instead of {OPENED_LEN}").into());
        }
        if kept.is_none() {
            self.put_away(ready)?;
        }
        Ok(())
    }
}

fn report(seconds: f64, cpu_seconds: f64, mut latencies: Vec<Duration>) -> Result<()> {
    latencies.sort_unstable();
    let percentile = |part: f64| {
        let at = (latencies.len() as f64 * part) as usize;
        latencies.get(at).map(|latency| latency.as_secs_f64() * 1000.0).ok_or("no call was made")
    };
    let (calls, p50, p99) = (latencies.len(), percentile(0.50)?, percentile(0.99)?);
    writeln!(
        std::io::stdout(),
        r#"{{"calls":{calls},"seconds":{seconds},"cpu_seconds":{cpu_seconds},"p50_ms":{p50},"p99_ms":{p99}}}"#
    )?;
    Ok(())
}

/// User and system time of this process: fields 14 and 15 of proc_pid_stat(5). The second may hold
/// blanks, so they are counted from its closing parenthesis.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has another form")?;
    let mut ticks = 0.0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / TICKS_PER_SECOND)
}

enum Operation {
    Oaep,
    Ecdh,
}

struct Asked {
    tcti: String,
    key: String,
    operation: Operation,
    pcr: Option<u32>,
    input: Vec<u8>,
    record: usize,
    time: Duration,
    fresh: bool,
}

impl Asked {
    fn from_arguments() -> Result<Asked> {
        let mut words: Vec<String> = std::env::args().skip(1).collect();
        let fresh = words.pop_if(|last| last == "--fresh").is_some();
        let given: BTreeMap<&str, &str> = words
            .chunks_exact(2)
            .filter_map(|pair| Some((pair[0].strip_prefix("--")?, pair[1].as_str())))
            .collect();
        let get = |name: &str| given.get(name).copied().ok_or_else(|| format!("--{name} is missing"));
        let asked = Asked {
            tcti: get("tcti")?.into(),
            key: get("key")?.into(),
            operation: match get("operation")? {
                "oaep" => Operation::Oaep,
                "ecdh" => Operation::Ecdh,
                _ => return Err("--operation is oaep or ecdh".into()),
            },
            pcr: get("pcr").ok().map(str::parse).transpose()?,
            input: std::fs::read(get("input")?)?,
            record: get("record")?.parse()?,
            time: Duration::try_from_secs_f64(get("seconds")?.parse()?)?,
            fresh,
        };
        if get("threads")? != "1" {
            return Err("a TPM does one command at a time: --threads 1".into());
        }
        if asked.record == 0 || asked.input.is_empty() || !asked.input.len().is_multiple_of(asked.record) {
            return Err("--input is not a number of records of --record bytes".into());
        }
        Ok(asked)
    }
}
