//! A signer for tests and fuzzing: a key of 1024 bits, and what tools would make of it. No part of the product, which only verifies.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U1024};
use ring::digest;

/// The key's id.
pub(crate) const KEY_PAIR_ID: &str = "APKAEXAMPLE1024";
/// The account whose key it is.
pub(crate) const ACCOUNT: &str = "123456789012";

const MODULUS: &str = "CB801785A972CDC74416992B26B6430B9C04BA004FCC06487DC6A05A5745DF75B956EB3597B8E7CFD35BB9A01ABEACF0CA6C898FCCC72D8F30D1DE4323F9853FF4E162EB8BD1EC07293260DD842F0BB4B28CCFC24A1CBD4705E8C7E7837B1C686E470EC477918F8B56CB1D2816118CD6E3B3F6FEE70C67DE59EFB10751BDB229";
const PRIVATE: &str = "5f607da5cbb15ef8d1d4b59d1fdbb4b8b03b16e226843d3da4957f7a58050ba2a567337e3eca0efbbcd7f4bc314cc4c966565072f14b38f32fb26d35929ad3f43ae53c001e1872308eb066b6be739c3fd48aff86da5efb6f53cf160f8faca11aab5af2d1a0a552043942fab1ad007a6344fed482e10216db97d573ff671f5201";
/// DigestInfo of SHA-1, up to the digest.
const DIGEST_INFO: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

/// RSAPublicKey, DER.
pub(crate) fn public_key() -> Vec<u8> {
    let modulus = hex::decode(MODULUS).unwrap_or_default();
    [&[0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00][..], &modulus, &[0x02, 0x03, 0x01, 0x00, 0x01]].concat()
}

/// RSA-SHA1 (PKCS #1 v1.5) of `message`.
pub(crate) fn sign(message: &[u8]) -> Vec<u8> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, message);
    let tail = [&[0x00][..], &DIGEST_INFO, digest.as_ref()].concat();
    let mut block = vec![0xff; 128];
    (block[0], block[1]) = (0x00, 0x01);
    block[128 - tail.len()..].copy_from_slice(&tail);
    let params = FixedMontyParams::new_vartime(Odd::<U1024>::from_be_hex(MODULUS));
    let power = FixedMontyForm::new(&U1024::from_be_slice(&block), &params).pow(&U1024::from_be_hex(PRIVATE));
    power.retrieve().to_be_bytes().as_ref().to_vec()
}

/// Base64 as it stands in URLs.
pub(crate) fn encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .encode(bytes)
        .replace('+', "-")
        .replace('=', "_")
        .replace('/', "~")
}

/// `name` with a canned policy over `resource`.
pub(crate) fn canned(name: &str, resource: &str, expires: u64) -> String {
    let policy = format!(
        r#"{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#
    );
    let join = if name.contains('?') { '&' } else { '?' };
    format!(
        "{name}{join}Expires={expires}&Signature={}&Key-Pair-Id={KEY_PAIR_ID}",
        encode(&sign(policy.as_bytes()))
    )
}

/// `name` with a custom policy.
pub(crate) fn custom(name: &str, policy: &str) -> String {
    let join = if name.contains('?') { '&' } else { '?' };
    let signature = encode(&sign(policy.as_bytes()));
    format!(
        "{name}{join}Policy={}&Signature={signature}&Key-Pair-Id={KEY_PAIR_ID}",
        encode(policy.as_bytes())
    )
}
