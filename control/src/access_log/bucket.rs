//! What control needs of a bucket: to put, get, delete and list whole objects.
//!
//! Two kinds of buckets are behind it: the operator's staging bucket, where segments wait, and the buckets of those who want their logs. Each is
//! a [`Bucket`]; [`Buckets`] opens the second kind by the [`LogTarget`] that an event carries. [`s3`] is the real one, [`memory`] that of tests, and
//! [`faulty`] stands before either to fail as told.
//!
//! Every call can be made again: a key is always written with the same bytes, and deleting what isn't there is no error. So nothing here
//! retries for long. An error says what the caller can make of it ([`BucketError`]): a bucket that says no is somebody's to mend, one that is
//! away will be back. After [`BucketError::Away`] a put or delete may have happened.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use proto::v1::LogTarget;

pub mod faulty;
pub mod memory;
pub mod place;
pub mod s3;

/// Why a bucket did not do as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// The bucket, or whoever answers for it, said no: access denied, keys it doesn't take, requests that come too fast.
    #[error("{what}: refused ({code})")]
    Refused {
        /// What it called that: S3's code, such as `AccessDenied` or `SlowDown`; at most 64 of `[A-Za-z0-9._-]`.
        code: String,
        /// Operation, bucket and key, with what else was said.
        what: String,
    },
    /// There is no such bucket.
    #[error("there is no bucket '{0}'")]
    Missing(String),
    /// It can't be reached, did not answer in time, or failed.
    #[error("{0}")]
    Away(String),
}

impl BucketError {
    /// S3's code, or what stands for one: `NoSuchBucket`, `Away`. What a person is shown.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Missing(_) => "NoSuchBucket",
            Self::Away(_) => "Away",
        }
    }

    /// One of a few words, for metrics' labels.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } if is_throttling(code) => "throttled",
            Self::Refused { .. } => "refused",
            Self::Missing(_) => "missing",
            Self::Away(_) => "away",
        }
    }
}

/// Whether `code` is one of those by which S3 asks for fewer requests.
fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequests"
    )
}

/// A bucket, or the part of one below a prefix. Clones of the `Arc` are the same bucket.
#[async_trait]
pub trait Bucket: Send + Sync + 'static {
    /// Where it is, endpoint and name, as it is configured: what was put into a bucket of one place is not looked for in another's.
    fn place(&self) -> String;

    /// Stores `body` at `key`, over what may be there.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), BucketError>;

    /// The object at `key`; `None` only if the bucket says that there is no such key.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError>;

    /// Deletes `key`; an absent one is no error.
    async fn delete(&self, key: &str) -> Result<(), BucketError>;

    /// At most `limit` keys that start with `prefix` and are greater than `after` (empty: all are), by key, with their sizes in bytes.
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, u64)>, BucketError>;
}

/// Opens the buckets that events name.
pub trait Buckets: Send + Sync + 'static {
    /// The bucket of `target`. Asks nobody: one that can't be opened refuses each call and says why.
    fn open(&self, target: &LogTarget) -> Arc<dyn Bucket>;

    /// What the bucket of `target` is called where it is, as grants name it; `None` if it names none.
    fn bucket_name(&self, target: &LogTarget) -> Option<String>;
}

/// A bucket that refuses everything: what stands for a target that names no bucket.
pub struct Refusing {
    code: String,
    what: String,
}

impl Refusing {
    /// Refuses with `code`, because of `what`.
    pub fn new(code: &str, what: impl Into<String>) -> Self {
        Self { code: code.into(), what: what.into() }
    }

    fn refuse<T>(&self) -> Result<T, BucketError> {
        Err(BucketError::Refused { code: self.code.clone(), what: self.what.clone() })
    }
}

#[async_trait]
impl Bucket for Refusing {
    fn place(&self) -> String {
        String::new()
    }

    async fn put(&self, _: &str, _: Bytes) -> Result<(), BucketError> {
        self.refuse()
    }

    async fn get(&self, _: &str) -> Result<Option<Bytes>, BucketError> {
        self.refuse()
    }

    async fn delete(&self, _: &str) -> Result<(), BucketError> {
        self.refuse()
    }

    async fn list(&self, _: &str, _: &str, _: usize) -> Result<Vec<(String, u64)>, BucketError> {
        self.refuse()
    }
}

/// One suite for every bucket: `empty` must hold nothing, `missing` must not exist.
#[cfg(test)]
pub(crate) async fn conforms(empty: &dyn Bucket, missing: &dyn Bucket) {
    let put = async |key: &str, body: &'static str| empty.put(key, body.into()).await.unwrap();
    assert_eq!(empty.get("a/1").await.unwrap(), None);
    assert_eq!(empty.list("", "", 10).await.unwrap(), []);
    empty.delete("a/1").await.unwrap();
    put("a/1", "one").await;
    put("a/1", "uno").await;
    put("a/2", "").await;
    put("a/10", "ten").await;
    put("b ~ü+&%/1", "odd").await;
    assert_eq!(empty.get("a/1").await.unwrap().as_deref(), Some(&b"uno"[..]));
    assert_eq!(empty.get("a/2").await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(empty.get("b ~ü+&%/1").await.unwrap().as_deref(), Some(&b"odd"[..]));
    let all = [("a/1", 3), ("a/10", 3), ("a/2", 0)].map(|(key, size)| (key.to_owned(), size));
    assert_eq!(empty.list("a/", "", 10).await.unwrap(), all);
    assert_eq!(empty.list("a/", "", 2).await.unwrap(), all[..2]);
    assert_eq!(empty.list("a/", "a/10", 10).await.unwrap(), all[2..]);
    assert_eq!(empty.list("a/", "a/2", 10).await.unwrap(), []);
    assert_eq!(empty.list("a/1", "a/1", 10).await.unwrap(), all[1..2]);
    assert_eq!(empty.list("b", "", 10).await.unwrap(), [("b ~ü+&%/1".to_owned(), 3)]);
    assert_eq!(empty.list("", "", 0).await.unwrap(), []);
    for i in 0..30 {
        put(&format!("many/{i:02}"), "x").await;
    }
    let rest = empty.list("many/", "many/04", 20).await.unwrap();
    assert_eq!((rest.len(), rest[0].0.as_str(), rest[19].0.as_str()), (20, "many/05", "many/24"));
    empty.delete("a/1").await.unwrap();
    assert_eq!(empty.get("a/1").await.unwrap(), None);

    let gone = |error: BucketError| assert!(matches!(error, BucketError::Missing(_)), "{error}");
    gone(missing.put("a", "x".into()).await.unwrap_err());
    gone(missing.get("a").await.unwrap_err());
    gone(missing.list("", "", 10).await.unwrap_err());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bucket_that_can_not_be_opened_says_why_to_every_call() {
        let bucket = Refusing::new("InvalidBucketName", "'x y' is not a bucket's name");
        let error = bucket.put("a", Bytes::new()).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("InvalidBucketName", "refused"));
        assert!(error.to_string().contains("'x y'"), "{error}");
        assert_eq!(bucket.get("a").await.unwrap_err(), error);
        assert_eq!(bucket.delete("a").await.unwrap_err(), error);
        assert_eq!(bucket.list("", "", 1).await.unwrap_err(), error);
    }

    #[test]
    fn who_asks_for_patience_is_told_apart_from_who_refuses() {
        let kind = |code: &str| BucketError::Refused { code: code.into(), what: String::new() }.kind();
        assert_eq!((kind("SlowDown"), kind("AccessDenied")), ("throttled", "refused"));
        assert_eq!(BucketError::Missing("b".into()).kind(), "missing");
        assert_eq!(BucketError::Away("x".into()).code(), "Away");
    }
}
