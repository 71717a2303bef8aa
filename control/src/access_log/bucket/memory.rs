//! Buckets in memory: those of tests, gone with the process. They behave as S3 does, a bucket that isn't there included.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use proto::object::split_s3_host;
use proto::v1::LogTarget;

use super::{Bucket, BucketError, Buckets};

#[derive(Debug, Default)]
struct Objects {
    objects: BTreeMap<String, Bytes>,
    /// How often each key was written.
    puts: BTreeMap<String, u64>,
}

/// One bucket. Clones are the same bucket.
#[derive(Clone, Debug)]
pub struct MemoryBucket {
    name: String,
    held: Option<Arc<Mutex<Objects>>>,
}

impl MemoryBucket {
    /// A new, empty bucket.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), held: Some(Arc::default()) }
    }

    /// A bucket that isn't there.
    pub fn missing(name: &str) -> Self {
        Self { name: name.into(), held: None }
    }

    fn held(&self) -> Result<MutexGuard<'_, Objects>, BucketError> {
        let held = self.held.as_ref().ok_or_else(|| BucketError::Missing(self.name.clone()))?;
        Ok(held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All it holds, by key.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.held().map(|held| held.objects.clone()).unwrap_or_default()
    }

    /// How often `key` was written.
    pub fn puts(&self, key: &str) -> u64 {
        self.held().map_or(0, |held| held.puts.get(key).copied().unwrap_or_default())
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    fn place(&self) -> String {
        format!("memory/{}", self.name)
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), BucketError> {
        let mut held = self.held()?;
        *held.puts.entry(key.to_owned()).or_default() += 1;
        held.objects.insert(key.to_owned(), body);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError> {
        Ok(self.held()?.objects.get(key).cloned())
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.held()?.objects.remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, u64)>, BucketError> {
        let held = self.held()?;
        let start = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let below = held.objects.range::<str, _>((start, Bound::Unbounded));
        let below = below.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(below.map(|(key, body)| (key.clone(), body.len() as u64)).collect())
    }
}

/// Any number of buckets by host, each made when first opened, but for those said to be missing. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct MemoryBuckets {
    known: Arc<Mutex<BTreeMap<String, MemoryBucket>>>,
    missing: Arc<Mutex<BTreeSet<String>>>,
}

impl MemoryBuckets {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bucket of `host`.
    pub fn at(&self, host: &str) -> MemoryBucket {
        if self.missing.lock().unwrap_or_else(PoisonError::into_inner).contains(host) {
            return MemoryBucket::missing(host);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(host.to_owned()).or_insert_with(|| MemoryBucket::new(host)).clone()
    }

    /// Whether the bucket of `host` is missing from now on; what it held is back when it is.
    pub fn set_missing(&self, host: &str, missing: bool) {
        let mut set = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing {
            set.insert(host.to_owned());
        } else {
            set.remove(host);
        }
    }
}

impl Buckets for MemoryBuckets {
    fn open(&self, target: &LogTarget) -> Arc<dyn Bucket> {
        Arc::new(self.at(&target.bucket_host))
    }

    fn bucket_name(&self, target: &LogTarget) -> Option<String> {
        split_s3_host(&target.bucket_host).map(|(bucket, _)| bucket.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::bucket::conforms;

    #[tokio::test]
    async fn the_memory_bucket_conforms() {
        conforms(&MemoryBucket::new("a"), &MemoryBucket::missing("b")).await;
    }

    #[tokio::test]
    async fn buckets_are_told_apart_by_host_and_may_go_missing() {
        let buckets = MemoryBuckets::new();
        let open = |host: &str| buckets.open(&LogTarget { bucket_host: host.into(), ..Default::default() });
        open("a").put("k", "1".into()).await.unwrap();
        assert_eq!(open("b").get("k").await.unwrap(), None);
        buckets.set_missing("a", true);
        assert_eq!(open("a").get("k").await.unwrap_err(), BucketError::Missing("a".into()));
        buckets.set_missing("a", false);
        assert_eq!(open("a").get("k").await.unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!((buckets.at("a").puts("k"), buckets.at("a").puts("x")), (1, 0));
    }
}
