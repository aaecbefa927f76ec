//! The network between a client and its KMIP server, with somebody sitting on it who has the server's certificate:
//! every request passes here and is counted and written down, and a test says which ones are to fare ill.
//!
//! A real PyKMIP is always behind it. Clients are asked for the same certificates as there; this side speaks TLS 1.3
//! too. What comes from a client is asked of PyKMIP as the client `hsm-sim`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ClientConnection, ProtocolVersion, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::probe::Probe;
use super::{Pykmip, TRIES, message, tls};
use crate::lines::Lines;
use crate::{Credentials, Error, KmipOperation, KmipThen, port};

/// What is written at a time where there is no end.
const CHUNK: [u8; 16 << 10] = [0; 16 << 10];
const TOO_MUCH: u32 = 1 << 31;

/// A PyKMIP behind another port. Dropping it closes that, ends its threads, and kills the PyKMIP.
#[derive(Debug)]
pub struct KmipInterposer {
    wire: Arc<Wire>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Wire {
    server: Mutex<Pykmip>,
    /// Of PyKMIP.
    server_port: u16,
    probe: Probe,
    config: Mutex<Arc<ServerConfig>>,
    orders: Mutex<Vec<Order>>,
    record: Mutex<Vec<Exchange>>,
    handshakes: Mutex<Vec<ProtocolVersion>>,
    lines: Lines,
}

#[derive(Debug)]
struct Order {
    operation: KmipOperation,
    left: usize,
    then: KmipThen,
}

/// A request, and the server's own answer before anything was done to it; empty until it is there.
#[derive(Debug)]
struct Exchange {
    request: Vec<u8>,
    answer: Vec<u8>,
}

type Client<'a> = StreamOwned<ServerConnection, &'a TcpStream>;
type Upstream = StreamOwned<ClientConnection, TcpStream>;

impl KmipInterposer {
    /// Stands before a running server, and does nothing but pass on until something is ordered.
    pub fn before(server: Pykmip) -> Result<KmipInterposer, Error> {
        let (port, listener) = listen()?;
        let wire = Arc::new(Wire {
            config: Mutex::new(tls::server(&server.setup.server, server.authority().certificate())?),
            probe: Probe::new(server.client())?,
            server_port: server.port,
            server: Mutex::new(server),
            orders: Mutex::default(),
            record: Mutex::default(),
            handshakes: Mutex::default(),
            lines: Lines::default(),
        });
        // Before the thread waits on it: from here on, dropping wakes it.
        wire.lines.hold_listener(&listener)?;
        let serving = wire.clone();
        let thread = thread::spawn(move || serving.accept(&listener));
        Ok(KmipInterposer { wire, port, thread: Some(thread) })
    }

    /// The server behind it, on its own port: what is asked there is not seen here. While the guard lives, no order
    /// that concerns the server itself is carried out.
    pub fn server(&self) -> MutexGuard<'_, Pykmip> {
        lock(&self.wire.server)
    }

    /// `127.0.0.1:PORT`: to be configured in the place of the server's.
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// As [`Pykmip::ask`], through here.
    pub fn ask(&self, steps: &[Value]) -> Result<Vec<Value>, Error> {
        let order = self.server().order(self.port, steps)?;
        order.carry_out()
    }

    /// What is to become of the next `times` requests with a batch item of this operation, after what was ordered for
    /// it before.
    pub fn on(&self, operation: KmipOperation, times: usize, then: KmipThen) {
        lock(&self.wire.orders).push(Order { operation, left: times, then });
    }

    /// From now on everything passes.
    pub fn behave(&self) {
        lock(&self.wire.orders).clear();
    }

    /// Shows this certificate to whoever connects from now on.
    pub fn present(&self, server: &Credentials) -> Result<(), Error> {
        let config = tls::server(server, self.server().authority().certificate())?;
        *lock(&self.wire.config) = config;
        Ok(())
    }

    /// Closes every connection that is open now, without a word, as a server does that has waited long enough.
    pub fn hang_up(&self) {
        self.wire.lines.cut();
    }

    /// How many batch items of this operation have come so far, those without an answer included.
    pub fn calls(&self, operation: KmipOperation) -> usize {
        self.requests().into_iter().flatten().filter(|seen| *seen == operation).count()
    }

    /// Every request that came so far, in order: the operations of its batch items.
    pub fn requests(&self) -> Vec<Vec<KmipOperation>> {
        lock(&self.wire.record).iter().map(|exchange| message::operations(&exchange.request)).collect()
    }

    /// The TLS version of every connection that came so far and whose client was let in, in order.
    pub fn handshakes(&self) -> Vec<ProtocolVersion> {
        lock(&self.wire.handshakes).clone()
    }

    /// The requests that carried these bytes, on the way to the server or back: the operations of each. Fewer than
    /// eight may be found by chance.
    pub fn carriers_of(&self, bytes: &[u8]) -> Vec<Vec<KmipOperation>> {
        let stand_in = |message: &[u8]| message.windows(bytes.len().max(1)).any(|window| window == bytes);
        lock(&self.wire.record)
            .iter()
            .filter(|exchange| stand_in(&exchange.request) || stand_in(&exchange.answer))
            .map(|exchange| message::operations(&exchange.request))
            .collect()
    }
}

impl Drop for KmipInterposer {
    fn drop(&mut self) {
        self.wire.lines.close();
        if let Some(thread) = self.thread.take() {
            // An order of the test's own that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Wire {
    /// Serves each connection in a thread of its own, until the lines are closed; then waits for all of them.
    fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            while let Ok((client, _)) = listener.accept() {
                scope.spawn(move || {
                    if let Ok(_held) = self.lines.hold(&client) {
                        // Whatever it was, the client sees the connection end.
                        let _ = self.serve(&client);
                    }
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
    }

    /// One request after the other, until the client leaves or an order ends it.
    fn serve(&self, mut tcp: &TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let config = lock(&self.config).clone();
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        lock(&self.handshakes).extend(tls.protocol_version());
        let mut client = StreamOwned::new(tls, tcp);
        let mut upstream = self.probe.dial(self.server_port, None)?;
        let _held = self.lines.hold(&upstream.sock)?;
        while let Some(request) = message::read(&mut client)? {
            if !self.attend(&request, &mut client, &mut upstream)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn attend(&self, request: &[u8], client: &mut Client<'_>, upstream: &mut Upstream) -> io::Result<bool> {
        let then = self.ordered(&message::operations(request));
        let number = {
            let mut record = lock(&self.record);
            record.push(Exchange { request: request.to_vec(), answer: Vec::new() });
            record.len() - 1
        };
        // How many the answer comes in, and what lies between them.
        let mut pieces = None;
        let answer = match then {
            KmipThen::Raw(bytes) => bytes,
            KmipThen::Endless => {
                client.write_all(&message::header(TOO_MUCH))?;
                loop {
                    client.write_all(&CHUNK)?;
                }
            }
            KmipThen::Never => return io::copy(client, &mut io::sink()).map(|_| false),
            KmipThen::Kill => {
                let _ = lock(&self.server).kill();
                return Ok(false);
            }
            KmipThen::Change(deed) => {
                let mut answer = self.ask(number, request, upstream)?;
                deed(&mut answer);
                answer
            }
            then => {
                match then {
                    KmipThen::Delay(time) => self.lines.rest(time),
                    KmipThen::Halves(time) => pieces = Some((2, time)),
                    KmipThen::Drip(time) => pieces = Some((usize::MAX, time)),
                    KmipThen::First(deed) => deed(&mut lock(&self.server)),
                    _ => {}
                }
                self.ask(number, request, upstream)?
            }
        };
        let (pieces, pause) = pieces.unwrap_or((1, Duration::ZERO));
        for (number, piece) in answer.chunks(answer.len().div_ceil(pieces).max(1)).enumerate() {
            if number > 0 {
                self.lines.rest(pause);
            }
            client.write_all(piece)?;
            client.flush()?;
        }
        Ok(message::is_whole(&answer))
    }

    fn ordered(&self, operations: &[KmipOperation]) -> KmipThen {
        let mut orders = lock(&self.orders);
        match orders.iter_mut().find(|order| order.left > 0 && operations.contains(&order.operation)) {
            Some(order) => {
                order.left -= 1;
                order.then.clone()
            }
            None => KmipThen::Pass,
        }
    }

    /// The real server's answer.
    fn ask(&self, number: usize, request: &[u8], server: &mut (impl Read + Write)) -> io::Result<Vec<u8>> {
        server.write_all(request)?;
        server.flush()?;
        let answer = message::read(server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if let Some(exchange) = lock(&self.record).get_mut(number) {
            exchange.answer.clone_from(&answer);
        }
        Ok(answer)
    }
}

/// A port, and what listens there.
fn listen() -> Result<(u16, TcpListener), Error> {
    let mut tries = 1;
    loop {
        let port = port::free()?;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok((port, listener)),
            // Somebody else was faster.
            Err(_) if tries < TRIES => tries += 1,
            Err(source) => return Err(Error::Io { what: format!("listening on port {port}"), source }),
        }
    }
}

/// What a panic of a test's own order left behind is still whole: nothing is half done while it runs.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
