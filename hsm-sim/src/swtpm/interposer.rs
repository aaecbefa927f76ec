//! The bus between a client and its TPM, with somebody sitting on it: every command passes here and is counted
//! and written down, and a test says which ones are to fare ill.
//!
//! A real swtpm is always behind it. What its users see is another TCTI of the same kind, `swtpm:host=…,port=…`;
//! libtss2's opens a connection for each command, so that a fault of one connection is a fault of one command.

mod message;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Swtpm, TRIES};
use crate::lines::Lines;
use crate::{Error, Then, TpmCommand, port, program};

/// A swtpm behind two ports of our own. Dropping it closes them, ends its threads, and kills the swtpm.
#[derive(Debug)]
pub struct Interposer {
    bus: Arc<Bus>,
    port: u16,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Bus {
    swtpm: Mutex<Swtpm>,
    /// Of the swtpm; the control channel is one up.
    tpm_port: AtomicU16,
    orders: Mutex<Vec<Order>>,
    record: Mutex<Vec<Exchange>>,
    lines: Lines,
}

#[derive(Debug)]
struct Order {
    command: TpmCommand,
    left: usize,
    then: Then,
}

/// What went over the bus for one command.
#[derive(Debug)]
struct Exchange {
    command: Vec<u8>,
    /// The TPM's own, before anything was done to it; empty until it is there.
    answer: Vec<u8>,
}

/// What a client gets.
enum Reply {
    Answer(Vec<u8>),
    /// And no more: the connection is closed behind it, or a client would wait for what is missing.
    Last(Vec<u8>),
}

impl Interposer {
    /// Stands before a running swtpm, and does nothing but pass on until something is ordered.
    pub fn before(swtpm: Swtpm) -> Result<Interposer, Error> {
        let (port, listeners) = listen()?;
        let bus = Arc::new(Bus {
            tpm_port: swtpm.port.into(),
            swtpm: Mutex::new(swtpm),
            orders: Mutex::default(),
            record: Mutex::default(),
            lines: Lines::default(),
        });
        let mut interposer = Interposer { bus, port, threads: Vec::new() };
        for (listener, serve) in listeners.into_iter().zip([Bus::commands, Bus::control]) {
            let bus = interposer.bus.clone();
            // Before the thread waits on it: from here on, dropping wakes it.
            bus.lines.hold_listener(&listener)?;
            interposer.threads.push(thread::spawn(move || bus.accept(&listener, serve)));
        }
        Ok(interposer)
    }

    /// The TPM behind it, on its own ports: what is asked there is not seen here. While the guard lives, no
    /// order that concerns the TPM itself is carried out.
    pub fn swtpm(&self) -> MutexGuard<'_, Swtpm> {
        lock(&self.bus.swtpm)
    }

    /// Puts another TPM in its place, as who opens the machine might. The one that was there runs on.
    pub fn exchange(&self, other: Swtpm) -> Swtpm {
        let mut swtpm = self.swtpm();
        self.bus.tpm_port.store(other.port, Ordering::Release);
        std::mem::replace(&mut swtpm, other)
    }

    /// How programs reach the TPM through here.
    pub fn tcti(&self) -> String {
        super::tcti(self.port)
    }

    /// A command of tpm2-tools, through here.
    pub fn tool(&self, name: &str) -> Result<Command, Error> {
        let mut command = program::command(name, "tpm2-tools")?;
        command.envs(super::env(self.port));
        Ok(command)
    }

    /// What is to become of the next `times` commands of this kind, after what was ordered for it before.
    pub fn on(&self, command: TpmCommand, times: usize, then: Then) {
        lock(&self.bus.orders).push(Order { command, left: times, then });
    }

    /// From now on everything passes.
    pub fn behave(&self) {
        lock(&self.bus.orders).clear();
    }

    /// How many commands of this kind have come so far, those without an answer included.
    pub fn calls(&self, command: TpmCommand) -> usize {
        self.commands().into_iter().filter(|seen| *seen == command).count()
    }

    /// Every command that came so far, in order.
    pub fn commands(&self) -> Vec<TpmCommand> {
        lock(&self.bus.record).iter().map(|exchange| message::command(&exchange.command)).collect()
    }

    /// The commands that carried these bytes, on the way to the TPM or back. Fewer than eight may be found by
    /// chance.
    pub fn carriers_of(&self, bytes: &[u8]) -> Vec<TpmCommand> {
        let stand_in = |message: &[u8]| message.windows(bytes.len().max(1)).any(|window| window == bytes);
        lock(&self.bus.record)
            .iter()
            .filter(|exchange| stand_in(&exchange.command) || stand_in(&exchange.answer))
            .map(|exchange| message::command(&exchange.command))
            .collect()
    }
}

impl Drop for Interposer {
    fn drop(&mut self) {
        self.bus.lines.close();
        for thread in self.threads.drain(..) {
            // An order of the test's own that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Bus {
    /// Serves each connection in a thread of its own, until the lines are closed; then waits for all of them.
    fn accept(&self, listener: &TcpListener, serve: fn(&Bus, &TcpStream)) {
        thread::scope(|scope| {
            while let Ok((client, _)) = listener.accept() {
                scope.spawn(move || {
                    if let Ok(_held) = self.lines.hold(&client) {
                        serve(self, &client);
                    }
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
    }

    /// One command after the other, until the client leaves.
    fn commands(&self, mut client: &TcpStream) {
        while let Ok(Some(command)) = message::read(client) {
            match self.attend(command) {
                Some(Reply::Answer(answer)) if client.write_all(&answer).is_ok() => {}
                Some(Reply::Last(answer)) => {
                    let _ = client.write_all(&answer);
                    return;
                }
                _ => return,
            }
        }
    }

    /// The control channel carries no commands of the TPM: it is passed on, and not recorded.
    fn control(&self, client: &TcpStream) {
        let Ok(tpm) = self.dial(1) else { return };
        let Ok(_held) = self.lines.hold(&tpm) else { return };
        let pass = |mut from: &TcpStream, mut to: &TcpStream| {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        };
        thread::scope(|scope| {
            scope.spawn(|| pass(client, &tpm));
            pass(&tpm, client);
        });
    }

    /// `None` where there is no answer, but the end of the connection.
    fn attend(&self, command: Vec<u8>) -> Option<Reply> {
        let then = self.ordered(message::command(&command));
        let number = {
            let mut record = lock(&self.record);
            record.push(Exchange { command: command.clone(), answer: Vec::new() });
            record.len() - 1
        };
        match then {
            Then::Pass => {}
            Then::Answer(code) => return Some(Reply::Answer(message::answer(code))),
            Then::Raw(bytes) => return Some(Reply::Last(bytes)),
            Then::Delay(time) => self.lines.rest(time),
            Then::First(deed) => deed(&mut lock(&self.swtpm)),
            Then::Kill => {
                let _ = lock(&self.swtpm).kill();
                return None;
            }
            Then::Change(deed) => {
                let mut answer = self.ask(number, &command).ok()?;
                deed(&mut answer);
                return Some(Reply::Last(answer));
            }
        }
        self.ask(number, &command).ok().map(Reply::Answer)
    }

    fn ordered(&self, command: TpmCommand) -> Then {
        let mut orders = lock(&self.orders);
        match orders.iter_mut().find(|order| order.command == command && order.left > 0) {
            Some(order) => {
                order.left -= 1;
                order.then.clone()
            }
            None => Then::Pass,
        }
    }

    /// The real TPM's answer.
    fn ask(&self, number: usize, command: &[u8]) -> io::Result<Vec<u8>> {
        let tpm = self.dial(0)?;
        let _held = self.lines.hold(&tpm)?;
        (&tpm).write_all(command)?;
        let answer = message::read(&tpm)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if let Some(exchange) = lock(&self.record).get_mut(number) {
            exchange.answer.clone_from(&answer);
        }
        Ok(answer)
    }

    /// The TPM's port, or one that is so much above.
    fn dial(&self, above: u16) -> io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.tpm_port.load(Ordering::Acquire) + above))
    }
}

/// Two ports, one above the other, and what listens there.
fn listen() -> Result<(u16, [TcpListener; 2]), Error> {
    let mut tries = 1;
    loop {
        let port = port::free_pair()?;
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        match bind(port).and_then(|commands| Ok([commands, bind(port + 1)?])) {
            Ok(listeners) => return Ok((port, listeners)),
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
