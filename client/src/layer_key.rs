//! A layer's key: how the daemon is asked for it, and what it answers.

use holdfast_image::{Digest, Packet};
use holdfast_wire::grpc::v1;
use holdfast_wire::{Labels, OptsData, Secret};

use crate::daemon::{Daemon, Unanswered};
use crate::failure::Failure;

/// What came out of one of a layer's packets.
pub(crate) struct LayerKey {
    pub(crate) optsdata: OptsData,
    /// What the layer was encrypted for, under that packet's own seal.
    pub(crate) labels: Labels,
    /// What the daemon calls the key that opened it.
    pub(crate) alias: String,
    pub(crate) kid: String,
    /// As which of its packet's recipients.
    pub(crate) recipient: usize,
    pub(crate) request_id: String,
}

impl Daemon {
    /// Has any one of a layer's packets opened. `manifest` is where they stand, for the daemon's audit log.
    /// Whatever ends `interrupted` ends the wait.
    pub(crate) fn layer_key(
        &self,
        packets: &[Packet],
        manifest: Option<&Digest>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<LayerKey, Unanswered> {
        let packets = packets
            .iter()
            .map(|packet| v1::Packet { scheme: packet.scheme.clone(), data: packet.data.clone() });
        let manifest = manifest.map(Digest::to_string).unwrap_or_default();
        let request = v1::OpenPacketRequest { packets: packets.collect(), manifest };
        Ok(read(self.open_packet(request, interrupted)?)?)
    }
}

fn read(answer: v1::OpenPacketResponse) -> Result<LayerKey, Failure> {
    let odd = |what: String| {
        Failure::line(format!("holdfastd answered something else than a layer's key ({what}); see its log"))
    };
    // What prost and h2 copied on the way is theirs; this copy is wiped.
    let optsdata = OptsData::parse(Secret::new(answer.optsdata)).map_err(|error| odd(error.to_string()))?;
    let mut labels = Labels::default();
    for (name, value) in &answer.labels {
        labels.insert(name, value).map_err(|error| odd(error.to_string()))?;
    }
    Ok(LayerKey {
        optsdata,
        labels,
        alias: answer.alias,
        kid: answer.kid,
        recipient: answer.recipient as usize,
        request_id: answer.request_id,
    })
}
