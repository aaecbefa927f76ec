//! The log's two forms. Numbers are little-endian; every length is held against what is left before it is used.

use super::{Event, EventLog, EventType, banks_of, describe};

/// TPM_ALG_ID.
pub(super) const SHA_256: u16 = 0x000b;
pub(super) const SHA_384: u16 = 0x000c;
const SHA_1_LEN: usize = 20;
/// Bytes of the longest digest, SHA-512.
const LONGEST: usize = 64;
/// TPMs have four banks or five.
const MAX_ALGORITHMS: usize = 16;
/// An entry takes more here than there.
const MAX_EVENTS: usize = 64 * 1024;

/// TCG_EfiSpecIDEvent and TCG_EfiStartupLocalityEvent (section 10.4.5), each with its NUL.
const SPEC_ID: &[u8] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";

pub(super) fn log(bytes: &[u8]) -> Result<EventLog, String> {
    let mut rest = bytes;
    let mut events = Vec::new();
    let first = sha1_entry(&mut rest).ok_or("not an event log, or one that is cut off in its first entry")?;
    let algorithms = match first.data.strip_prefix(SPEC_ID) {
        Some(header) if first.kind == EventType::NO_ACTION => Some(
            algorithms(header).ok_or("a damaged event log: its header does not say which digests it has")?,
        ),
        _ => None,
    };
    // What the firmware has not written yet, where the kernel shows all of the memory that is set aside.
    let written =
        [0, 0xff].map(|blank| bytes.iter().rposition(|byte| *byte != blank).map_or(0, |last| last + 1));
    let mut startup_locality = 0;
    let mut next = Some(first);
    while let Some(raw) = next {
        if events.len() == MAX_EVENTS {
            return Err(format!("more than {MAX_EVENTS} events, which no event log has"));
        }
        if raw.kind == EventType::NO_ACTION
            && raw.pcr == 0
            && let Some([locality]) = raw.data.strip_prefix(STARTUP_LOCALITY)
        {
            startup_locality = *locality;
        }
        events.push(Event {
            number: events.len(),
            pcr: raw.pcr,
            kind: raw.kind,
            description: describe::description(raw.kind, raw.data),
            sha256: raw.sha256,
            sha384: raw.sha384,
        });
        let at = bytes.len() - rest.len();
        if written.iter().any(|end| at >= *end) {
            break;
        }
        let entry = match &algorithms {
            Some(algorithms) => entry(&mut rest, algorithms),
            None => sha1_entry(&mut rest),
        };
        next = Some(entry.ok_or_else(|| {
            format!("a damaged event log: event {} at byte {at} is cut off or is none", events.len())
        })?);
    }
    let banks = banks_of(algorithms.iter().flatten().map(|(id, _)| *id));
    Ok(EventLog { banks, events, startup_locality })
}

struct Raw<'a> {
    pcr: u32,
    kind: EventType,
    sha256: Option<[u8; 32]>,
    sha384: Option<[u8; 48]>,
    data: &'a [u8],
}

/// TCG_PCClientPCREvent (section 10.2.1): the first entry always, and all in an old log.
fn sha1_entry<'a>(rest: &mut &'a [u8]) -> Option<Raw<'a>> {
    let (pcr, kind) = (u32(rest)?, EventType(u32(rest)?));
    take(rest, SHA_1_LEN)?;
    let len = u32(rest)?;
    Some(Raw { pcr, kind, sha256: None, sha384: None, data: take(rest, usize::try_from(len).ok()?)? })
}

/// TCG_PCR_EVENT2 (section 10.2.2).
fn entry<'a>(rest: &mut &'a [u8], algorithms: &[(u16, usize)]) -> Option<Raw<'a>> {
    let (pcr, kind) = (u32(rest)?, EventType(u32(rest)?));
    let count = usize::try_from(u32(rest)?).ok()?;
    if count > algorithms.len() {
        return None;
    }
    let mut raw = Raw { pcr, kind, sha256: None, sha384: None, data: &[] };
    for _ in 0..count {
        let id = u16(rest)?;
        let (_, len) = algorithms.iter().find(|(known, _)| *known == id)?;
        let digest = take(rest, *len)?;
        match id {
            SHA_256 => raw.sha256 = Some(digest.try_into().ok()?),
            SHA_384 => raw.sha384 = Some(digest.try_into().ok()?),
            _ => {}
        }
    }
    let len = u32(rest)?;
    raw.data = take(rest, usize::try_from(len).ok()?)?;
    Some(raw)
}

/// Which digests the entries have, and how long each is: what follows the signature of TCG_EfiSpecIDEvent.
fn algorithms(header: &[u8]) -> Option<Vec<(u16, usize)>> {
    let mut rest = header;
    // platformClass, specVersion minor and major, specErrata, uintnSize
    take(&mut rest, 8)?;
    let count = usize::try_from(u32(&mut rest)?).ok()?;
    if !(1..=MAX_ALGORITHMS).contains(&count) {
        return None;
    }
    let mut algorithms = Vec::with_capacity(count);
    for _ in 0..count {
        let (id, len) = (u16(&mut rest)?, usize::from(u16(&mut rest)?));
        let right = match id {
            SHA_256 => len == 32,
            SHA_384 => len == 48,
            _ => (1..=LONGEST).contains(&len),
        };
        if !right || algorithms.iter().any(|(known, _)| *known == id) {
            return None;
        }
        algorithms.push((id, len));
    }
    // The vendor's own words end the event.
    let len = take(&mut rest, 1)?.first()?;
    (rest.len() >= usize::from(*len)).then_some(algorithms)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

fn u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2)?.try_into().ok().map(u16::from_le_bytes)
}
