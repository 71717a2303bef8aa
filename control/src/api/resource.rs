//! What resources of every kind share: where they live in the store, how a change is guarded, who may make it.
//!
//! A resource lives below its account, so that another account's id is one that doesn't exist. Its ETag is random text, new with every update; the
//! entry's revision guards the write itself.

use prost::Message;
use proto::v1::{Resource, Tags};
use sha2::{Digest, Sha256};

use super::ApiError;
use crate::accounts::Principal;
use crate::documents::{API, API_REFS, TAGS};
use crate::store::{ConfigStore, Entry, StoreError, random_text};

/// How often an operation tries anew after another was first, before it answers 503.
pub const ATTEMPTS: usize = 8;

/// A kind of resource: a segment of store keys, of paths and of ARNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Streaming (RTMP) distributions.
    StreamingDistribution,
    /// Web (download) distributions.
    Distribution,
    /// Origin access identities.
    OriginAccessIdentity,
    /// Public keys.
    PublicKey,
    /// Key groups.
    KeyGroup,
    /// Invalidations.
    Invalidation,
}

impl Kind {
    /// The segment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamingDistribution => "streaming-distribution",
            Self::Distribution => "distribution",
            Self::OriginAccessIdentity => "origin-access-identity",
            Self::PublicKey => "public-key",
            Self::KeyGroup => "key-group",
            Self::Invalidation => "invalidation",
        }
    }
}

/// Before the ids of an account's resources of one kind.
pub fn prefix(kind: Kind, account: &str) -> String {
    format!("{API}{}/{account}/", kind.as_str())
}

/// Where a resource lives.
pub fn key(kind: Kind, account: &str, id: &str) -> String {
    format!("{API}{}/{account}/{id}", kind.as_str())
}

/// Where its tags live.
pub fn tags_key(kind: Kind, account: &str, id: &str) -> String {
    format!("{TAGS}{}/{account}/{id}", kind.as_str())
}

/// Where the id made with a caller reference lives: the reference is a stranger's text, so its hash stands for it.
pub fn reference_key(kind: Kind, account: &str, caller_reference: &str) -> String {
    let hash = hex::encode(Sha256::digest(caller_reference.as_bytes()));
    format!("{API_REFS}{}/{account}/{hash}", kind.as_str())
}

/// A resource and the revision that last changed it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The document.
    pub resource: Resource,
    /// The revision: for compare-and-set, and what [`crate::lifecycle`] asks about.
    pub modified: u64,
}

/// Reads an entry.
pub fn decode(entry: Entry) -> Result<Stored, StoreError> {
    let damaged = |why: &str| StoreError::Damaged(format!("{} {why}", entry.key));
    let resource =
        Resource::decode(entry.value.clone()).map_err(|e| damaged(&format!("can't be read: {e}")))?;
    if entry.key.rsplit('/').next() != Some(resource.id.as_str()) {
        return Err(damaged(&format!("holds the resource {}", resource.id)));
    }
    Ok(Stored { resource, modified: entry.modified })
}

/// One resource of an account; `None` if it has none of this id.
pub async fn load(
    store: &dyn ConfigStore,
    kind: Kind,
    account: &str,
    id: &str,
) -> Result<Option<Stored>, StoreError> {
    // An id is one segment of a key; anything else is none.
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    store.get(&key(kind, account, id)).await?.map(decode).transpose()
}

/// A resource's tags, and the revision that last changed them (0: it has none).
pub async fn tags(
    store: &dyn ConfigStore,
    kind: Kind,
    account: &str,
    id: &str,
) -> Result<(Tags, u64), StoreError> {
    let key = tags_key(kind, account, id);
    let Some(entry) = store.get(&key).await? else { return Ok((Tags::default(), 0)) };
    let tags =
        Tags::decode(entry.value).map_err(|e| StoreError::Damaged(format!("{key} can't be read: {e}")))?;
    Ok((tags, entry.modified))
}

/// A new ETag: `E` and 13 of `[0-9A-Z]`.
pub fn new_etag() -> String {
    format!("E{}", random_text(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 13))
}

/// Whether a client's `If-Match` names the current ETag, with or without quotes.
///
/// # Errors
/// `InvalidIfMatchVersion` if there is none or it can't be an ETag; `PreconditionFailed` if it is another one.
pub fn check_if_match(sent: Option<&str>, etag: &str) -> Result<(), ApiError> {
    let sent = sent.ok_or_else(ApiError::invalid_if_match)?.trim();
    let bare = sent.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(sent);
    if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(ApiError::invalid_if_match());
    }
    if bare == etag { Ok(()) } else { Err(ApiError::precondition_failed()) }
}

/// Whether `principal` may change anything.
///
/// # Errors
/// 403 `AccessDenied`.
pub fn check_writable(principal: &Principal) -> Result<(), ApiError> {
    if principal.read_only {
        return Err(ApiError::forbidden("AccessDenied", "this access key may only read"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_taken_with_and_without_quotes() {
        assert_eq!(check_if_match(Some("E1A"), "E1A"), Ok(()));
        assert_eq!(check_if_match(Some(" \"E1A\" "), "E1A"), Ok(()));
        assert_eq!(check_if_match(Some("E2B"), "E1A"), Err(ApiError::precondition_failed()));
        for unusable in [None, Some(""), Some("\"\""), Some("*"), Some("E1A, E2B"), Some("\"E1A")] {
            assert_eq!(check_if_match(unusable, "E1A"), Err(ApiError::invalid_if_match()), "{unusable:?}");
        }
    }

    #[test]
    fn a_caller_reference_is_hashed_into_one_segment() {
        let key = reference_key(Kind::StreamingDistribution, "123456789012", "../a/b ü");
        assert_eq!(key.split('/').count(), 4);
        assert!(key.starts_with("api-refs/streaming-distribution/123456789012/"));
    }
}
