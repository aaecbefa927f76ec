//! The daemon opens layers' keys, and they are wrapped anew: by it, or here to public keys.

use holdfast_image::{Opened, Packet, Reason, Refusal, Rewrapper, Wrapper as _};
use holdfast_wire::grpc::v1;
use holdfast_wire::{Labels, OptsData, Secret};

use crate::daemon::{Daemon, Unanswered};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::recipients::{Recipients, Wraps};

/// Everything it takes.
pub(crate) struct ThroughDaemon<'a> {
    pub(crate) daemon: &'a Daemon,
    /// The daemon's keys that this user may use.
    pub(crate) listed: &'a [v1::Key],
    pub(crate) recipients: &'a Recipients,
    pub(crate) interrupt: Interrupt,
}

impl Rewrapper for ThroughDaemon<'_> {
    fn open(&self, packets: &[Packet]) -> Result<Opened, Refusal> {
        let packets = packets
            .iter()
            .map(|packet| v1::Packet { scheme: packet.scheme.clone(), data: packet.data.clone() });
        let request =
            v1::OpenPacketRequest { packets: packets.collect(), ..v1::OpenPacketRequest::default() };
        let answer = self.daemon.try_packet(request, &self.interrupt).map_err(
            |Unanswered { failure, not_mine, may_pass }| {
                let failure = Reason::from(failure);
                match (not_mine, may_pass) {
                    (true, _) => Refusal::NotMine(failure),
                    (false, true) => Refusal::Away(failure),
                    (false, false) => Refusal::Failed(failure),
                }
            },
        )?;
        opened(answer).map_err(|failure| Refusal::Failed(failure.into()))
    }

    fn wrap(&self, optsdata: &OptsData, labels: &Labels, kids: &[String]) -> Result<Vec<Packet>, Reason> {
        let recipients = self.recipients.only(kids, self.listed, labels);
        let wraps =
            Wraps { recipients: &recipients, daemon: Some(self.daemon), interrupt: self.interrupt.clone() };
        wraps.wrap(optsdata)
    }
}

fn opened(answer: v1::OpenPacketResponse) -> Result<Opened, Failure> {
    let odd = |what: String| {
        Failure::line(format!("holdfastd answered something else than a layer's key ({what}); see its log"))
    };
    // What prost and h2 copied on the way is theirs; this copy is wiped.
    let optsdata = OptsData::parse(Secret::new(answer.optsdata)).map_err(|error| odd(error.to_string()))?;
    let mut labels = Labels::default();
    for (name, value) in &answer.labels {
        labels.insert(name, value).map_err(|error| odd(error.to_string()))?;
    }
    Ok(Opened {
        optsdata,
        labels,
        kid: answer.kid,
        packet: answer.packet as usize,
        recipient: answer.recipient as usize,
    })
}
