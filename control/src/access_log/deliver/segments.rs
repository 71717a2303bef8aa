//! Staged segments in memory, arranged by group: many groups share a segment, and it is read once for all of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use moka::future::Cache;
use prost::Message;
use proto::access_log::frame::{Frames, Kind};
use proto::access_log::{Segment, SegmentError, SegmentId, hour_of};
use proto::v1::AccessRecord;
use tokio::sync::Semaphore;

use crate::access_log::bucket::{Bucket, BucketError};
use crate::access_log::ledger::Group;
use crate::access_log::metrics::MergeMetrics;

/// Segments fetched at a time: those are in memory beside the cache.
const FETCHES: usize = 4;
/// What a record takes beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 40;

/// Why a segment can't be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SegmentLoss {
    /// Staging does not answer: later, perhaps.
    #[error("staging: {0}")]
    Staging(BucketError),
    /// It isn't in staging, though the ledger says so.
    #[error("segment {0} is gone from staging")]
    Gone(SegmentId),
    /// It is not what was staged.
    #[error("segment {0}: {1}")]
    Damaged(SegmentId, String),
}

/// A segment's records by group, in the order in which they were written: each one's time and its encoded form.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    groups: HashMap<Group, Vec<(u64, Bytes)>>,
    weight: u32,
}

impl Parsed {
    /// Reads a segment that must be `id`.
    fn of(id: &SegmentId, file: Bytes) -> Result<Self, String> {
        let told = |e: SegmentError| e.to_string();
        let segment = Segment::open(file.clone()).map_err(told)?;
        if segment.id != *id {
            return Err(format!("it is {}", segment.id));
        }
        let mut parsed = Self::default();
        let mut records = 0;
        for frame in Frames::new(file.clone()) {
            let frame = frame.map_err(|e| e.to_string())?;
            if frame.kind != Kind::Record {
                continue;
            }
            let record = AccessRecord::decode(frame.payload.clone()).map_err(|e| e.to_string())?;
            let Some(target) = record.target else { continue };
            let group =
                Group { distribution_id: record.distribution_id, hour: hour_of(record.time_ms), target };
            parsed.groups.entry(group).or_default().push((record.time_ms, frame.payload));
            records += 1;
        }
        let weight = file.len() + records * RECORD_OVERHEAD_BYTES;
        parsed.weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Ok(parsed)
    }

    /// The records of `group`.
    pub(crate) fn records(&self, group: &Group) -> &[(u64, Bytes)] {
        self.groups.get(group).map_or(&[], Vec::as_slice)
    }
}

/// See the [module](self).
pub(crate) struct Segments {
    cache: Cache<SegmentId, Arc<Parsed>>,
    fetches: Semaphore,
    metrics: MergeMetrics,
}

impl Segments {
    /// A cache of at most `bytes`.
    pub(crate) fn new(bytes: u64, metrics: MergeMetrics) -> Self {
        let weigher = |_: &SegmentId, parsed: &Arc<Parsed>| parsed.weight;
        let cache = Cache::builder().max_capacity(bytes).weigher(weigher).build();
        Self { cache, fetches: Semaphore::new(FETCHES), metrics }
    }

    /// Segment `id`, from the cache or from `staging`, where it is `key`.
    pub(crate) async fn get(
        &self,
        id: &SegmentId,
        staging: &dyn Bucket,
        key: &str,
    ) -> Result<Arc<Parsed>, SegmentLoss> {
        let got = self.cache.try_get_with_by_ref(id, self.fetch(id, staging, key)).await;
        self.metrics.cache_bytes.set(self.cache.weighted_size() as i64);
        got.map_err(|loss| {
            if !matches!(*loss, SegmentLoss::Staging(_)) {
                self.metrics.unreadable.inc();
            }
            SegmentLoss::clone(&loss)
        })
    }

    async fn fetch(
        &self,
        id: &SegmentId,
        staging: &dyn Bucket,
        key: &str,
    ) -> Result<Arc<Parsed>, SegmentLoss> {
        // Never closed: the error can't be.
        let _turn = self.fetches.acquire().await;
        let file = staging.get(key).await.map_err(SegmentLoss::Staging)?;
        let file = file.ok_or_else(|| SegmentLoss::Gone(id.clone()))?;
        self.metrics.segment_reads.inc();
        self.metrics.segment_read_bytes.inc_by(file.len() as u64);
        let parsed = on_its_own_thread(file.len(), {
            let id = id.clone();
            move || Parsed::of(&id, file)
        });
        parsed.await.map(Arc::new).map_err(|reason| SegmentLoss::Damaged(id.clone(), reason))
    }

    /// Forgets segment `id`: nobody needs it any more.
    pub(crate) async fn forget(&self, id: &SegmentId) {
        self.cache.invalidate(id).await;
    }
}

/// Does `work` over so many bytes: away from the threads that serve if they are many.
pub(crate) async fn on_its_own_thread<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    if bytes < 64 << 10 {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(e.to_string()))
}
