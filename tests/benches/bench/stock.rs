//! Packets to open, made before any clock runs: sealed offline to the token's key, no two alike.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::{BufMut as _, Bytes, BytesMut};
use holdfast_e2e::rpc;
use holdfast_envelope::jwe::{self, Jwe, Sealing, To};
use holdfast_wire::grpc::keyprovider::KeyProviderKeyWrapProtocolInput as Input;
use holdfast_wire::{Algorithm, Labels, NONCE_LEN, OptsData, PublicKey, SYMKEY_LEN, Sealed, Secret};
use prost::Message as _;

/// More than any round of a few seconds uses up, so that a round meets each packet once.
const PACKETS: usize = 16_384;

/// Calls to make, handed out in turn.
pub(crate) struct Stock {
    calls: Vec<Call>,
    next: AtomicUsize,
    /// What the token opens of each packet, one after the other: the bare loop's input.
    pub(crate) sealed: Vec<u8>,
    /// Bytes of each.
    pub(crate) record: usize,
}

/// One UnWrapKey call, and what must come back.
pub(crate) struct Call {
    /// A gRPC message: one byte of flags, four of length, the protobuf.
    pub(crate) message: Bytes,
    /// What the answer's JSON must hold, as ocicrypt's peers read it.
    pub(crate) expected: String,
}

impl Stock {
    /// Seals to a public key, with SHA-1 for RSA: the one OAEP that SoftHSM has.
    pub(crate) fn new(key: &PublicKey) -> Stock {
        let algorithm = match key {
            PublicKey::Rsa(_) => Algorithm::RsaOaep,
            PublicKey::Ec(_) => Algorithm::EcdhEsA256Kw,
            _ => panic!("no packets are made for this type of key"),
        };
        let to = [To { key, algorithm }];
        Stock::sealed_by(|optsdata| jwe::seal(optsdata, &to, &Labels::default()).expect("a packet"))
    }

    /// Seals with an AES-256 key that a token has as well.
    pub(crate) fn of_aes(key: &[u8], kid: &str) -> Stock {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"));
        Stock::sealed_by(|optsdata| {
            let labels = Labels::default();
            let mut sealing = Sealing::begin(optsdata, &labels).expect("a packet");
            let mut iv = [0; 12];
            aws_lc_rs::rand::fill(&mut iv).expect("random");
            let mut ciphertext = sealing.cek().expose().to_vec();
            let nonce = Nonce::assume_unique_for_key(iv);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut ciphertext).expect("sealed");
            let tag = tag.as_ref().try_into().expect("16 bytes");
            sealing.add_sealed(kid, Sealed::AesGcm { iv, ciphertext, tag }).expect("a recipient");
            sealing.finish().expect("a packet")
        })
    }

    fn sealed_by(seal: impl Fn(&OptsData) -> Vec<u8>) -> Stock {
        let mut stock = Stock {
            calls: Vec::with_capacity(PACKETS),
            next: AtomicUsize::new(0),
            sealed: Vec::new(),
            record: 0,
        };
        for _ in 0..PACKETS {
            let optsdata = optsdata();
            let packet = seal(&optsdata);
            let body = rpc::unwrap_body(&packet, r#"{"Parameters":{}}"#);
            let bytes: Vec<String> = optsdata.raw().expose().iter().map(u8::to_string).collect();
            let expected = format!(r#""optsdata":[{}]"#, bytes.join(","));
            stock.calls.push(Call { message: message(body), expected });
            let jwe = Jwe::parse(&packet).expect("the packet just made");
            let before = stock.sealed.len();
            match jwe.recipients()[0].sealed() {
                Some(Sealed::RsaOaep { ciphertext, .. }) => stock.sealed.extend_from_slice(ciphertext),
                Some(Sealed::Ecdh { ephemeral, .. }) => stock.sealed.extend_from_slice(ephemeral),
                Some(Sealed::AesGcm { iv, ciphertext, tag }) => {
                    for part in [&iv[..], ciphertext, tag] {
                        stock.sealed.extend_from_slice(part);
                    }
                }
                _ => panic!("the packet just made has no recipient that a token can open"),
            }
            stock.record = stock.sealed.len() - before;
        }
        stock
    }

    /// The next call.
    pub(crate) fn next(&self) -> &Call {
        &self.calls[self.next.fetch_add(1, Ordering::Relaxed) % self.calls.len()]
    }
}

fn optsdata() -> OptsData {
    let mut random = [0; SYMKEY_LEN + NONCE_LEN + 32];
    aws_lc_rs::rand::fill(&mut random).expect("random");
    let (symkey, rest) = random.split_at(SYMKEY_LEN);
    let (nonce, digest) = rest.split_at(NONCE_LEN);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let nonce = nonce.try_into().expect("its length");
    OptsData::new(Secret::copy_of(symkey), nonce, &format!("sha256:{digest}")).expect("optsdata")
}

fn message(body: Vec<u8>) -> Bytes {
    let input = Input { key_provider_key_wrap_protocol_input: body };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(input.encoded_len().try_into().expect("a short message"));
    input.encode(&mut framed).expect("room");
    framed.freeze()
}
