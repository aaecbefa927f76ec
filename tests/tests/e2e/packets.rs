//! Packets as the distribution's skopeo writes them, opened by keys that stay in the token.

use holdfast_e2e::house::House;
use holdfast_e2e::{image, must, rpc};
use holdfast_wire::grpc::v1;
use holdfast_wire::{MAX_PACKETS, OptsData, Secret};
use hsm_sim::KeyKind;

/// Encrypts a three-layer image by skopeo and opens each layer's packet over both services.
async fn opens(kind: KeyKind) {
    let house = House::new().key("images", kind);
    let (plain, encrypted) = image::plain_and_encrypted(&house, "images");
    let daemon = house.start();
    let packets = image::packets(&encrypted, "jwe");
    assert_eq!(packets.len(), 3);
    for (packet, digest) in packets.iter().zip(image::layers(&plain)) {
        let opened = rpc::open(&house.socket(), packet).await.unwrap();
        assert_eq!(opened.alias, "images");
        let optsdata = OptsData::parse(Secret::new(opened.optsdata.clone())).unwrap();
        assert_eq!(optsdata.digest(), digest, "the packet of another layer");
        assert_eq!(rpc::unwrap_key(&house.socket(), packet).await.unwrap(), opened.optsdata);
    }
    assert_eq!(house.audit().len(), 6);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_2048() {
    opens(KeyKind::Rsa2048).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_3072() {
    opens(KeyKind::Rsa3072).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_4096() {
    opens(KeyKind::Rsa4096).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ec_p256() {
    opens(KeyKind::EcP256).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ec_p384() {
    opens(KeyKind::EcP384).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ec_p521() {
    opens(KeyKind::EcP521).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_recipients_without_a_kid() {
    let house = House::new().key("images", KeyKind::Rsa2048);
    let plain = image::build(house.dir.path(), 3);
    let encrypted = house.dir.path().join("encrypted");
    let foreign = house.dir.path().join("foreign.pem");
    let foreign_public = house.dir.path().join("foreign.pub.pem");
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    must(openssl.args(["genrsa", "-out"]).arg(&foreign).arg("2048"));
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    must(openssl.args(["rsa", "-pubout", "-in"]).arg(&foreign).arg("-out").arg(&foreign_public));
    let keys = [
        format!("jwe:{}", foreign_public.display()),
        format!("jwe:{}", house.public_key_file("images").display()),
    ];
    image::skopeo_encrypt(&plain, &encrypted, &[&keys[0], &keys[1]]);
    let _daemon = house.start();
    for packet in image::packets(&encrypted, "jwe") {
        rpc::open(&house.socket(), &packet).await.unwrap();
    }
    assert!(house.audit().iter().all(|record| record["token_calls"] == 2), "{:?}", house.audit());
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_packets_as_a_layer_may_have_are_looked_at() {
    let house = House::new().key("images", KeyKind::EcP256);
    let (_, encrypted) = image::plain_and_encrypted(&house, "images");
    let _daemon = house.start();
    let of_scheme = |data: &[u8]| v1::Packet { scheme: "jwe".into(), data: data.to_vec() };
    let good = of_scheme(&image::packets(&encrypted, "jwe")[0]);
    let ask = async |others: usize| {
        let packets = [vec![of_scheme(b"{}"); others], vec![good.clone()]].concat();
        let request = v1::OpenPacketRequest { packets, ..v1::OpenPacketRequest::default() };
        rpc::native(&house.socket()).await.open_packet(request).await
    };
    assert_eq!(ask(MAX_PACKETS - 1).await.unwrap().into_inner().packet, 63);
    let refused = ask(MAX_PACKETS).await.unwrap_err();
    assert!(refused.message().contains("65 packets; 1 to 64 are taken"), "{refused}");
}
