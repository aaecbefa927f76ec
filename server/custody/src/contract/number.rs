//! The RSA function itself (RFC 8017 section 5.1.1), for the suite alone: on public numbers, to write paddings that no
//! library writes.

use std::cmp::Ordering;

use holdfast_wire::RsaPublicKey;

/// `block` to the power of the public exponent. As long as the modulus, and below it.
pub(super) fn power(key: &RsaPublicKey, block: &[u8]) -> Vec<u8> {
    let (modulus, base) = (words(&key.modulus), words(block));
    let mut power = words(&[0]);
    power.resize(modulus.len(), 0);
    power[0] = 1;
    for bit in bits(&key.exponent) {
        power = product(&power.clone(), &power, &modulus);
        if bit {
            power = product(&power, &base, &modulus);
        }
    }
    let bytes: Vec<u8> = power.iter().rev().flat_map(|word| word.to_be_bytes()).collect();
    bytes[bytes.len() - key.modulus.len()..].to_vec()
}

/// Least first.
fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.rchunks(8).map(|part| part.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))).collect()
}

/// Greatest first.
fn bits(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}

fn product(a: &[u64], b: &[u64], modulus: &[u64]) -> Vec<u64> {
    let mut product = vec![0; modulus.len()];
    for word in a.iter().rev() {
        for bit in (0..64).rev() {
            add(&product.clone(), &mut product, modulus);
            if word >> bit & 1 == 1 {
                add(b, &mut product, modulus);
            }
        }
    }
    product
}

/// Both below the modulus, and so is the sum.
fn add(a: &[u64], sum: &mut [u64], modulus: &[u64]) {
    let mut carry = false;
    for (sum, a) in sum.iter_mut().zip(a) {
        let (partial, one) = sum.overflowing_add(*a);
        let (whole, two) = partial.overflowing_add(u64::from(carry));
        (*sum, carry) = (whole, one | two);
    }
    if carry || sum.iter().rev().cmp(modulus.iter().rev()) != Ordering::Less {
        let mut borrow = false;
        for (sum, modulus) in sum.iter_mut().zip(modulus) {
            let (partial, one) = sum.overflowing_sub(*modulus);
            let (whole, two) = partial.overflowing_sub(u64::from(borrow));
            (*sum, borrow) = (whole, one | two);
        }
    }
}
