//! The daemon opens layers' keys, and they are wrapped anew: by it, or here to public keys.

use holdfast_image::{Identity, Opened, Packet, Reason, Refusal, Rewrapper, Wrapper as _};
use holdfast_wire::grpc::v1;
use holdfast_wire::{Labels, OptsData};

use crate::daemon::{Daemon, Unanswered};
use crate::interrupt::Interrupt;
use crate::layer_key::LayerKey;
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
        let key = self.daemon.layer_key(packets, None, self.interrupt.clone().wait()).map_err(
            |Unanswered { failure, not_mine, may_pass }| {
                let failure = Reason::from(failure);
                match (not_mine, may_pass) {
                    (true, _) => Refusal::NotMine(failure),
                    (false, true) => Refusal::Away(failure),
                    (false, false) => Refusal::Failed(failure),
                }
            },
        )?;
        let LayerKey { optsdata, labels, kid, recipient, .. } = key;
        Ok(Opened { optsdata, labels, kid, recipient })
    }

    fn wrap(&self, optsdata: &OptsData, labels: &Labels, to: &[Identity]) -> Result<Vec<Packet>, Reason> {
        let recipients = self.recipients.only(to, self.listed, labels);
        let wraps =
            Wraps { recipients: &recipients, daemon: Some(self.daemon), interrupt: self.interrupt.clone() };
        wraps.wrap(optsdata)
    }
}
