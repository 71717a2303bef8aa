//! Diffie-Hellman in the group of RTMPE: the 1024-bit prime of RFC 2409, section 6.2, with generator 2.
//!
//! Private keys are 256 bits long. The prime is a safe one, so an exponent need be no longer than twice the strength wanted of
//! it, and the group itself is worth some 80 bits; a short one costs a quarter of a full one. Exponents are worked through in
//! constant time. Values are 128 bytes long on the wire, with zeros in front where they are shorter: a peer that leaves the
//! zeros out derives other keys, once in some hundred handshakes.
//!
//! Nothing here fails: a public key is asked for its validity first, and any other gives a secret that is worth nothing.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U1024};

/// Bytes of a public key and of a shared secret.
pub(super) const KEY_BYTES: usize = 128;

/// A public key or shared secret, most significant byte first.
pub(super) type Key = [u8; KEY_BYTES];

/// A private key, most significant byte first.
pub(super) type PrivateKey = [u8; 32];

const PRIME: Odd<U1024> = Odd::<U1024>::from_be_hex(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
     020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
     4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
);

static GROUP: FixedMontyParams<{ U1024::LIMBS }> = FixedMontyParams::new_vartime(PRIME);

/// The public key of a private one.
pub(super) fn public_key(private: &PrivateKey) -> Key {
    power(&U1024::from_u8(2), private)
}

/// Whether a peer's public key is between 2 and p - 2: 0, 1 and p - 1 would make the secret known to all.
pub(super) fn is_valid(public: &Key) -> bool {
    let public = U1024::from_be_slice(public);
    public >= U1024::from_u8(2) && public < PRIME.as_ref().wrapping_sub(&U1024::ONE)
}

/// What both sides arrive at.
pub(super) fn shared_secret(private: &PrivateKey, peer: &Key) -> Key {
    power(&U1024::from_be_slice(peer), private)
}

fn power(base: &U1024, private: &PrivateKey) -> Key {
    let mut exponent = U256::from_be_slice(private);
    // Never zero, nor so short that it could be tried out.
    exponent |= U256::ONE.shl(255);
    let result = FixedMontyForm::new(base, &GROUP).pow(&exponent).retrieve();
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(result.to_be_bytes().as_ref());
    bytes
}
