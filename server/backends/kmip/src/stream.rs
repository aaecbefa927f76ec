//! One TLS connection, on which a request has one answer, whole and in time, or the connection is spent.
//!
//! An answer is read into one buffer of the largest size that an answer may have, made once: no length that a
//! server announces makes memory grow. It is wiped after each answer, since keys were in it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_custody::Error;
use holdfast_wire::{Malformed, Secret};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use zeroize::Zeroize as _;

use crate::address::Address;
use crate::errors::unreadable;
use crate::protocol::tag;
use crate::ttlv::{self, HEADER_LEN, Item};

pub(crate) struct Stream {
    tls: StreamOwned<ClientConnection, Timed>,
    buffer: Secret,
    patience: Duration,
    spent: bool,
}

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To take a connection.
    pub(crate) connect: Duration,
    /// For the handshake, and for each answer.
    pub(crate) answer: Duration,
}

impl Stream {
    /// Connects and shakes hands.
    pub(crate) fn open(
        address: &Address,
        config: Arc<ClientConfig>,
        patience: Patience,
    ) -> Result<Stream, Error> {
        let tcp = address.connect(patience.connect).map_err(|error| on_the_way("connecting", &error))?;
        // Small messages, each waited for.
        tcp.set_nodelay(true).map_err(|error| on_the_way("connecting", &error))?;
        let mut timed = Timed { tcp, until: Instant::now() + patience.answer };
        let mut client = ClientConnection::new(config, address.server_name())
            .map_err(|error| Error::Unavailable(format!("TLS cannot begin: {error}")))?;
        while client.is_handshaking() {
            if let Err(error) = client.complete_io(&mut timed) {
                return Err(on_the_way("the TLS handshake", &explained(&mut client, &mut timed, error)));
            }
        }
        Ok(Stream {
            tls: StreamOwned::new(client, timed),
            buffer: Secret::new(vec![0; ttlv::MAX_LEN]),
            patience: patience.answer,
            spent: false,
        })
    }

    /// Sends a request and gives the answer. After an error nothing more can be asked.
    pub(crate) fn exchange(&mut self, request: &Secret) -> Result<Item, Error> {
        if std::mem::replace(&mut self.spent, true) {
            return Err(Error::Unavailable("the connection has failed before".into()));
        }
        self.tls.sock.until = Instant::now() + self.patience;
        if let Err(error) = self.tls.write_all(request.expose()).and_then(|()| self.tls.flush()) {
            let StreamOwned { conn, sock } = &mut self.tls;
            return Err(on_the_way("sending", &explained(conn, sock, error)));
        }
        // What the answer may reach to in the buffer, and no more: wiping all of it costs what the request does.
        let mut reach = HEADER_LEN;
        let answer = self.receive(&mut reach);
        self.buffer.expose_mut()[..reach].zeroize();
        self.spent = answer.is_err();
        answer
    }

    pub(crate) fn spend(&mut self) {
        self.spent = true;
    }

    fn receive(&mut self, reach: &mut usize) -> Result<Item, Error> {
        let buffer = self.buffer.expose_mut();
        let waiting = |error| on_the_way("waiting for the answer", &error);
        self.tls.read_exact(&mut buffer[..HEADER_LEN]).map_err(waiting)?;
        let len = announced(buffer).map_err(|malformed| unreadable(&malformed))?;
        *reach = len;
        self.tls.read_exact(&mut buffer[HEADER_LEN..len]).map_err(waiting)?;
        ttlv::decode(&buffer[..len]).map_err(|malformed| unreadable(&malformed))
    }
}

/// Bytes of the whole message, by its header.
fn announced(buffer: &[u8]) -> Result<usize, Malformed> {
    let [t0, t1, t2, _, l0, l1, l2, l3] =
        *buffer.first_chunk::<HEADER_LEN>().ok_or_else(|| Malformed::new("no header"))?;
    if u32::from_be_bytes([0, t0, t1, t2]) != tag::RESPONSE_MESSAGE {
        return Err(Malformed::new("what came is no response message; is this a KMIP server (TTLV)?"));
    }
    (u32::from_be_bytes([l0, l1, l2, l3]) as usize)
        .checked_add(HEADER_LEN)
        .filter(|len| *len <= ttlv::MAX_LEN)
        .ok_or_else(|| Malformed::new(format!("more than the {} bytes that were asked for", ttlv::MAX_LEN)))
}

/// A server that refuses a client's certificate says why and closes the connection, perhaps while there is more to
/// send: what it said is read then, instead of telling that the pipe is broken.
fn explained(tls: &mut ClientConnection, timed: &mut Timed, error: io::Error) -> io::Error {
    if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) {
        return error;
    }
    match tls.read_tls(timed).map(|_| tls.process_new_packets()) {
        Ok(Err(alert)) => io::Error::other(alert),
        _ => error,
    }
}

fn on_the_way(doing: &str, error: &io::Error) -> Error {
    Error::Unavailable(match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => format!("{doing}: the server did not answer in time"),
        ErrorKind::UnexpectedEof => format!("{doing}: the server closed the connection"),
        // rustls says there what is wrong with a certificate, and what alert came.
        _ => format!("{doing}: {error}"),
    })
}

impl Drop for Stream {
    /// Says so, as TLS wants it, but waits for nothing.
    fn drop(&mut self) {
        self.tls.conn.send_close_notify();
        self.tls.sock.until = Instant::now() + Duration::from_millis(100);
        let _ = self.tls.conn.write_tls(&mut self.tls.sock);
        let _ = self.tls.sock.tcp.shutdown(Shutdown::Both);
    }
}

/// A socket whose calls end at one time in all: a server that sends a byte now and then gains nothing by it.
struct Timed {
    tcp: TcpStream,
    until: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.left()?))?;
        self.tcp.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.left()?))?;
        self.tcp.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}
