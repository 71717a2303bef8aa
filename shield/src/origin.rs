//! What a shield asks of the place objects come from.
//!
//! [`Origin`] is one bucket read with one credential: [`head`](Origin::head) describes an object, [`get`](Origin::get) opens
//! a stream of one range of one version. Three implementations: [`s3`] is the real one, [`memory`] holds objects for tests,
//! [`fault`] wraps another and makes it slow, broken or counted. [`endpoint`] knows which bucket a host name means,
//! [`freshness`] how long an answer may be believed, [`keys`] by which keys it is asked for, [`table`] keeps the origins by id.
//!
//! An origin retries until response headers have arrived and no further: whoever reads the body knows how much has arrived,
//! so resuming it is the `fill`'s work. An error says what kind it is, because a 404, a 412 and a broken
//! connection lead to different answers.
//!
//! What is known of the bytes themselves: their number, and the ETag of the version they belong to. A range has no checksum, so
//! flipped bits are seen by TLS on the way, and in small objects, which are fetched whole, by the MD5 that an ETag usually is
//! (`fill::verify`). In a large object behind a plain `http://` endpoint only TCP's own sum stands against them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use proto::range::ByteRange;
use proto::status::{Reason, RemoteError};
use proto::v1::Priority;

pub mod endpoint;
pub mod fault;
pub mod freshness;
pub mod keys;
pub mod memory;
pub mod s3;
pub(crate) mod table;

/// One bucket, read with one credential.
#[async_trait]
pub trait Origin: Send + Sync + 'static {
    /// Names the endpoint behind it. Origins with equal names share their bounds on connections.
    fn endpoint(&self) -> &str;

    /// Describes the current version of `key`; [`Head::Unchanged`] only if `if_none_match` is its ETag.
    async fn head(&self, key: &str, if_none_match: Option<&str>) -> Result<Head, OriginError>;

    /// Opens `range` of `key`, provided its ETag is `if_match`. The origin clips the range to the object's size and says so
    /// in [`Body::range`]; a range that starts past the end is [`OriginError::PastEnd`].
    async fn get(
        &self,
        key: &str,
        range: ByteRange,
        if_match: &str,
        priority: Priority,
    ) -> Result<Body, OriginError>;
}

/// The answer to [`Origin::head`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// The ETag is the one given.
    Unchanged {
        /// The lifetime the origin names.
        max_age: Option<Duration>,
    },
    /// The object as it is now.
    Object {
        /// The ETag, quotes included.
        version: Arc<str>,
        /// Its length in bytes.
        size_bytes: u64,
        /// `Content-Type`, empty for none.
        content_type: Arc<str>,
        /// The lifetime the origin names.
        max_age: Option<Duration>,
    },
}

/// The answer to [`Origin::get`]: headers already checked, bytes to come.
pub struct Body {
    /// What the stream will carry if it ends well.
    pub range: ByteRange,
    /// The whole object's length in bytes.
    pub size_bytes: u64,
    /// `Content-Type`, empty for none.
    pub content_type: Arc<str>,
    /// What may be the whole object's MD5. An ETag of that form is one on most endpoints, not on all.
    pub md5: Option<[u8; 16]>,
    /// The bytes, in pieces of the network's size. It may end early without an error: count them.
    pub stream: BoxStream<'static, Result<Bytes, OriginError>>,
}

/// Why an origin did not answer as asked. The text carries what a person needs to find the cause.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OriginError {
    /// 404: no such key, or no such bucket.
    #[error("not found: {0}")]
    NotFound(String),
    /// 403 or 401: the credential (or the lack of one) does not open it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The endpoint refuses the credential itself: expired, rotated, signed by a wrong clock. Says nothing about the object.
    #[error("the credential is refused: {0}")]
    Credential(String),
    /// The platform gives this node no keys to ask with, so nothing was asked.
    #[error("not asked: {0}")]
    NoKeys(String),
    /// 412, or bytes of another version than asked.
    #[error("the version is gone: {0}")]
    VersionRetired(String),
    /// 416: the range starts past the object's end.
    #[error("past the end: {0}")]
    PastEnd(String),
    /// 429, 503 or another 5xx, after retries.
    #[error("origin answered {status}: {message}")]
    Server {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// An answer that contradicts the request: 200 for a range, a wrong Content-Range, no ETag.
    #[error("origin broke protocol: {0}")]
    Protocol(String),
    /// Bytes whose MD5 is not the object's, more than once.
    #[error("origin sent corrupted bytes: {0}")]
    Corrupt(String),
    /// Nothing came for too long, or too little.
    #[error("origin timed out: {0}")]
    Timeout(String),
    /// It could not be reached, or the connection broke.
    #[error("origin connection failed: {0}")]
    Connection(String),
}

impl OriginError {
    /// Its name in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            OriginError::NotFound(_) => "not-found",
            OriginError::Forbidden(_) => "forbidden",
            OriginError::Credential(_) => "credential",
            OriginError::NoKeys(_) => "no-keys",
            OriginError::VersionRetired(_) => "version-retired",
            OriginError::PastEnd(_) => "past-end",
            OriginError::Server { .. } => "server",
            OriginError::Protocol(_) => "protocol",
            OriginError::Corrupt(_) => "corrupt",
            OriginError::Timeout(_) => "timeout",
            OriginError::Connection(_) => "connection",
        }
    }

    /// What an edge is told.
    pub(crate) fn to_remote(&self, what: &dyn std::fmt::Display) -> RemoteError {
        let reason = match self {
            OriginError::NotFound(_) => Reason::NotFound,
            OriginError::Forbidden(_) => Reason::Forbidden,
            OriginError::VersionRetired(_) => Reason::VersionRetired,
            OriginError::PastEnd(_) => Reason::Invalid,
            OriginError::Credential(_)
            | OriginError::NoKeys(_)
            | OriginError::Server { .. }
            | OriginError::Protocol(_)
            | OriginError::Corrupt(_)
            | OriginError::Timeout(_)
            | OriginError::Connection(_) => Reason::OriginFailed,
        };
        RemoteError::new(reason, format!("{what}: {self}"))
    }
}

/// The MD5 that the ETag of a single upload is. That of an upload in parts has a dash.
pub(crate) fn md5_of(etag: &str) -> Option<[u8; 16]> {
    let digits = etag.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut md5 = [0; 16];
    if digits.len() != 2 * md5.len() {
        return None;
    }
    for (byte, pair) in md5.iter_mut().zip(digits.chunks(2)) {
        let digit = |n: usize| char::from(pair[n]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(md5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_an_md5_only_if_it_looks_like_one() {
        let md5 = md5_of("\"d41d8cd98f00b204e9800998ecf8427E\"").unwrap();
        assert_eq!((md5[0], md5[15]), (0xd4, 0x7e));
        for other in
            ["d41d8cd98f00b204e9800998ecf8427e", "\"d41d8cd98f00b204e9800998ecf8427e-2\"", "\"d4\"", "\"\""]
        {
            assert_eq!(md5_of(other), None, "{other}");
        }
        assert_eq!(md5_of("\"d41d8cd98f00b204e9800998ecf8427g\""), None);
    }
}
