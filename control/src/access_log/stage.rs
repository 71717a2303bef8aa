//! A shipped segment is verified, put into staging and entered in the ledger; then it is acknowledged.
//!
//! 1. Every frame's checksum, and the footer against the records: what is not exactly one sealed segment is refused for good.
//! 2. A number at or under the epoch's high-water mark, or one that the ledger has, was staged before: acknowledged as repeated.
//! 3. The bytes go to the staging bucket under the segment's own name.
//! 4. Its document goes into the ledger, if there still is none and the mark is as it was read.
//!
//! Whoever dies in between has done nothing that hurts: an object without a document is written again with the same bytes when the edge repeats
//! itself, or found by the sweep. Two replicas that stage one segment at once write the same object; one of them enters the document, and the
//! other sees that or, if by then the segment is delivered and gone, the mark. That is why step 4 holds the mark: a document that comes back
//! after the mark passed it would be delivered a second time.
//!
//! Edges ship the segments of an epoch in order, each after the one before was acknowledged. So all numbers under the mark were staged once.

use std::sync::Arc;

use bytes::Bytes;
use prometheus::Registry;
use prost::Message;
use proto::access_log::{Segment, SegmentError, SegmentId};
use proto::clock::SharedClock;
use proto::v1::{LogMark, SegmentEntry, StagedSegment};

use super::bucket::{Bucket, BucketError};
use crate::documents::{LOG_MARKS, LOG_SEGMENTS};
use crate::store::{Store, StoreError, Transaction};

mod metrics;

use metrics::StageMetrics;

/// Transactions tried: each that fails has seen another replica's succeed, or a mark raised.
const ATTEMPTS: u32 = 8;

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staged {
    /// It stands in staging and in the ledger.
    New,
    /// It did before.
    Repeated,
}

/// Why a segment was not staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// It will never be: it is damaged, or not what it says.
    #[error("{0}")]
    Invalid(String),
    /// The staging bucket.
    #[error("staging: {0}")]
    Bucket(#[from] BucketError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StageError {
    /// A few words, for the metric's label.
    fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Bucket(_) => "bucket",
            Self::Store(StoreError::Conflict { .. }) => "conflict",
            Self::Store(_) => "store",
        }
    }
}

/// The key in staging, below `prefix`, of segment `id`: `EDGE/EPOCH-NUMBER.seg`, the number with 20 digits.
pub fn object_key(prefix: &str, id: &SegmentId) -> String {
    format!("{prefix}{}/{}-{:020}.seg", id.edge_id, id.epoch, id.number)
}

/// The key in the store of segment `id`'s document.
pub fn document_key(id: &SegmentId) -> String {
    format!("{LOG_SEGMENTS}{id}")
}

/// The key in the store of the high-water mark of `id`'s epoch.
pub fn mark_key(id: &SegmentId) -> String {
    format!("{LOG_MARKS}{}/{}", id.edge_id, id.epoch)
}

/// Stages segments. Clones are the same.
#[derive(Clone)]
pub struct Stage {
    store: Store,
    bucket: Arc<dyn Bucket>,
    prefix: String,
    clock: SharedClock,
    metrics: StageMetrics,
}

impl Stage {
    /// Stages into `bucket`, below `prefix` (empty, or with a slash at its end), and into the ledger of `store`.
    ///
    /// # Errors
    /// When the registry has its metrics already.
    pub fn new(
        store: Store,
        bucket: Arc<dyn Bucket>,
        prefix: String,
        clock: SharedClock,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self { store, bucket, prefix, clock, metrics: StageMetrics::new(registry)? })
    }

    /// Reads and checks a segment, away from the threads that serve.
    ///
    /// # Errors
    /// [`StageError::Invalid`] for anything but one sealed segment.
    pub async fn verify(&self, file: Bytes) -> Result<Segment, StageError> {
        let verified = tokio::task::spawn_blocking(move || Segment::verify(file)).await;
        let verified = match verified {
            Ok(verified) => verified.map_err(|e: SegmentError| e.to_string()),
            Err(broken) => Err(format!("it can't be read: {broken}")),
        };
        verified.map_err(|reason| self.count_failure(StageError::Invalid(format!("the segment: {reason}"))))
    }

    /// Stages `segment`, whose bytes are `file`.
    ///
    /// # Errors
    /// When it does not stand at the end, or it is not known whether it does: the edge is to repeat itself.
    pub async fn stage(&self, segment: &Segment, file: Bytes) -> Result<Staged, StageError> {
        let bytes = file.len() as u64;
        match self.stage_counted(segment, file).await {
            Ok(staged) => {
                match staged {
                    Staged::New => self.metrics.staged(bytes, segment.footer.records),
                    Staged::Repeated => self.metrics.repeated.inc(),
                }
                Ok(staged)
            }
            Err(error) => Err(self.count_failure(error)),
        }
    }

    fn count_failure(&self, error: StageError) -> StageError {
        self.metrics.failures.with_label_values(&[error.kind()]).inc();
        error
    }

    async fn stage_counted(&self, segment: &Segment, file: Bytes) -> Result<Staged, StageError> {
        let id = &segment.id;
        let document = StagedSegment {
            id: Some(id.header()),
            index: sorted(&segment.footer.index),
            bytes: file.len() as u64,
            staged_ms: self.clock.now_ms(),
        };
        // Hardly more than the footer, which is one frame: 1 MiB at most, and etcd takes one and a half.
        let encoded = document.encode_to_vec();
        let (document_key, mark_key) = (document_key(id), mark_key(id));
        let mut stands = false;
        for _ in 0..ATTEMPTS {
            let (mark, mark_modified) = self.mark(&mark_key).await?;
            if id.number <= mark {
                return Ok(Staged::Repeated);
            }
            if let Some(known) = self.store.get(&document_key).await? {
                return same_as_known(id, &document, &known.value);
            }
            if !stands {
                self.bucket.put(&object_key(&self.prefix, id), file.clone()).await?;
                stands = true;
            }
            let enter = Transaction::default()
                .when(&document_key, 0)
                .when(&mark_key, mark_modified)
                .put(&document_key, encoded.clone());
            match self.store.commit(enter).await {
                Ok(_) => return Ok(Staged::New),
                // Somebody else entered it, or the mark was raised: look again.
                Err(StoreError::Conflict { .. }) => (),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict { key: document_key }.into())
    }

    /// The mark's number, and its last change; zeros where there is none yet.
    async fn mark(&self, key: &str) -> Result<(u64, u64), StoreError> {
        let Some(entry) = self.store.get(key).await? else { return Ok((0, 0)) };
        let mark = LogMark::decode(entry.value)
            .map_err(|e| StoreError::Damaged(format!("{key} can't be read: {e}")))?;
        Ok((mark.number, entry.modified))
    }
}

/// The entries in an order of their own: a writer's follows from its memory, and the same segment must give the same document.
fn sorted(index: &[SegmentEntry]) -> Vec<SegmentEntry> {
    let mut index = index.to_vec();
    index.sort_by(|a, b| {
        let target = |e: &SegmentEntry| {
            e.target.as_ref().map(|t| (t.bucket_host.clone(), t.prefix.clone(), t.account.clone()))
        };
        (&a.distribution_id, a.hour, target(a)).cmp(&(&b.distribution_id, b.hour, target(b)))
    });
    index
}

/// A repeat, or another segment of the same name: of a spool that was copied with its folder, or set back. That one must not be acknowledged,
/// for its records are nowhere else.
fn same_as_known(id: &SegmentId, document: &StagedSegment, known: &[u8]) -> Result<Staged, StageError> {
    let known = StagedSegment::decode(known)
        .map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", document_key(id))))?;
    if known.bytes == document.bytes && known.index == document.index {
        return Ok(Staged::Repeated);
    }
    let reason = "another segment of this name is staged; was the spool's folder copied, or restored?";
    Err(StageError::Invalid(format!("segment {id}: {reason}")))
}

#[cfg(test)]
mod tests;
