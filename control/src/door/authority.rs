//! The local certificate authority: what vouches for the API's certificate where nobody bought one.
//!
//! jets3t speaks to `https://cloudfront.amazonaws.com` and nothing else, so whoever serves it needs a certificate for that name, which only an
//! authority of one's own can issue. It is made once, by whichever replica is first, and lives in the store: its key sealed, its certificate
//! plain. So all replicas have the same one, and clients trust it once (`penstock-control ca` prints it). Leaves are issued by each replica for
//! itself, live in memory only, and are renewed long before they end.
//!
//! Without a key for secrets at rest there is no authority: its key would have to lie in the store open.

use prost::Message;
use proto::v1::CertificateAuthority;
use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use crate::documents::CERTIFICATE_AUTHORITY;
use crate::seal::{SealError, Sealer};
use crate::store::{ConfigStore, StoreError, Transaction};

/// A leaf is valid for this long.
const LEAF_SECONDS: i64 = 90 * DAY;
/// It is replaced when it is valid for less than this.
pub(super) const RENEW_SECONDS: i64 = 30 * DAY;
/// Clocks of clients may be behind by this much.
const BEFORE_SECONDS: i64 = DAY;
const DAY: i64 = 86_400;

/// Why there is no certificate of the local authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The store was not read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its key can't be sealed or opened.
    #[error("the local authority's key: {0}")]
    Seal(#[from] SealError),
    /// Keys or certificates can't be made; a name is no name.
    #[error("the local authority's certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What was made can't be served.
    #[error("the local authority's certificate: {0}")]
    Serve(#[from] rustls::Error),
    /// The document in the store is none.
    #[error("the document {CERTIFICATE_AUTHORITY} can't be read: {0}")]
    Damaged(String),
}

/// The authority, able to issue.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for this replica.
pub(super) struct Leaf {
    /// With its key, ready to shake hands.
    pub(super) key: CertifiedKey,
    /// When it ends, in seconds since 1970.
    pub(super) ends: i64,
}

/// The authority's certificate, PEM; `None` if no replica has made one yet.
///
/// # Errors
/// When the store is away or the document is damaged.
pub async fn certificate(store: &dyn ConfigStore) -> Result<Option<String>, StoreError> {
    let Some(entry) = store.get(CERTIFICATE_AUTHORITY).await? else { return Ok(None) };
    let document = CertificateAuthority::decode(entry.value)
        .map_err(|e| StoreError::Damaged(format!("{CERTIFICATE_AUTHORITY} can't be read: {e}")))?;
    Ok(Some(document.certificate_pem))
}

impl Authority {
    /// The authority in `store`, made now if there is none.
    pub(super) async fn of_store(store: &dyn ConfigStore, sealer: &Sealer) -> Result<Self, AuthorityError> {
        loop {
            if let Some(entry) = store.get(CERTIFICATE_AUTHORITY).await? {
                let document = CertificateAuthority::decode(entry.value)
                    .map_err(|e| AuthorityError::Damaged(e.to_string()))?;
                return Self::open(&document, sealer);
            }
            let document = make(sealer)?;
            let transaction = Transaction::default()
                .when(CERTIFICATE_AUTHORITY, 0)
                .put(CERTIFICATE_AUTHORITY, document.encode_to_vec());
            match store.commit(transaction).await {
                Ok(_) => {
                    tracing::info!(
                        "the local certificate authority was made; `penstock-control ca` prints it"
                    );
                    return Self::open(&document, sealer);
                }
                // Another replica was faster: its authority is everybody's.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn open(document: &CertificateAuthority, sealer: &Sealer) -> Result<Self, AuthorityError> {
        let damaged = |e: &dyn std::fmt::Display| AuthorityError::Damaged(e.to_string());
        let der =
            CertificateDer::from_pem_slice(document.certificate_pem.as_bytes()).map_err(|e| damaged(&e))?;
        let key = sealer.open(CERTIFICATE_AUTHORITY, &document.sealed_key)?;
        let key = KeyPair::try_from(key)?;
        Ok(Self { issuer: Issuer::from_ca_cert_der(&der, key)? })
    }

    /// A new certificate for `names` (host names and addresses) with a new key, at `now` (seconds since 1970).
    pub(super) fn issue(
        &self,
        names: Vec<String>,
        now: i64,
        provider: &CryptoProvider,
    ) -> Result<Leaf, AuthorityError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, super::config::CLOUDFRONT);
        params.distinguished_name.push(DnType::OrganizationName, "Penstock");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let ends = now + LEAF_SECONDS;
        params.not_before = moment(now - BEFORE_SECONDS)?;
        params.not_after = moment(ends)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], der, provider)?;
        Ok(Leaf { key, ends })
    }
}

fn moment(seconds: i64) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|e| AuthorityError::Damaged(format!("the clock is out of bounds: {e}")))
}

fn make(sealer: &Sealer) -> Result<CertificateAuthority, AuthorityError> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Told apart in a client's list from those of other clusters.
    let name = format!("Penstock local CA {:08x}", rand::rng().random::<u32>());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Penstock");
    // The last year that all clients can read.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(CertificateAuthority {
        certificate_pem: certificate.pem(),
        sealed_key: sealer.seal(CERTIFICATE_AUTHORITY, &key.serialize_der())?.into(),
    })
}
