//! What a cached byte belongs to.
//!
//! A cached block belongs to an *origin*, not to a name: its key is (origin id, key, version, block index). An origin id
//! stands for endpoint, bucket and credential reference together, so that two distributions on one bucket with different
//! credentials never share a block. gRPC names origin ids only; the bucket behind one is known to shields.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;

/// Before an account in the credential of an origin that is read anonymously for it: its cache is its own, though the bucket is open to all. Control
/// gives it to what the API makes; what the operator declares may leave the credential empty.
pub const PUBLIC: &str = "public/";

/// Names one (bucket host, credential reference) pair: 32 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(Arc<str>);

impl OriginId {
    /// The id of the origin that `origin_host` names, read with `credential` (empty: anonymous).
    ///
    /// The host is compared without regard to case or a trailing dot. The bytes hashed are
    /// `host 0x00 credential`; they are a wire contract between control, shields and edges.
    pub fn of(origin_host: &str, credential: &str) -> Self {
        let host = origin_host.trim_end_matches('.').to_ascii_lowercase();
        let mut hash = Sha256::new();
        hash.update(host.as_bytes());
        hash.update([0]);
        hash.update(credential.as_bytes());
        Self(hex::encode(&hash.finalize()[..16]).into())
    }

    /// An id that arrived over the wire.
    pub fn from_wire(id: &str) -> Self {
        Self(id.into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OriginId({})", self.0)
    }
}

/// An object without a version: what a viewer's name resolves to. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// Where it lives.
    pub origin: OriginId,
    /// Its S3 key: decoded, no leading slash.
    pub key: Arc<str>,
}

impl ObjectKey {
    /// `key` in `origin`.
    pub fn new(origin: OriginId, key: &str) -> Self {
        Self { origin, key: key.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.key)
    }
}

/// One version of an object: its key and the ETag S3 gave it (quotes included). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectVersion {
    /// The object.
    pub object: ObjectKey,
    /// The ETag.
    pub version: Arc<str>,
}

/// What a Stat says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The object and its current version.
    pub id: ObjectVersion,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its `Content-Type`, empty when S3 named none.
    pub content_type: Arc<str>,
}

/// Why an S3 key can't be asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The key is empty.
    #[error("the key is empty")]
    Empty,
    /// S3 allows 1,024 bytes.
    #[error("the key is {0} bytes long, over 1024")]
    TooLong(usize),
    /// NUL or another control character.
    #[error("the key has a control character")]
    Control,
    /// A `.` or `..` segment, a leading slash or an empty segment: refused, so that no backend that maps keys to paths can be led out
    /// of its folder.
    #[error("the key has a '.', '..' or empty segment")]
    DotSegment,
}

/// Checks a key that came from a viewer's stream name.
pub fn check_key(key: &str) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > 1024 {
        return Err(KeyError::TooLong(key.len()));
    }
    if key.chars().any(|c| c.is_control()) {
        return Err(KeyError::Control);
    }
    if key.contains('\\') || key.split('/').any(|s| s.is_empty() || s == "." || s == "..") {
        return Err(KeyError::DotSegment);
    }
    Ok(())
}

/// Splits `BUCKET.s3.amazonaws.com` or `BUCKET.s3.REGION.amazonaws.com` into bucket and region; `None` for another host.
///
/// The bucket may itself contain dots. Path style, `s3-accelerate` and bare CNAMEs are not bucket hosts.
pub fn split_s3_host(host: &str) -> Option<(&str, Option<&str>)> {
    let rest = host.strip_suffix(".amazonaws.com")?;
    if let Some(bucket) = rest.strip_suffix(".s3") {
        return check_bucket(bucket).then_some((bucket, None));
    }
    let (head, region) = rest.rsplit_once('.')?;
    let bucket = head.strip_suffix(".s3")?;
    let region_ok = !region.is_empty()
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (check_bucket(bucket) && region_ok).then_some((bucket, Some(region)))
}

/// Whether `bucket` is of the form S3 allows: up to 63 of `[a-z0-9.-]`, starting and ending with a letter or digit.
///
/// S3 itself wants three. Other stores are less strict, and so are configs that clients were recorded with; a bucket that isn't there is found out
/// where it is read.
pub fn check_bucket(bucket: &str) -> bool {
    let bytes = bucket.as_bytes();
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&bytes.len())
        && edge(bytes[0])
        && edge(bytes[bytes.len() - 1])
        && bytes.iter().all(|&b| edge(b) || b == b'.' || b == b'-')
        && !bucket.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_id_is_fixed_by_its_bytes() {
        // Golden: a change here splits every cache and every ring of a running cluster.
        assert_eq!(
            OriginId::of("media.s3.amazonaws.com", "").as_str(),
            OriginId::of("MEDIA.s3.amazonaws.com.", "").as_str()
        );
        assert_eq!(OriginId::of("media.s3.amazonaws.com", "").as_str().len(), 32);
    }

    #[test]
    fn credentials_separate_origins() {
        assert_ne!(OriginId::of("media.s3.amazonaws.com", ""), OriginId::of("media.s3.amazonaws.com", "a"));
        assert_ne!(OriginId::of("a", "b"), OriginId::of("a\0b", ""));
    }

    #[test]
    fn s3_hosts_split_into_bucket_and_region() {
        assert_eq!(split_s3_host("media.s3.amazonaws.com"), Some(("media", None)));
        assert_eq!(
            split_s3_host("my.media.s3.eu-west-1.amazonaws.com"),
            Some(("my.media", Some("eu-west-1")))
        );
        assert_eq!(split_s3_host("s3.amazonaws.com"), None);
        assert_eq!(split_s3_host("media.s3-accelerate.amazonaws.com"), None);
        assert_eq!(split_s3_host("media.example.com"), None);
        assert_eq!(split_s3_host("M.s3.amazonaws.com"), None);
    }

    #[test]
    fn keys_that_could_leave_a_folder_are_refused() {
        for bad in ["", "/a", "a/../b", "..", "a//b", "a/./b", "a\\..\\b", "a\0b", "a/"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b.mp4", "...", "a..b/c", "ä ö/ü.flv"] {
            assert!(check_key(good).is_ok(), "{good:?}");
        }
    }
}
