//! A layer's recipients, as far as the packets say who they are, and what is left of the packets when some
//! of them go.

use serde_json::{Map, Value};

use super::{Opened, Refusal, Rewrapper};
use crate::error::shown;
use crate::{Error, Identity, Packet};

/// A packet, and who its recipients are.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) packet: Packet,
    pub(super) recipients: Vec<Identity>,
}

impl Listed {
    pub(super) fn new(packet: Packet) -> Listed {
        let recipients = packet.identities();
        Listed { packet, recipients }
    }

    /// Takes recipients out: one who is not wanted as his packet names him, or as the key that turns out to open
    /// it. Gives how many went; a packet whose last one went has no recipient left.
    pub(super) fn keep(
        &mut self,
        wanted: impl Fn(&Identity) -> bool,
        rewrapper: &dyn Rewrapper,
        opened: &mut Option<Opened>,
    ) -> Result<usize, Error> {
        let goes = |one: &Identity| !wanted(one);
        let gone = self.drop_all(goes)?;
        self.find(rewrapper, opened).map_err(|refusal| Error::NotOpened(refusal.into_reason()))?;
        Ok(gone + self.drop_all(goes)?)
    }

    /// Gives key ids to those who name none, as far as the keys at hand open them. Each time all who are left
    /// without one are tried by themselves: a key that opens another recipient hides none of them.
    fn find(&mut self, rewrapper: &dyn Rewrapper, opened: &mut Option<Opened>) -> Result<(), Refusal> {
        loop {
            let unnamed: Vec<bool> = self.recipients.iter().map(|one| one.kid.is_none()).collect();
            let part = match (unnamed.contains(&true), unnamed.contains(&false)) {
                (false, _) => return Ok(()),
                (true, false) => Some(self.packet.clone()),
                (true, true) => without(&self.packet, &unnamed),
            };
            // One that cannot be taken apart would be opened by the same key again.
            let Some(part) = part else { return Ok(()) };
            let found = match rewrapper.open(std::slice::from_ref(&part)) {
                Ok(found) => found,
                Err(Refusal::NotMine(_)) => return Ok(()),
                Err(refusal) => return Err(refusal),
            };
            let mut places = self.recipients.iter_mut().filter(|one| one.kid.is_none());
            let Some(place) = places.nth(found.recipient) else { return Ok(()) };
            place.found(&self.packet.scheme, &found.kid);
            *opened = Some(found);
        }
    }

    /// A packet's content is sealed apart from its recipients (RFC 7516 section 7.2): one of several can be
    /// taken out of it. Of other forms that is not known, and those who stay would go with him.
    fn drop_all(&mut self, goes: impl Fn(&Identity) -> bool) -> Result<usize, Error> {
        let stays: Vec<bool> = self.recipients.iter().map(|one| !goes(one)).collect();
        let gone = stays.iter().filter(|stays| !**stays).count();
        if gone > 0 && stays.contains(&true) {
            self.packet = without(&self.packet, &stays).ok_or_else(|| {
                Error::Reference(format!(
                    "its {} packet is sealed to several recipients as one, so that none can be taken out alone; name all who shall open the image with --to",
                    shown(&self.packet.scheme)
                ))
            })?;
        }
        self.recipients.retain(|one| !goes(one));
        Ok(gone)
    }
}

/// Who opens a packet, by key id and in the packet's order: as it says and, of those of whom it does not, as
/// the keys at hand tell. None: neither tells.
pub fn holders(packet: &Packet, rewrapper: &dyn Rewrapper) -> Result<Vec<Option<String>>, Refusal> {
    let mut listed = Listed::new(packet.clone());
    listed.find(rewrapper, &mut None)?;
    Ok(listed.recipients.into_iter().map(|one| one.kid).collect())
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

    /// Opens packets as the recipient with this encrypted key, if it is still there; the key id is `daemon`.
    struct Daemon(&'static str);

    /// Opens packets as the first of those with a key id, which is its encrypted key.
    struct Several(&'static [&'static str]);

    impl Rewrapper for Several {
        fn open(&self, packets: &[Packet]) -> Result<Opened, Refusal> {
            let opened = self.0.iter().find_map(|kid| Some((kid, Daemon(kid).open(packets).ok()?)));
            let (kid, opened) = opened.ok_or_else(|| Refusal::NotMine("not mine".into()))?;
            Ok(Opened { kid: (*kid).to_owned(), ..opened })
        }

        fn wrap(&self, _: &OptsData, _: &Labels, _: &[Identity]) -> Result<Vec<Packet>, Reason> {
            unreachable!("nobody is added here")
        }
    }

    /// Opens anything, as the first recipient.
    struct First;

    impl Rewrapper for First {
        fn open(&self, _: &[Packet]) -> Result<Opened, Refusal> {
            let optsdata = crate::cipher::new_key(&crate::Digest::of(b"")).unwrap();
            Ok(Opened { optsdata, labels: Labels::default(), kid: "daemon".into(), recipient: 0 })
        }

        fn wrap(&self, _: &OptsData, _: &Labels, _: &[Identity]) -> Result<Vec<Packet>, Reason> {
            unreachable!("nobody is added here")
        }
    }

    impl Rewrapper for Daemon {
        fn open(&self, packets: &[Packet]) -> Result<Opened, Refusal> {
            let json: Value = serde_json::from_slice(&packets[0].data).unwrap();
            let recipients = json["recipients"].as_array().unwrap();
            let recipient = recipients.iter().position(|one| one["encrypted_key"] == self.0);
            let recipient = recipient.ok_or_else(|| Refusal::NotMine("not mine".into()))?;
            let optsdata = crate::cipher::new_key(&crate::Digest::of(b"")).unwrap();
            Ok(Opened { optsdata, labels: Labels::default(), kid: "daemon".into(), recipient })
        }

        fn wrap(&self, _: &OptsData, _: &Labels, _: &[Identity]) -> Result<Vec<Packet>, Reason> {
            unreachable!("nobody is added here")
        }
    }

    fn general(kids: &[Option<&str>]) -> Listed {
        let recipients: Vec<Value> = kids
            .iter()
            .enumerate()
            .map(|(at, kid)| serde_json::json!({"header": {"alg": "A256GCMKW", "kid": kid}, "encrypted_key": format!("k{at}")}))
            .collect();
        let json = serde_json::json!({
            "protected": URL_SAFE_NO_PAD.encode(r#"{"enc":"A256GCM"}"#),
            "recipients": recipients,
            "encrypted_key": "k0",
            "iv": "", "ciphertext": "", "tag": "",
        });
        Listed::new(Packet { scheme: "jwe".to_owned(), data: json.to_string().into_bytes() })
    }

    /// Everybody is wanted but whoever has this key.
    fn but(kid: &str) -> impl Fn(&Identity) -> bool {
        move |one| one.kid.as_deref() != Some(kid)
    }

    fn kids(listed: &Listed) -> Vec<Option<String>> {
        listed.recipients.iter().map(|one| one.kid.clone()).collect()
    }

    fn left(listed: &Listed) -> Value {
        serde_json::from_slice(&listed.packet.data).unwrap()
    }

    #[test]
    fn one_of_several_recipients_is_taken_out_and_the_copy_of_his_key_with_him() {
        let mut packet = general(&[Some("a"), Some("b")]);
        assert_eq!(packet.keep(but("a"), &Daemon("none"), &mut None).unwrap(), 1);
        assert_eq!(kids(&packet), [Some("b".to_owned())]);
        assert_eq!(left(&packet)["recipients"].as_array().unwrap().len(), 1);
        assert_eq!(left(&packet)["recipients"][0]["header"]["kid"], "b");
        assert!(left(&packet).get("encrypted_key").is_none());
    }

    #[test]
    fn the_last_recipient_takes_the_packet_with_him() {
        let mut packet = general(&[Some("a")]);
        assert_eq!(packet.keep(but("a"), &Daemon("none"), &mut None).unwrap(), 1);
        assert!(packet.recipients.is_empty());
    }

    #[test]
    fn a_recipient_without_a_key_id_is_found_by_opening() {
        let mut packet = general(&[None, None, Some("c")]);
        let mut opened = None;
        assert_eq!(packet.keep(but("daemon"), &Daemon("k1"), &mut opened).unwrap(), 1);
        assert_eq!(kids(&packet), [None, Some("c".to_owned())]);
        assert_eq!(left(&packet)["recipients"][0]["encrypted_key"], "k0");
        assert!(opened.is_some());
    }

    #[test]
    fn one_who_may_stay_is_told_by_name_once_he_is_found() {
        let mut packet = general(&[None]);
        assert_eq!(packet.keep(|_| true, &Daemon("k0"), &mut None).unwrap(), 0);
        assert_eq!(kids(&packet), [Some("daemon".to_owned())]);
    }

    #[test]
    fn one_who_goes_is_found_behind_one_who_stays() {
        let mut packet = general(&[None, None, Some("c")]);
        assert_eq!(packet.keep(but("k1"), &Several(&["k0", "k1"]), &mut None).unwrap(), 1);
        assert_eq!(kids(&packet), [Some("k0".to_owned()), Some("c".to_owned())]);
        assert_eq!(left(&packet)["recipients"][1]["header"]["kid"], "c");
    }

    #[test]
    fn a_key_of_a_named_recipient_says_nothing_of_one_without_a_name() {
        let packet = general(&[Some("k0"), None]).packet;
        assert_eq!(holders(&packet, &Several(&["k0"])).unwrap(), [Some("k0".to_owned()), None]);
        let both = [Some("k0".to_owned()), Some("k1".to_owned())];
        assert_eq!(holders(&packet, &Several(&["k0", "k1"])).unwrap(), both);
    }

    #[test]
    fn who_cannot_be_taken_out_alone_takes_nobody_with_him() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/skopeo-1.18");
        let data = std::fs::read(format!("{dir}/pkcs7-rsa2048+rsa3072.069a706b5a27.pkcs7.der")).unwrap();
        let mut packet = Listed::new(Packet { scheme: "pkcs7".to_owned(), data });
        assert_eq!(kids(&packet), [None, None]);
        let error = packet.keep(but("daemon"), &First, &mut None).unwrap_err().to_string();
        assert!(error.contains("its pkcs7 packet is sealed to several") && error.contains("--to"), "{error}");
        assert_eq!(packet.keep(|_| true, &First, &mut None).unwrap(), 0);
    }

    #[test]
    fn a_packet_of_another_form_has_one_recipient_without_a_name() {
        let cms = Listed::new(Packet { scheme: "pkcs7".to_owned(), data: vec![0x30, 0x82] });
        assert_eq!(kids(&cms), [None]);
    }
}
