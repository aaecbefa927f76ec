//! All that a process has in its memory, searched for secrets: what a core dump of it would hold.
//!
//! A secret leaves pieces behind rather than itself: an allocator writes its own pointers over the first
//! bytes of what is freed, and part of a dead stack frame is soon another's. So every piece of a few bytes
//! is searched for.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::OptsData;

/// Bytes of the shortest piece: enough that none is found by chance.
const PIECE: usize = 8;
const PAGE: usize = 4096;

/// Secrets in the forms in which they may lie about.
pub struct Traces {
    /// What begins with these bytes: of which secret, and the whole piece.
    pieces: HashMap<[u8; PIECE], Vec<(String, Vec<u8>)>>,
    /// Whether any piece begins with bytes of this hash; nearly all of memory is passed over by it.
    begins: Vec<bool>,
}

/// A piece of a secret that was found.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    what: String,
    address: usize,
    region: String,
}

impl Traces {
    /// Of no secret yet.
    pub fn new() -> Traces {
        Traces { pieces: HashMap::new(), begins: vec![false; 1 << 16] }
    }

    /// A layer's key: as it is, as base64, and as it travels: base64 of the optsdata that holds it, and
    /// optsdata as an array of integers.
    pub fn layer_key(&mut self, what: &str, optsdata: &OptsData) {
        let (key, raw) = (optsdata.symkey().expose(), optsdata.raw().expose());
        let text = STANDARD.encode(key);
        let at = raw.windows(text.len()).position(|window| window == text.as_bytes()).expect("symkey");
        let end = at + text.len();
        self.bytes(&format!("{what}, raw"), key, 8);
        self.bytes(&format!("{what}, in base64"), text.as_bytes(), 12);
        // Of the text around it only what no other optsdata has.
        let (from, to) = (at.div_ceil(3) * 3, end / 3 * 3);
        self.bytes(&format!("{what}, base64 of base64"), STANDARD.encode(&raw[from..to]).as_bytes(), 16);
        self.bytes(&format!("{what}, as an array"), array(text.as_bytes()).as_bytes(), 24);
        self.bytes(&format!("{what}, its bytes as an array"), array(key).as_bytes(), 24);
    }

    /// A private key in PEM: its text, what the text says, and the text in base64, as it travels.
    pub fn private_key(&mut self, what: &str, pem: &str) {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(&body).expect("PEM");
        // Every key of its type begins alike.
        self.bytes(&format!("{what}, raw"), &der[64..], 8);
        for line in pem.lines().filter(|line| line.len() == 64).skip(2) {
            self.bytes(&format!("{what}, in PEM"), line.as_bytes(), 12);
        }
        let at = pem.match_indices('\n').nth(2).expect("lines").0.div_ceil(3) * 3;
        self.bytes(&format!("{what}, base64 of PEM"), STANDARD.encode(&pem[at..]).as_bytes(), 20);
    }

    /// Anything else: every piece of `len` bytes of it.
    pub fn bytes(&mut self, what: &str, secret: &[u8], len: usize) {
        assert!(secret.len() >= len && len >= PIECE, "{what} is too short to be searched for");
        for piece in secret.windows(len) {
            let begin = first(piece);
            self.begins[hash(begin)] = true;
            self.pieces.entry(begin).or_default().push((what.to_owned(), piece.to_vec()));
        }
    }

    /// Searches all memory that a process can write: what it cannot holds what stands in its files.
    pub fn search(&self, process: u32) -> io::Result<Vec<Found>> {
        let memory = File::open(format!("/proc/{process}/mem"))?;
        let mut found = Vec::new();
        for line in fs::read_to_string(format!("/proc/{process}/maps"))?.lines() {
            let (start, end, name) = region(line);
            if !name.starts_with("rw") {
                continue;
            }
            let mut bytes = vec![0; end - start];
            // A thread that has ended since took its stack along.
            let Ok(len) = memory.read_at(&mut bytes, start as u64) else { continue };
            self.search_bytes(&bytes[..len], |at, what| {
                found.push(Found { what: what.to_owned(), address: start + at, region: name.to_owned() });
            });
        }
        Ok(found)
    }

    fn search_bytes(&self, bytes: &[u8], mut found: impl FnMut(usize, &str)) {
        // Most of it was never touched.
        let touched = |page: &[u8]| page.iter().any(|byte| *byte != 0);
        for (number, _) in bytes.chunks(PAGE).enumerate().filter(|(_, page)| touched(page)) {
            let from = number * PAGE;
            let until = bytes.len().min(from + PAGE + PIECE - 1);
            for (at, window) in bytes[from..until].windows(PIECE).enumerate() {
                let begin = first(window);
                if !self.begins[hash(begin)] {
                    continue;
                }
                for (what, piece) in self.pieces.get(&begin).into_iter().flatten() {
                    if bytes[from + at..].starts_with(piece) {
                        found(from + at, what);
                    }
                }
            }
        }
    }
}

impl Default for Traces {
    fn default() -> Self {
        Traces::new()
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:#x} in {}", self.what, self.address, self.region)
    }
}

/// Start, end and the rest of a line of /proc/PID/maps: `5610…-5611… rw-p 00000000 00:00 0   [heap]`.
fn region(line: &str) -> (usize, usize, &str) {
    let (range, rest) = line.split_once(' ').expect("a region");
    let (start, end) = range.split_once('-').expect("a range");
    let number = |text| usize::from_str_radix(text, 16).expect("an address");
    (number(start), number(end), rest)
}

fn array(bytes: &[u8]) -> String {
    let text = format!("{bytes:?}").replace(' ', "");
    text.trim_matches(['[', ']']).to_owned()
}

fn first(bytes: &[u8]) -> [u8; PIECE] {
    bytes[..PIECE].try_into().expect("long enough")
}

fn hash(begin: [u8; PIECE]) -> usize {
    (u64::from_le_bytes(begin).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
}
