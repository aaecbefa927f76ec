//! The daemon's keys against the packets of images: which of them open one.
//!
//! Packets are matched by their key ids, which costs nothing. Those that name none are tried by the daemon if
//! the user asked for that: an unwrap for each, with its record in the audit log.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use holdfast_image::{Packet, Refusal, holders};
use holdfast_wire::Labels;
use holdfast_wire::grpc::v1::Key;
use tokio::runtime::Runtime;

use crate::cli::Common;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::recipients::Recipients;
use crate::rewrapper::ThroughDaemon;

/// What the daemon says of its keys, if there is one.
pub(crate) struct KnownKeys {
    daemon: Option<(Daemon, Vec<Key>)>,
    ask: bool,
    nobody: Recipients,
    interrupt: Interrupt,
    /// What was asked for once: platforms share layers, and tags share images.
    asked: HashMap<(String, Vec<u8>), Held>,
}

/// Who opens a packet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// The key id of each recipient, in the packet's order; None of one whom nobody here knows.
    pub(crate) kids: Vec<Option<String>>,
    /// Why the packet could not be tried.
    pub(crate) trouble: Option<String>,
}

impl KnownKeys {
    /// Asks the daemon for its list. One that does not answer is an error where it is needed, and else a note.
    pub(crate) fn read(
        common: &Common,
        runtime: Arc<Runtime>,
        interrupt: Interrupt,
        ask: bool,
        needed: bool,
    ) -> Result<KnownKeys, Failure> {
        let daemon = Daemon::connect_on(common, runtime).and_then(|daemon| Ok((daemon.keys()?, daemon)));
        let daemon = match daemon {
            Ok((listed, daemon)) => Some((daemon, listed)),
            Err(failure) if ask || needed => return Err(failure),
            Err(failure) => {
                // Nowhere is left to tell that stderr cannot be written.
                let _ = writeln!(std::io::stderr(), "holdfast: note: keys are shown by their ids: {failure}");
                None
            }
        };
        let nobody = Recipients::read(&[], Labels::default())?;
        Ok(KnownKeys { daemon, ask, nobody, interrupt, asked: HashMap::new() })
    }

    /// The keys that this user may use, if a daemon told them.
    pub(crate) fn listed(&self) -> Option<&[Key]> {
        self.daemon.as_ref().map(|(_, listed)| listed.as_slice())
    }

    /// Whether the daemon tries packets that name no key id.
    pub(crate) fn asks(&self) -> bool {
        self.ask
    }

    /// The key with this id.
    pub(crate) fn find(&self, kid: &str) -> Option<&Key> {
        self.listed()?.iter().find(|key| key.kid == kid && !key.kid.is_empty())
    }

    /// Whether every key of the list has its id. One whose token was not reached yet has none, and may be any.
    pub(crate) fn have_ids(&self) -> bool {
        self.listed().is_some_and(|listed| listed.iter().all(|key| !key.kid.is_empty()))
    }

    /// Who opens a packet. An error says that nobody can be asked now; whatever else keeps this one from being
    /// tried stands beside what it says itself.
    pub(crate) fn holders(&mut self, packet: &Packet) -> Result<Held, Failure> {
        let told = || packet.key_ids();
        let Some((daemon, listed)) = self.daemon.as_ref().filter(|_| self.ask) else {
            return Ok(Held { kids: told(), trouble: None });
        };
        let name = (packet.scheme.clone(), packet.data.clone());
        if let Some(held) = self.asked.get(&name) {
            return Ok(held.clone());
        }
        let interrupt = self.interrupt.clone();
        let through = ThroughDaemon { daemon, listed, recipients: &self.nobody, interrupt };
        let held = match holders(packet, &through) {
            Ok(kids) => Held { kids, trouble: None },
            Err(Refusal::Away(reason)) => return Err(Failure::line(reason.to_string())),
            // Something about this packet or its key: the others can be asked all the same.
            Err(refusal) => Held { kids: told(), trouble: Some(refusal.into_reason().to_string()) },
        };
        self.asked.insert(name, held.clone());
        Ok(held)
    }
}
