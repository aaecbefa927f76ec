//! A TPM, an HSM and a KMIP server side by side in one daemon: what is sealed to all of them opens by any of them.

use holdfast_e2e::house::{Daemon, House, me};
use holdfast_e2e::{eventually, image, kmip, must, rpc, tpm};
use hsm_sim::{FaultyModule, KeyKind, Pykmip, Swtpm};
use tonic::Code;

use crate::tpm::decrypt;

/// Aliases, and where their keys are.
const ALL: [&str; 3] = ["tpm", "hsm", "kms"];

/// The three, each of which can be taken away.
struct Three {
    house: House,
    module: FaultyModule,
    swtpm: Swtpm,
    server: Pykmip,
}

impl Three {
    /// Keys in this order: RSA keys, so that anybody can encrypt to them, or those that each one is best at.
    fn new(order: [&str; 3], rsa: bool) -> Three {
        let (swtpm, server) = (Swtpm::start().unwrap(), Pykmip::with_rsa().unwrap());
        let mut house = House::new();
        let module = FaultyModule::install(house.dir.path(), house.hsm.module()).unwrap();
        house.hsm.generate(&house.token, "hsm", &[1], KeyKind::Rsa2048).unwrap();
        house = kmip::section(tpm::section(house, &swtpm.tcti(), ""), &server, "");
        for alias in order {
            house = match (alias, rsa) {
                ("tpm", true) => tpm::make(house, "tpm", &["--algorithm", "rsa-2048"]).0,
                ("tpm", false) => tpm::make(house, "tpm", &["--algorithm", "ecc-p256"]).0,
                ("kms", true) => kmip::make(house, "kms", "rsa-2048").0,
                ("kms", false) => kmip::make(house, "kms", "aes-256").0,
                _ => {
                    house.configure("hsm", "hsm", "");
                    house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"hsm\"]", me()));
                    house
                }
            };
        }
        Three { house: house.module(module.path().to_owned()), module, swtpm, server }
    }

    /// Serving, with every key known.
    async fn start(&self) -> (Daemon, Vec<u8>) {
        let daemon = self.house.start();
        let optsdata = rpc::optsdata();
        let packet = rpc::wrap_key(&self.house.socket(), &["tpm+hsm+kms"], optsdata.raw().expose()).await;
        (daemon, packet.unwrap())
    }

    fn take_away(&mut self, alias: &str) {
        match alias {
            "tpm" => self.swtpm.kill().unwrap(),
            "kms" => self.server.kill().unwrap(),
            _ => self.module.remove_tokens().unwrap(),
        }
    }

    fn bring_back(&mut self, alias: &str) {
        match alias {
            "tpm" => self.swtpm.restart().unwrap(),
            "kms" => self.server.restart().unwrap(),
            _ => self.module.behave().unwrap(),
        }
    }

    /// Which key opens the packet.
    async fn opens(&self, packet: &[u8]) -> Option<String> {
        rpc::open(&self.house.socket(), packet).await.ok().map(|answer| answer.alias)
    }
}

/// How often the log says that a key could not be used for a packet that was sealed to it.
fn told(daemon: &Daemon, alias: &str) -> usize {
    let said = format!("alias=\"{alias}\"");
    let log = daemon.log();
    log.lines()
        .filter(|line| line.contains("a key of this packet could not be used") && line.contains(&said))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_for_all_three_opens_by_each_of_them_alone() {
    let mut three = Three::new(ALL, false);
    let (daemon, packet) = three.start().await;
    for alone in ALL {
        let others = ALL.into_iter().filter(|alias| *alias != alone);
        for alias in others.clone() {
            three.take_away(alias);
        }
        let before = ALL.map(|alias| told(&daemon, alias));
        let given = rpc::unwrap_key(&three.house.socket(), &packet).await.unwrap();
        assert_eq!(given, rpc::optsdata().raw().expose(), "by the {alone} alone");
        let last = three.house.audit().pop().unwrap();
        assert_eq!((&last["aliases"], &last["outcome"]), (&serde_json::json!([alone]), &"released".into()));
        // Those before it in the configured order were asked, each once; those behind it were not.
        let at = ALL.iter().position(|alias| *alias == alone).unwrap();
        for (index, alias) in ALL.into_iter().enumerate() {
            assert_eq!(
                told(&daemon, alias) - before[index],
                usize::from(index < at),
                "{alias}: {}",
                daemon.log()
            );
        }
        for alias in others {
            three.bring_back(alias);
        }
        for alias in ALL {
            let socket = three.house.socket();
            eventually("all three are back", async || {
                rpc::wrap_key(&socket, &[alias], rpc::optsdata().raw().expose()).await.is_ok()
            })
            .await;
        }
    }
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_tried_in_the_configured_order_and_the_first_is_first_again_when_it_is_back() {
    for order in [["kms", "tpm", "hsm"], ["hsm", "kms", "tpm"]] {
        let mut three = Three::new(order, false);
        let (daemon, packet) = three.start().await;
        for (gone, alias) in order.into_iter().enumerate() {
            assert_eq!(three.opens(&packet).await.as_deref(), Some(alias));
            three.take_away(alias);
            assert!(order[..gone].iter().all(|alias| told(&daemon, alias) > 0), "{}", daemon.log());
        }
        let status = rpc::unwrap_key(&three.house.socket(), &packet).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        // All of them are told, not only the one that the answer names.
        assert!(order.iter().all(|alias| told(&daemon, alias) > 0), "{}", daemon.log());
        for alias in order.into_iter().rev() {
            three.bring_back(alias);
            eventually(alias, async || three.opens(&packet).await.as_deref() == Some(alias)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_skopeo_encrypted_to_three_public_keys_opens_by_each_of_them_alone() {
    let mut three = Three::new(ALL, true);
    let plain = image::build(three.house.dir.path(), 3);
    let encrypted = three.house.dir.path().join("encrypted");
    let public = |alias: &str| match alias {
        "hsm" => three.house.public_key_file("hsm"),
        made => three.house.dir.path().join(format!("{made}.pub.pem")),
    };
    let keys = ALL.map(|alias| format!("jwe:{}", public(alias).display()));
    image::skopeo_encrypt(&plain, &encrypted, &keys.each_ref().map(String::as_str));
    let (daemon, _) = three.start().await;
    for alone in ALL {
        for alias in ALL.into_iter().filter(|alias| *alias != alone) {
            three.take_away(alias);
        }
        let opened = three.house.dir.path().join(format!("by-{alone}"));
        must(&mut decrypt(&three.house, &encrypted, &opened));
        assert!(image::same_layers(&plain, &opened), "by the {alone} alone");
        for alias in ALL.into_iter().filter(|alias| *alias != alone) {
            three.bring_back(alias);
        }
    }
    assert!(daemon.stop().success());
}
