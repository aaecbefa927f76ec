//! A way to a server on which every byte is counted.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Listens on loopback and passes everything on. Its threads end with their connections.
pub struct Counted {
    address: String,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    /// A way to this address.
    pub fn way_to(server: &str) -> Counted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let bytes: Arc<AtomicU64> = Arc::default();
        let (counter, server) = (bytes.clone(), server.to_owned());
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).expect("the server");
                let pair = |one: &TcpStream| one.try_clone().expect("a handle");
                pass(pair(&caller), pair(&server), counter.clone());
                pass(server, caller, counter.clone());
            }
        });
        Counted { address, bytes }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bytes that went either way up to now, headers included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, counter: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            counter.fetch_add(read as u64, Ordering::Relaxed);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        // The other side may have ended it already.
        let _ = to.shutdown(Shutdown::Write);
    });
}
