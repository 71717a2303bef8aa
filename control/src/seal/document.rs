//! The documents of the store that hold a sealed secret.

use bytes::Bytes;
use prost::Message;
use proto::v1::{AccessKey, CertificateAuthority, OriginSecret};

use crate::documents::{CERTIFICATE_AUTHORITY, KEYS, ORIGIN_SECRETS};

/// The beginnings of their keys, in order.
pub const SEALED: [&str; 3] = [CERTIFICATE_AUTHORITY, KEYS, ORIGIN_SECRETS];

/// One of them.
#[derive(Clone, Debug)]
pub enum Document {
    /// An access key of the API.
    AccessKey(AccessKey),
    /// The local authority, with its private key.
    Authority(CertificateAuthority),
    /// S3 keys of an origin access identity.
    OriginSecret(OriginSecret),
}

impl Document {
    /// The document `value` at `key`; `None` if it holds no sealed secret, or can't be read.
    pub fn read(key: &str, value: &Bytes) -> Option<Self> {
        if key == CERTIFICATE_AUTHORITY {
            CertificateAuthority::decode(value.clone()).ok().map(Self::Authority)
        } else if key.starts_with(KEYS) {
            AccessKey::decode(value.clone()).ok().map(Self::AccessKey)
        } else if key.starts_with(ORIGIN_SECRETS) {
            OriginSecret::decode(value.clone()).ok().map(Self::OriginSecret)
        } else {
            None
        }
    }

    /// Its sealed secret.
    pub fn sealed(&self) -> &Bytes {
        match self {
            Self::AccessKey(key) => &key.sealed_secret,
            Self::Authority(authority) => &authority.sealed_key,
            Self::OriginSecret(secret) => &secret.sealed_secret,
        }
    }

    /// Its bytes with another sealed secret, all else as it was.
    pub(super) fn with(self, sealed: Vec<u8>) -> Vec<u8> {
        match self {
            Self::AccessKey(key) => AccessKey { sealed_secret: sealed.into(), ..key }.encode_to_vec(),
            Self::Authority(authority) => {
                CertificateAuthority { sealed_key: sealed.into(), ..authority }.encode_to_vec()
            }
            Self::OriginSecret(secret) => {
                OriginSecret { sealed_secret: sealed.into(), ..secret }.encode_to_vec()
            }
        }
    }

    /// Whether nodes hear of it, so that a change of it is a revision of the config.
    pub(super) fn is_published(&self) -> bool {
        matches!(self, Self::OriginSecret(_))
    }
}
