//! A layer's recipients, as far as the packets say who they are, and what is left of the packets when some
//! of them go.

use serde_json::{Map, Value};

use super::{Opened, Refusal, Rewrapper};
use crate::{Error, Packet};

/// A packet, and the key id of each of its recipients.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) packet: Packet,
    pub(super) kids: Vec<Option<String>>,
}

impl Listed {
    pub(super) fn new(packet: Packet) -> Listed {
        let kids = packet.key_ids();
        Listed { packet, kids }
    }

    /// Takes recipients out: one who names a key id that is not wanted, or whose packet turns out to be
    /// opened by such a key. Gives how many went; a packet whose last one went has no recipient left.
    pub(super) fn keep(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        rewrapper: &dyn Rewrapper,
        opened: &mut Option<Opened>,
    ) -> Result<usize, Error> {
        let goes = |kid: &Option<String>| kid.as_ref().is_some_and(|kid| !wanted(kid));
        let mut gone = self.drop_all(goes);
        // Each call finds the daemon's first key for what is left of the packet.
        while self.kids.iter().any(Option::is_none) {
            let found = match rewrapper.open(std::slice::from_ref(&self.packet)) {
                Ok(found) => found,
                Err(Refusal::NotMine(_)) => break,
                Err(Refusal::Failed(error) | Refusal::Away(error)) => return Err(Error::NotOpened(error)),
            };
            if let Some(kid) = self.kids.get_mut(found.recipient) {
                *kid = Some(found.kid.clone());
            }
            *opened = Some(found);
            match self.drop_all(goes) {
                0 => break,
                more => gone += more,
            }
        }
        Ok(gone)
    }

    /// A packet's content is sealed apart from its recipients (RFC 7516 section 7.2): one of several can be
    /// taken out of it.
    fn drop_all(&mut self, goes: impl Fn(&Option<String>) -> bool) -> usize {
        let stays: Vec<bool> = self.kids.iter().map(|kid| !goes(kid)).collect();
        let gone = stays.iter().filter(|stays| !**stays).count();
        if gone == 0 {
            return 0;
        }
        let mut each = stays.iter();
        self.kids.retain(|_| each.next().is_none_or(|stays| *stays));
        match without(&self.packet, &stays) {
            Some(rest) if !self.kids.is_empty() => self.packet = rest,
            // Its only recipient: whatever else is in it, nobody is left to open it.
            _ => self.kids.clear(),
        }
        gone
    }
}

/// The general serialization with some of its recipients. Beside them go-jose writes a copy of the first
/// one's key, which RFC 7516 section 7.2.1 does not have: it would be that of one who went.
fn without(packet: &Packet, stays: &[bool]) -> Option<Packet> {
    let mut json: Map<String, Value> = serde_json::from_slice(&packet.data).ok()?;
    let mut stays = stays.iter();
    json.get_mut("recipients")?.as_array_mut()?.retain(|_| stays.next().is_none_or(|stays| *stays));
    json.shift_remove("encrypted_key");
    let data = serde_json::to_vec(&json).ok()?;
    Some(Packet { scheme: packet.scheme.clone(), data })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use holdfast_wire::{Labels, OptsData};

    use super::*;
    use crate::rewrap::Reason;

    /// Opens packets as the recipient with this number, if its key is still there; the key id is `daemon`.
    struct Daemon(&'static str);

    impl Rewrapper for Daemon {
        fn open(&self, packets: &[Packet]) -> Result<Opened, Refusal> {
            let json: Value = serde_json::from_slice(&packets[0].data).unwrap();
            let recipients = json["recipients"].as_array().unwrap();
            let recipient = recipients.iter().position(|one| one["encrypted_key"] == self.0);
            let recipient = recipient.ok_or_else(|| Refusal::NotMine("not mine".into()))?;
            let optsdata = crate::cipher::new_key(&crate::Digest::of(b"")).unwrap();
            Ok(Opened { optsdata, labels: Labels::default(), kid: "daemon".into(), packet: 0, recipient })
        }

        fn wrap(&self, _: &OptsData, _: &Labels, _: &[String]) -> Result<Vec<Packet>, Reason> {
            unreachable!("nobody is added here")
        }
    }

    fn general(kids: &[Option<&str>]) -> Listed {
        let recipients: Vec<Value> = kids
            .iter()
            .enumerate()
            .map(|(at, kid)| serde_json::json!({"header": {"kid": kid}, "encrypted_key": format!("k{at}")}))
            .collect();
        let json = serde_json::json!({
            "protected": URL_SAFE_NO_PAD.encode(r#"{"enc":"A256GCM"}"#),
            "recipients": recipients,
            "encrypted_key": "k0",
            "iv": "", "ciphertext": "", "tag": "",
        });
        Listed::new(Packet { scheme: "jwe".to_owned(), data: json.to_string().into_bytes() })
    }

    fn left(listed: &Listed) -> Value {
        serde_json::from_slice(&listed.packet.data).unwrap()
    }

    #[test]
    fn one_of_several_recipients_is_taken_out_and_the_copy_of_his_key_with_him() {
        let mut packet = general(&[Some("a"), Some("b")]);
        assert_eq!(packet.keep(|kid| kid != "a", &Daemon("none"), &mut None).unwrap(), 1);
        assert_eq!(packet.kids, [Some("b".to_owned())]);
        assert_eq!(left(&packet)["recipients"].as_array().unwrap().len(), 1);
        assert_eq!(left(&packet)["recipients"][0]["header"]["kid"], "b");
        assert!(left(&packet).get("encrypted_key").is_none());
    }

    #[test]
    fn the_last_recipient_takes_the_packet_with_him() {
        let mut packet = general(&[Some("a")]);
        assert_eq!(packet.keep(|kid| kid != "a", &Daemon("none"), &mut None).unwrap(), 1);
        assert!(packet.kids.is_empty());
    }

    #[test]
    fn a_recipient_without_a_key_id_is_found_by_opening() {
        let mut packet = general(&[None, None, Some("c")]);
        let mut opened = None;
        assert_eq!(packet.keep(|kid| kid != "daemon", &Daemon("k1"), &mut opened).unwrap(), 1);
        assert_eq!(packet.kids, [None, Some("c".to_owned())]);
        assert_eq!(left(&packet)["recipients"][0]["encrypted_key"], "k0");
        assert!(opened.is_some());
    }

    #[test]
    fn one_who_may_stay_is_told_by_name_once_he_is_found() {
        let mut packet = general(&[None]);
        assert_eq!(packet.keep(|_| true, &Daemon("k0"), &mut None).unwrap(), 0);
        assert_eq!(packet.kids, [Some("daemon".to_owned())]);
    }

    #[test]
    fn a_packet_of_another_form_has_one_recipient_without_a_name() {
        let cms = Listed::new(Packet { scheme: "pkcs7".to_owned(), data: vec![0x30, 0x82] });
        assert_eq!(cms.kids, [None]);
    }
}
