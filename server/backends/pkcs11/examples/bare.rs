//! A bare loop of the one PKCS#11 command that opens a layer's key: what the module gives when nothing
//! stands before it. The benchmarks hold the daemon against it.
//!
//! Straight calls of cryptoki and nothing of this crate's own code, or it would measure what it is to be
//! measured against. It stands here all the same, because no other crate may name a PKCS#11 library.
//! Every thread has a session of its own; the inputs are gone through in turn, so that no two calls in a
//! round are alike while there are more inputs than calls.
//!
//! ```text
//! bare --module FILE --token LABEL --pin-file FILE --key LABEL --operation oaep|ecdh
//!      --input FILE --record BYTES --threads N --seconds S
//! ```
//! `--input` holds records of `--record` bytes, one after the other: RSAES-OAEP ciphertexts (SHA-1, as
//! long as the modulus) or uncompressed points. One line of JSON answers: calls, seconds, CPU seconds of
//! this process, and the p50 and p99 of one call in milliseconds.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of a content encryption key, and of a P-256 shared secret.
const OPENED_LEN: usize = 32;
/// Ticks of /proc/PID/stat a second: USER_HZ, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Result<()> {
    let asked = Asked::from_arguments()?;
    let pkcs11 = Pkcs11::new(&asked.module)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slot = find_slot(&pkcs11, &asked.token)?;
    // Open until the end: the token logs out when its last session closes.
    let main_session = pkcs11.open_ro_session(slot)?;
    let pin = RawAuthPin::new(Box::new(std::fs::read(&asked.pin_file)?));
    main_session.login_with_raw(UserType::User, &pin)?;

    let next = AtomicUsize::new(0);
    let start = Barrier::new(asked.threads + 1);
    let (begun, cpu, latencies) = std::thread::scope(|scope| -> Result<_> {
        let mut threads = Vec::new();
        for _ in 0..asked.threads {
            threads.push(scope.spawn(|| one_thread(&pkcs11, slot, &asked, &next, &start)));
        }
        start.wait();
        let (begun, cpu) = (Instant::now(), cpu_seconds()?);
        let mut latencies = Vec::new();
        for thread in threads {
            latencies.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok((begun, cpu, latencies))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    report(seconds, cpu_seconds()? - cpu, latencies)
}

/// Calls the token until the time is over; what each call took.
fn one_thread(
    pkcs11: &Pkcs11,
    slot: Slot,
    asked: &Asked,
    next: &AtomicUsize,
    start: &Barrier,
) -> Result<Vec<Duration>> {
    let ready = || -> Result<_> {
        let session = pkcs11.open_ro_session(slot)?;
        let key = find_key(&session, &asked.key)?;
        // What a module sets up at first use belongs to no call.
        open_one(&session, key, asked, 0)?;
        Ok((session, key))
    };
    let ready = ready();
    // Also after a failure, or the others would wait for ever.
    start.wait();
    let (session, key) = ready?;
    let deadline = Instant::now() + asked.time;
    let mut latencies = Vec::new();
    loop {
        let before = Instant::now();
        if before >= deadline {
            return Ok(latencies);
        }
        let opened = open_one(&session, key, asked, next.fetch_add(1, Ordering::Relaxed))?;
        latencies.push(before.elapsed());
        if opened != OPENED_LEN {
            return Err(format!("the token opened {opened} bytes instead of {OPENED_LEN}").into());
        }
    }
}

/// Opens one record and gives the length of what came out.
fn open_one(session: &Session, key: ObjectHandle, asked: &Asked, number: usize) -> Result<usize> {
    let records = asked.input.len() / asked.record;
    let from = number % records * asked.record;
    let record = &asked.input[from..from + asked.record];
    match asked.operation {
        Operation::Oaep => {
            let parameters =
                PkcsOaepParams::new(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, PkcsOaepSource::empty());
            Ok(session.decrypt(&Mechanism::RsaPkcsOaep(parameters), key, record)?.len())
        }
        Operation::Ecdh => {
            let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), record));
            let template = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::GENERIC_SECRET),
                Attribute::Token(false),
                Attribute::Sensitive(false),
                Attribute::Extractable(true),
                Attribute::ValueLen((OPENED_LEN as u64).into()),
            ];
            let shared = session.derive_key(&mechanism, key, &template)?;
            let value = session.get_attributes(shared, &[AttributeType::Value])?;
            session.destroy_object(shared)?;
            match value.as_slice() {
                [Attribute::Value(value)] => Ok(value.len()),
                _ => Err("the token does not give the shared secret".into()),
            }
        }
    }
}

fn report(seconds: f64, cpu_seconds: f64, mut latencies: Vec<Duration>) -> Result<()> {
    latencies.sort_unstable();
    let percentile = |part: f64| {
        let at = (latencies.len() as f64 * part) as usize;
        latencies.get(at).map(|latency| latency.as_secs_f64() * 1000.0)
    };
    let line = serde_json::json!({
        "calls": latencies.len(),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "p50_ms": percentile(0.50),
        "p99_ms": percentile(0.99),
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn find_slot(pkcs11: &Pkcs11, label: &str) -> Result<Slot> {
    for slot in pkcs11.get_slots_with_initialized_token()? {
        if pkcs11.get_token_info(slot)?.label() == label {
            return Ok(slot);
        }
    }
    Err(format!("there is no token {label:?}").into())
}

fn find_key(session: &Session, label: &str) -> Result<ObjectHandle> {
    let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.into())];
    match session.find_objects(&template)?.as_slice() {
        [only] => Ok(*only),
        found => Err(format!("{} private keys are called {label:?}", found.len()).into()),
    }
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
    module: String,
    token: String,
    pin_file: String,
    key: String,
    operation: Operation,
    input: Vec<u8>,
    record: usize,
    threads: usize,
    time: Duration,
}

impl Asked {
    fn from_arguments() -> Result<Asked> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let given: BTreeMap<&str, &str> = words
            .chunks_exact(2)
            .filter_map(|pair| Some((pair[0].strip_prefix("--")?, pair[1].as_str())))
            .collect();
        let get = |name: &str| given.get(name).copied().ok_or_else(|| format!("--{name} is missing"));
        let asked = Asked {
            module: get("module")?.into(),
            token: get("token")?.into(),
            pin_file: get("pin-file")?.into(),
            key: get("key")?.into(),
            operation: match get("operation")? {
                "oaep" => Operation::Oaep,
                "ecdh" => Operation::Ecdh,
                _ => return Err("--operation is oaep or ecdh".into()),
            },
            input: std::fs::read(get("input")?)?,
            record: get("record")?.parse()?,
            threads: get("threads")?.parse()?,
            time: Duration::try_from_secs_f64(get("seconds")?.parse()?)?,
        };
        if asked.record == 0 || asked.input.is_empty() || !asked.input.len().is_multiple_of(asked.record) {
            return Err("--input is not a number of records of --record bytes".into());
        }
        Ok(asked)
    }
}
