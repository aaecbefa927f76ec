//! A bare loop of the one KMIP operation that opens a layer's key: what a server gives when nothing stands before
//! it. The benchmarks hold the daemon against it.
//!
//! Of this crate it takes the encoding of messages (`ttlv`) and nothing else: TLS is rustls' own, and there is
//! neither a pool nor failover nor a timeout. Each thread has one connection and asks Decrypt by AES-GCM, one
//! after the other.
//!
//! ```text
//! bare-kmip --address HOST:PORT --ca FILE --cert FILE --key FILE --id ID --operation gcm
//!           --input FILE --record 60 --threads N --seconds S [--fresh]
//! ```
//! With `--fresh` each call makes a connection of its own with a whole handshake (no session is resumed), and asks
//! nothing before it.
//!
//! `--input` holds records, one after the other: an iv of 12 bytes, a ciphertext of 32, a tag of 16. One line of JSON
//! answers: calls, seconds, CPU seconds of this process, and the p50 and p99 of one call in milliseconds.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_kmip::ttlv::{self, HEADER_LEN, Item, Tag};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Tls = StreamOwned<ClientConnection, TcpStream>;

const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Bytes of a content encryption key.
const OPENED_LEN: usize = 32;
const RECORD_LEN: usize = IV_LEN + OPENED_LEN + TAG_LEN;
/// Ticks of /proc/PID/stat a second: USER_HZ, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// KMIP 1.4, section 9.1.3.1.
mod tag {
    use super::Tag;

    pub(crate) const BATCH_COUNT: Tag = 0x42_000d;
    pub(crate) const BATCH_ITEM: Tag = 0x42_000f;
    pub(crate) const BLOCK_CIPHER_MODE: Tag = 0x42_0011;
    pub(crate) const CRYPTOGRAPHIC_ALGORITHM: Tag = 0x42_0028;
    pub(crate) const CRYPTOGRAPHIC_PARAMETERS: Tag = 0x42_002b;
    pub(crate) const IV_COUNTER_NONCE: Tag = 0x42_003d;
    pub(crate) const OPERATION: Tag = 0x42_005c;
    pub(crate) const PROTOCOL_VERSION: Tag = 0x42_0069;
    pub(crate) const PROTOCOL_VERSION_MAJOR: Tag = 0x42_006a;
    pub(crate) const PROTOCOL_VERSION_MINOR: Tag = 0x42_006b;
    pub(crate) const REQUEST_HEADER: Tag = 0x42_0077;
    pub(crate) const REQUEST_MESSAGE: Tag = 0x42_0078;
    pub(crate) const REQUEST_PAYLOAD: Tag = 0x42_0079;
    pub(crate) const RESPONSE_PAYLOAD: Tag = 0x42_007c;
    pub(crate) const UNIQUE_IDENTIFIER: Tag = 0x42_0094;
    pub(crate) const DATA: Tag = 0x42_00c2;
    pub(crate) const TAG_LENGTH: Tag = 0x42_00ce;
    pub(crate) const AUTHENTICATED_ENCRYPTION_TAG: Tag = 0x42_00ff;
}

const DECRYPT: u32 = 0x20;
const GCM: u32 = 9;
const AES: u32 = 3;

fn main() -> Result<()> {
    let asked = Asked::from_arguments()?;
    // What is set up at first use belongs to no call.
    open_one(&mut connect(&asked)?, &asked, 0)?;
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    let deadline = begun + asked.time;
    let threads = asked.threads;
    let loops = std::thread::scope(|scope| {
        let asked = &asked;
        let running: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || run(asked, deadline, first))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| "a thread has failed")?).collect()
    });
    let loops: Result<Vec<Vec<Duration>>> = loops;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    report(seconds, cpu, loops?.concat())
}

fn run(asked: &Asked, deadline: Instant, first: usize) -> Result<Vec<Duration>> {
    let mut kept = if asked.fresh { None } else { Some(connect(asked)?) };
    let mut latencies = Vec::new();
    loop {
        let before = Instant::now();
        if before >= deadline {
            return Ok(latencies);
        }
        let number = first + latencies.len() * asked.threads;
        match &mut kept {
            Some(tls) => open_one(tls, asked, number)?,
            None => open_one(&mut connect(asked)?, asked, number)?,
        }
        latencies.push(before.elapsed());
    }
}

fn connect(asked: &Asked) -> Result<Tls> {
    let tcp = TcpStream::connect(&asked.address)?;
    tcp.set_nodelay(true)?;
    let host = asked.address.rsplit_once(':').ok_or("--address has no port")?.0;
    let name = ServerName::try_from(host.to_owned())?;
    Ok(StreamOwned::new(ClientConnection::new(asked.config.clone(), name)?, tcp))
}

fn open_one(tls: &mut Tls, asked: &Asked, number: usize) -> Result<()> {
    let from = number % (asked.input.len() / RECORD_LEN) * RECORD_LEN;
    let request = ttlv::encode(&decrypt(&asked.id, &asked.input[from..from + RECORD_LEN]))?;
    tls.write_all(request.expose())?;
    let mut answer = vec![0; HEADER_LEN];
    tls.read_exact(&mut answer)?;
    let len = answer[4..].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    if len > ttlv::MAX_LEN - HEADER_LEN {
        return Err("an answer of another kind".into());
    }
    answer.resize(HEADER_LEN + len, 0);
    tls.read_exact(&mut answer[HEADER_LEN..])?;
    let answer = ttlv::decode(&answer)?;
    let payload = answer.get(tag::BATCH_ITEM).and_then(|item| item.get(tag::RESPONSE_PAYLOAD));
    match payload.and_then(|payload| payload.get_bytes(tag::DATA)) {
        Some(opened) if opened.len() == OPENED_LEN => Ok(()),
        _ => Err("the server did not open a record".into()),
    }
}

fn decrypt(id: &str, record: &[u8]) -> Item {
    let version =
        vec![Item::integer(tag::PROTOCOL_VERSION_MAJOR, 1), Item::integer(tag::PROTOCOL_VERSION_MINOR, 4)];
    let header = vec![Item::structure(tag::PROTOCOL_VERSION, version), Item::integer(tag::BATCH_COUNT, 1)];
    let parameters = vec![
        Item::enumeration(tag::BLOCK_CIPHER_MODE, GCM),
        Item::enumeration(tag::CRYPTOGRAPHIC_ALGORITHM, AES),
        Item::integer(tag::TAG_LENGTH, TAG_LEN as i32),
    ];
    let (iv, rest) = record.split_at(IV_LEN);
    let (ciphertext, tag_bytes) = rest.split_at(OPENED_LEN);
    let payload = vec![
        Item::text(tag::UNIQUE_IDENTIFIER, id),
        Item::structure(tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
        Item::bytes(tag::DATA, ciphertext),
        Item::bytes(tag::IV_COUNTER_NONCE, iv),
        Item::bytes(tag::AUTHENTICATED_ENCRYPTION_TAG, tag_bytes),
    ];
    let item =
        vec![Item::enumeration(tag::OPERATION, DECRYPT), Item::structure(tag::REQUEST_PAYLOAD, payload)];
    let message = vec![Item::structure(tag::REQUEST_HEADER, header), Item::structure(tag::BATCH_ITEM, item)];
    Item::structure(tag::REQUEST_MESSAGE, message)
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

struct Asked {
    address: String,
    config: Arc<ClientConfig>,
    id: String,
    input: Vec<u8>,
    threads: usize,
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
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(get("ca")?)? {
            roots.add(authority?)?;
        }
        let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(get("cert")?)?.collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain?, PrivateKeyDer::from_pem_file(get("key")?)?)?;
        config.resumption = Resumption::disabled();
        let asked = Asked {
            address: get("address")?.into(),
            config: Arc::new(config),
            id: get("id")?.into(),
            input: std::fs::read(get("input")?)?,
            threads: get("threads")?.parse()?,
            time: Duration::try_from_secs_f64(get("seconds")?.parse()?)?,
            fresh,
        };
        if get("operation")? != "gcm" || get("record")?.parse::<usize>()? != RECORD_LEN {
            return Err(format!("--operation is gcm, and --record is {RECORD_LEN}").into());
        }
        if asked.input.is_empty() || !asked.input.len().is_multiple_of(RECORD_LEN) || asked.threads == 0 {
            return Err("--input is not a number of records, or there are no threads".into());
        }
        Ok(asked)
    }
}
