//! A certificate that nobody vouches for: what standalone begins with, so that RTMPS works before one was bought.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

/// A certificate and its key, in PEM.
pub struct SelfSigned {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key: ECDSA over P-256.
    pub key_pem: String,
}

/// Makes one for these host names and addresses. It is valid until 2049: the last year that all clients can read.
///
/// # Errors
/// When a name can't stand in a certificate.
pub fn make(names: Vec<String>) -> Result<SelfSigned, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Penstock, self-signed");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(SelfSigned { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}
