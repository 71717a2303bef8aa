//! Where the truth is kept: small documents under keys, in one history of numbered revisions.
//!
//! [`ConfigStore`] is what control needs of a store and no more: lists at one revision, transactions guarded by
//! compare-and-set, a watch, and leases. [`etcd`] is the store of a cluster, [`redb`] the one file of a standalone
//! process, [`memory`] the store of tests. One suite of tests runs over all three.
//!
//! A store has an id, and revisions are comparable only under one id. When a store's history runs backwards (a backup was
//! restored) whoever notices gives it a new id with [`ConfigStore::renew_id`].
//!
//! A watch is a hint. It may end at any time, and its reader then compares [`Head`]s and lists again; control also lists
//! periodically while the watch seems well (etcd's own robustness tests have found watches that lost or repeated events).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::Rng;
use tokio::sync::mpsc;

pub mod etcd;
mod local;
pub mod memory;
pub mod redb;

/// Key of the store's id; its value is random text. Every store has it from its first use.
pub const STORE_ID_KEY: &str = "store_id";
/// Key touched by every transaction that changes the config: the revision of its last change is the config's revision.
pub const HEAD_KEY: &str = "head";
/// Changes a watch holds for a slow reader; past them the store waits, then gives the watch up.
pub const WATCH_CHANGES: usize = 64;

/// A shared store.
pub type Store = Arc<dyn ConfigStore>;

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key, such as `distributions/E…`.
    pub key: String,
    /// Its bytes.
    pub value: Bytes,
    /// The revision that last changed it; never 0.
    pub modified: u64,
}

/// Where a store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The store's id.
    pub store_id: String,
    /// Its newest revision.
    pub revision: u64,
}

/// All documents below a prefix at one revision.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The store at the time of the list.
    pub head: Head,
    /// The documents, by key.
    pub entries: Vec<Entry>,
}

/// What one revision changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision.
    pub revision: u64,
    /// Documents written.
    pub puts: Vec<Entry>,
    /// Keys deleted (by a transaction or a lapsed lease).
    pub deletes: Vec<String>,
}

/// A document to write.
#[derive(Clone, Debug)]
pub struct Put {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub value: Bytes,
    /// Deleted after this time unless renewed; `None` lives on.
    pub ttl: Option<Duration>,
}

/// Writes that happen together, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// `(key, revision)`: the key's last change must be that revision; 0 means there must be no such key.
    pub conditions: Vec<(String, u64)>,
    /// Written; no key twice, and none that is also deleted.
    pub puts: Vec<Put>,
    /// Deleted; absent keys are no error.
    pub deletes: Vec<String>,
}

impl Transaction {
    /// Requires that `key` was last changed by `modified` (0: is absent).
    pub fn when(mut self, key: impl Into<String>, modified: u64) -> Self {
        self.conditions.push((key.into(), modified));
        self
    }

    /// Writes `value` at `key`.
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.puts.push(Put { key: key.into(), value: value.into(), ttl: None });
        self
    }

    /// Writes `value` at `key` for `ttl`.
    pub fn put_for(mut self, key: impl Into<String>, value: impl Into<Bytes>, ttl: Duration) -> Self {
        self.puts.push(Put { key: key.into(), value: value.into(), ttl: Some(ttl) });
        self
    }

    /// Deletes `key`.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.deletes.push(key.into());
        self
    }
}

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A condition of a transaction did not hold: somebody else was first.
    #[error("{key} was changed by somebody else")]
    Conflict {
        /// The key whose condition failed.
        key: String,
    },
    /// The store can't be reached or did not answer; a write may or may not have happened.
    #[error("the store is away: {0}")]
    Away(String),
    /// The store answered with what can't be.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The revisions asked for are no longer kept: list again.
    #[error("the history asked for is no longer kept")]
    Compacted,
    /// The connection broke or fell silent: compare heads, then watch on.
    #[error("the watch was lost")]
    Lost,
}

/// A stream of changes in revision order; ends after an error.
pub type Watch = mpsc::Receiver<Result<Change, WatchEnd>>;

/// A store of documents. See the [module](self).
#[async_trait]
pub trait ConfigStore: Send + Sync + 'static {
    /// Where the store stands, read from its quorum.
    async fn head(&self) -> Result<Head, StoreError>;

    /// One document.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// All documents whose keys start with `prefix`, at one revision.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// All documents but those whose keys start with `except`, at one revision: what is kept there is not even read, where the store can.
    async fn list_but(&self, except: &str) -> Result<Listing, StoreError> {
        let mut listing = self.list("").await?;
        listing.entries.retain(|entry| !entry.key.starts_with(except));
        Ok(listing)
    }

    /// At most `limit` documents whose keys start with `prefix` and are greater than `after` (empty: all are), by key.
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Does all of `transaction` as one revision, which it returns, or nothing.
    async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError>;

    /// Everything that changes after revision `after`.
    async fn watch(&self, after: u64) -> Result<Watch, StoreError>;

    /// Replaces the store id if it still is `old`.
    async fn renew_id(&self, old: &str) -> Result<(), StoreError>;

    /// Writes `value` at `key` for `ttl` from now. The same value again only renews the lease and makes no revision.
    async fn put_leased(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError>;

    /// The time since the lease of `key` was last renewed; `None` if there is no such lease.
    async fn lease_age(&self, key: &str) -> Result<Option<Duration>, StoreError>;
}

/// A new random store id: 16 of `[0-9a-z]`.
pub(crate) fn random_id() -> String {
    random_text(b"0123456789abcdefghijklmnopqrstuvwxyz", 16)
}

/// `len` random bytes of `alphabet`.
pub(crate) fn random_text(alphabet: &[u8], len: usize) -> String {
    let mut rng = rand::rng();
    (0..len).map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())])).collect()
}

#[cfg(test)]
pub(crate) mod tests;
