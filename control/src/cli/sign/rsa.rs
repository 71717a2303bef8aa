//! RSA-SHA1 signatures, PKCS #1 v1.5: what signed names are made with, and nothing else should be.
//!
//! The TLS library verifies these but makes none, so the one power they are is taken here, in constant time, and each signature is verified by that
//! library before it is handed out: a damaged key file says so instead of signing what nobody takes.

use anyhow::{Context, Result, bail, ensure};
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U1024, U2048, U4096};
use ring::digest;
use ring::signature::{RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RsaPublicKeyComponents};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// DigestInfo of SHA-1 up to the digest (RFC 8017, section 9.2).
const SHA1_DIGEST_INFO: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// A private RSA key of 1024 to 4096 bits: numbers, most significant byte first, without leading zeros.
pub(super) struct PrivateKey {
    modulus: Vec<u8>,
    public_exponent: Vec<u8>,
    private_exponent: Vec<u8>,
}

impl PrivateKey {
    /// The first private key of a PEM file.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self> {
        match PrivateKeyDer::from_pem_slice(pem)
            .context("holds no private key that can be read (an encrypted one can't)")?
        {
            PrivateKeyDer::Pkcs1(key) => Self::from_pkcs1(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => Self::from_pkcs8(key.secret_pkcs8_der()),
            _ => bail!("holds a key that is not RSA"),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self> {
        /// The algorithm's id: rsaEncryption.
        const RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        let mut outer = der;
        let inner = (|| {
            let mut fields = element(SEQUENCE, &mut outer)?;
            element(INTEGER, &mut fields)?;
            let algorithm = element(SEQUENCE, &mut fields)?;
            Some((algorithm, element(OCTET_STRING, &mut fields)?))
        })();
        let (algorithm, key) = inner.context("is not of PKCS #8")?;
        ensure!(algorithm.starts_with(&RSA), "holds a key that is not RSA");
        Self::from_pkcs1(key)
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self> {
        let mut outer = der;
        let read = (|| {
            let mut fields = element(SEQUENCE, &mut outer)?;
            let mut number = || {
                let bytes = element(INTEGER, &mut fields)?;
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                Some(bytes[zeros..].to_vec())
            };
            number()?;
            Some(Self { modulus: number()?, public_exponent: number()?, private_exponent: number()? })
        })();
        let key = read.context("is not of PKCS #1")?;
        let bytes = key.modulus.len();
        ensure!((128..=512).contains(&bytes), "a key of {} bits is not within 1024 and 4096", 8 * bytes);
        ensure!(key.private_exponent.len() <= bytes, "is no RSA key");
        Ok(key)
    }

    /// The signature of `message`.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, message);
        let tail = [&[0][..], &SHA1_DIGEST_INFO, digest.as_ref()].concat();
        let mut block = vec![0xff; self.modulus.len()];
        (block[0], block[1]) = (0, 1);
        let at = block.len() - tail.len();
        block[at..].copy_from_slice(&tail);
        let signature = self.power(&block).context("is no RSA key")?;
        let public = RsaPublicKeyComponents { n: &self.modulus, e: &self.public_exponent };
        let verified = public.verify(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, message, &signature);
        verified.ok().context("the parts of the private key don't belong together")?;
        Ok(signature)
    }

    /// `base` to the power of the private exponent, as long as the modulus; `None` if that is even, which no RSA key's is.
    fn power(&self, base: &[u8]) -> Option<Vec<u8>> {
        macro_rules! power {
            ($number:ty) => {{
                let number = |bytes: &[u8]| {
                    let mut padded = vec![0; <$number>::BYTES];
                    let at = padded.len() - bytes.len();
                    padded[at..].copy_from_slice(bytes);
                    <$number>::from_be_slice(&padded)
                };
                let modulus = Odd::new(number(&self.modulus)).into_option()?;
                let params = FixedMontyParams::new_vartime(modulus);
                let power = FixedMontyForm::new(&number(base), &params).pow(&number(&self.private_exponent));
                let bytes = power.retrieve().to_be_bytes();
                let bytes: &[u8] = bytes.as_ref();
                Some(bytes[bytes.len() - base.len()..].to_vec())
            }};
        }
        match self.modulus.len() {
            ..=128 => power!(U1024),
            129..=256 => power!(U2048),
            _ => power!(U4096),
        }
    }
}

/// The contents of the DER element of type `tag` at the front of `bytes`, which it is taken from.
fn element<'a>(tag: u8, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&[found, length], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(contents)
}
