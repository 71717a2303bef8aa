//! Reads a public key as operators have it: PEM around a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) around the RSAPublicKey
//! of PKCS #1, which is what nodes verify with.
//!
//! The DER is read by its own lengths, at every size of modulus. Refused are: other algorithms, a private key (a slip that
//! is told by its name), a modulus or exponent that a verifier would refuse later, when a viewer waits.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a PEM that are read; the largest allowed key has about 1600.
pub const PEM_BYTES_MAX: usize = 16 << 10;
/// Bits of the smallest modulus allowed.
pub const MODULUS_BITS_MIN: usize = 1024;
/// Bits of the largest modulus allowed.
pub const MODULUS_BITS_MAX: usize = 8192;
/// Bits of the largest exponent that verifiers take.
const EXPONENT_BITS_MAX: usize = 33;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// 1.2.840.113549.1.1.1, rsaEncryption.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Why a text is no usable public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Too long, or no PEM of a public key.
    #[error("is not a PEM of one PUBLIC KEY")]
    Pem,
    /// A private key.
    #[error("is a private key; give its public half (openssl rsa -pubout) and keep this one to yourself")]
    Private,
    /// The DER inside does not hold together.
    #[error("holds what is no SubjectPublicKeyInfo")]
    Der,
    /// Not RSA.
    #[error("is not an RSA key")]
    Algorithm,
    /// The modulus has this many bits.
    #[error("has a modulus of {0} bits, not of {MODULUS_BITS_MIN} to {MODULUS_BITS_MAX}")]
    Modulus(usize),
    /// Even, 1, or too large.
    #[error("has a modulus or exponent that no RSA key has")]
    Numbers,
}

/// The RSAPublicKey (DER) inside `pem`.
pub fn rsa_public_key(pem: &str) -> Result<Vec<u8>, BadKey> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(BadKey::Pem);
    }
    if pem.contains("PRIVATE KEY-----") {
        return Err(BadKey::Private);
    }
    let (before, rest) = pem.split_once(BEGIN).ok_or(BadKey::Pem)?;
    let (body, after) = rest.split_once(END).ok_or(BadKey::Pem)?;
    if !before.trim().is_empty() || !after.trim().is_empty() {
        return Err(BadKey::Pem);
    }
    let digits: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(digits).map_err(|_| BadKey::Pem)?;
    of_info(&der)
}

/// The RSAPublicKey inside a SubjectPublicKeyInfo.
fn of_info(der: &[u8]) -> Result<Vec<u8>, BadKey> {
    let (info, rest) = element(der, SEQUENCE)?;
    let (algorithm, info) = element(info, SEQUENCE)?;
    let (bits, after) = element(info, BIT_STRING)?;
    if !rest.is_empty() || !after.is_empty() {
        return Err(BadKey::Der);
    }
    let (oid, parameters) = element(algorithm, OID)?;
    if oid != RSA {
        return Err(BadKey::Algorithm);
    }
    // RFC 3279 wants a NULL here; some writers leave it out.
    if !parameters.is_empty() && element(parameters, NULL)? != (&[][..], &[][..]) {
        return Err(BadKey::Der);
    }
    let (&unused_bits, key) = bits.split_first().ok_or(BadKey::Der)?;
    if unused_bits != 0 {
        return Err(BadKey::Der);
    }
    check(key)?;
    Ok(key.to_vec())
}

/// Checks an RSAPublicKey: two positive INTEGERs and nothing else.
fn check(key: &[u8]) -> Result<(), BadKey> {
    let (numbers, rest) = element(key, SEQUENCE)?;
    let (modulus, numbers) = element(numbers, INTEGER)?;
    let (exponent, after) = element(numbers, INTEGER)?;
    if !rest.is_empty() || !after.is_empty() {
        return Err(BadKey::Der);
    }
    let (modulus, exponent) = (positive(modulus)?, positive(exponent)?);
    let modulus_bits = bits(modulus);
    if !(MODULUS_BITS_MIN..=MODULUS_BITS_MAX).contains(&modulus_bits) {
        return Err(BadKey::Modulus(modulus_bits));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    if !odd(modulus) || !odd(exponent) || !(2..=EXPONENT_BITS_MAX).contains(&bits(exponent)) {
        return Err(BadKey::Numbers);
    }
    Ok(())
}

/// The bytes of an INTEGER without the zero that keeps it positive.
fn positive(integer: &[u8]) -> Result<&[u8], BadKey> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Ok(rest),
        [first, ..] if *first != 0 && first & 0x80 == 0 => Ok(integer),
        _ => Err(BadKey::Der),
    }
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// Splits `der` after its first element, which must have this tag; returns its content and what follows.
fn element(der: &[u8], tag: u8) -> Result<(&[u8], &[u8]), BadKey> {
    let [found, length, rest @ ..] = der else { return Err(BadKey::Der) };
    if *found != tag {
        return Err(BadKey::Der);
    }
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        // PEM_BYTES_MAX needs no more than two bytes of length.
        long @ 0x81..=0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long - 0x80)).ok_or(BadKey::Der)?;
            let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            // DER has one way to write a length.
            if length < 0x80 || bytes[0] == 0 {
                return Err(BadKey::Der);
            }
            (length, rest)
        }
        _ => return Err(BadKey::Der),
    };
    rest.split_at_checked(length).ok_or(BadKey::Der)
}

#[cfg(test)]
pub(crate) mod tests;
