//! A certificate with its key, from PEM, and the choice among several by the name a client asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Most certificates of a chain.
const CHAIN: usize = 10;
/// Most bytes of a chain.
const CHAIN_BYTES: usize = 32 << 10;

/// Why a certificate can't be served.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The text is no PEM, or cut short.
    #[error("{0} is not PEM: {1}")]
    Pem(&'static str, rustls::pki_types::pem::Error),
    /// It has no certificate in it.
    #[error("the certificate file holds no certificate")]
    NoCertificate,
    /// Clients take no such chain: some refuse handshakes of 64 KiB, all that are longer.
    #[error(
        "the certificate file holds {0} certificates of {1} bytes together; more than {CHAIN} or {CHAIN_BYTES} bytes are no chain"
    )]
    Chain(usize, usize),
    /// The key is not the certificate's, is of a kind that is not spoken, or the certificate makes no sense.
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
}

/// The certificate and key in these texts, which must belong together.
pub fn parse(
    certificate_pem: &[u8],
    key_pem: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, PairError> {
    let chain = CertificateDer::pem_slice_iter(certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PairError::Pem("the certificate file", error))?;
    if chain.is_empty() {
        return Err(PairError::NoCertificate);
    }
    let bytes = chain.iter().map(|certificate| certificate.len()).sum();
    if chain.len() > CHAIN || bytes > CHAIN_BYTES {
        return Err(PairError::Chain(chain.len(), bytes));
    }
    let key =
        PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| PairError::Pem("the key file", error))?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}

/// Certificates by name.
#[derive(Debug)]
pub struct ByName {
    first: Arc<CertifiedKey>,
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// `first` for all clients but those that ask for a name in `named` (lower case, `*.` for one label).
    pub fn new(first: Arc<CertifiedKey>, named: HashMap<String, Arc<CertifiedKey>>) -> Self {
        Self { first, named }
    }

    /// The certificate for a client that asked for `name`.
    pub fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wider = || self.named.get(&format!("*.{}", name.split_once('.')?.1));
            self.named.get(&name).or_else(wider)
        });
        named.unwrap_or(&self.first)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        std::iter::once(&self.first).chain(self.named.values())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()).clone())
    }
}
