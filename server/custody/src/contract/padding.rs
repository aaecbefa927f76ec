//! The padding of PKCS#1 v1.5 (RFC 8017 section 7.2.2 step 3), whose every defect must look the same: which of them it
//! was is what Bleichenbacher's attack (CRYPTO 1998) asks.

use holdfast_wire::{Operation, PublicKey, Sealed};

use super::material::random;
use super::number::power;
use super::{Subject, rejects_or_replaces, still_opens};

pub(super) fn defects(subject: &Subject) {
    let mut token = subject.connect();
    for key in subject.keys.iter().filter(|key| key.operations.contains(&Operation::RsaPkcs1v15)) {
        let Some(PublicKey::Rsa(public)) = &key.public else {
            panic!("{}: not an RSA key", key.uri);
        };
        let message = random(32);
        let begins = public.modulus.len() - message.len();
        let sealed = |change: &dyn Fn(&mut [u8])| {
            let mut block = [vec![0x5a; begins], message.expose().to_vec()].concat();
            (block[0], block[1], block[begins - 1]) = (0, 2, 0);
            change(&mut block);
            Sealed::RsaPkcs1v15 { ciphertext: power(public, &block) }
        };
        let opened = token.open(&key.uri, &sealed(&|_| ())).expect("a padding without defect");
        assert!(opened.expose() == message.expose(), "{}: not what was padded", key.uri);
        type Change = fn(&mut [u8], usize);
        let defects: [(&str, Change); 6] = [
            ("first_byte_one", |block, _| block[0] = 1),
            ("block_type_of_signatures", |block, _| block[1] = 1),
            ("block_type_0", |block, _| block[1] = 0),
            ("seven_bytes_of_padding", |block, _| block[9] = 0),
            ("no_byte_of_padding", |block, _| block[2] = 0),
            ("no_end_of_padding", |block, begins| {
                block[begins - 1] = 1;
                block.iter_mut().skip(2).filter(|byte| **byte == 0).for_each(|byte| *byte = 1);
            }),
        ];
        for (_name, defect) in defects {
            rejects_or_replaces(&mut *token, key, &sealed(&|block| defect(block, begins)), &message);
        }
        still_opens(&mut *token, key);
    }
}
