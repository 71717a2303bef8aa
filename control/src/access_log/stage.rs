//! A shipped segment is verified, put into staging and entered in the ledger; then it is acknowledged.
//!
//! 1. Every frame's checksum, the footer against the records, and what it speaks of ([`admission`]): what is not exactly one sealed segment, as
//!    an edge of this cluster writes them, is refused for good.
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
use proto::v1::{LogMark, StagedSegment};

use super::bucket::{Bucket, BucketError};
use super::ledger::{self, Known};
use crate::store::{Store, StoreError};

mod admission;
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

    /// Reads and checks a segment, away from the threads that serve. `place` is given up when that ends, also if nobody waits for it any more:
    /// the bytes are held until then.
    ///
    /// # Errors
    /// [`StageError::Invalid`] for anything but one sealed segment that speaks of what it may.
    pub async fn verify(&self, file: Bytes, place: impl Send + 'static) -> Result<Segment, StageError> {
        let now_ms = self.clock.now_ms();
        let verified = tokio::task::spawn_blocking(move || {
            let _place = place;
            admitted(file, now_ms)
        });
        let verified = match verified.await {
            Ok(verified) => verified,
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
        // Encoded hardly more than the footer, which is one frame: 1 MiB at most, and etcd takes one and a half.
        let place = ledger::place(&*self.bucket, &self.prefix);
        let document = ledger::staged(segment, file.len() as u64, self.clock.now_ms(), place);
        let (document_key, mark_key) = (ledger::segment_key(id), ledger::mark_key(&id.edge_id, &id.epoch));
        let mut stands = false;
        for _ in 0..ATTEMPTS {
            let mark: Known<LogMark> = ledger::read(&*self.store, &mark_key).await?;
            if id.number <= mark.document.number {
                return Ok(Staged::Repeated);
            }
            if let Some(known) = self.store.get(&document_key).await? {
                return same_as_known(id, &document, &known.value);
            }
            if !stands {
                self.bucket.put(&ledger::object_key(&self.prefix, id), file.clone()).await?;
                stands = true;
            }
            match self.store.commit(ledger::enter(id, &document, &mark)).await {
                Ok(_) => return Ok(Staged::New),
                // Somebody else entered it, or the mark was raised: look again.
                Err(StoreError::Conflict { .. }) => (),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict { key: document_key }.into())
    }
}

/// The segment in `file`, if it is whole and speaks only of what it may: for edges that hand it over, and for the sweeper that finds it in staging.
pub(super) fn admitted(file: Bytes, now_ms: u64) -> Result<Segment, String> {
    let segment = Segment::verify(file).map_err(|e: SegmentError| e.to_string())?;
    admission::check(&segment.footer.index, now_ms).map(|()| segment)
}

/// A repeat, or another segment of the same name: of a spool that was copied with its folder, or set back. That one must not be acknowledged,
/// for its records are nowhere else.
fn same_as_known(id: &SegmentId, document: &StagedSegment, known: &[u8]) -> Result<Staged, StageError> {
    let known = StagedSegment::decode(known)
        .map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", ledger::segment_key(id))))?;
    if known.bytes == document.bytes && known.index == document.index {
        return Ok(Staged::Repeated);
    }
    let reason = "another segment of this name is staged; was the spool's folder copied, or restored?";
    Err(StageError::Invalid(format!("segment {id}: {reason}")))
}

#[cfg(test)]
mod tests;
