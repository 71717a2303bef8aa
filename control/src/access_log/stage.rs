//! A shipped segment is verified, put into staging and entered in the ledger; then it is acknowledged.
//!
//! 1. Every frame's checksum, the footer against the records, and what it speaks of ([`admission`]): what is not exactly one sealed segment, as
//!    an edge of this cluster writes them, is refused for good. Nothing else is, and no clock has a say in it.
//! 2. A number at or under the epoch's high-water mark, or one that the ledger has, was staged before: acknowledged as repeated.
//! 3. The bytes go to the staging bucket under the segment's own name.
//! 4. Where the ledger lacks the number before it, what staging has of the epoch in between is entered first ([`gap`]).
//! 5. Its document goes into the ledger, if there still is none and the mark is as it was read.
//!
//! Whoever dies in between has done nothing that hurts: an object without a document is written again with the same bytes when the edge repeats
//! itself, or found by the sweep. Two replicas that stage one segment at once write the same object; one of them enters the document, and the
//! other sees that or, if by then the segment is delivered and gone, the mark. That is why step 5 holds the mark: a document that comes back
//! after the mark passed it would be delivered a second time.
//!
//! Edges ship the segments of an epoch in order, each after the one before was acknowledged. So all numbers under the mark were staged once, or were
//! given up by their edge; after an older state of the store was put back, step 4 keeps that true.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prometheus::Registry;
use prost::Message;
use proto::access_log::{Segment, SegmentError, SegmentId, hour_of};
use proto::clock::SharedClock;
use proto::v1::{LogMark, StagedSegment};
use tokio::time::Instant;

use super::bucket::{Bucket, BucketError};
use super::format::stamp;
use super::ledger::{self, Known};
use crate::store::{Store, StoreError};

mod admission;
mod gap;
mod metrics;

use metrics::StageMetrics;

/// Transactions tried: each that fails has seen another replica's succeed, or a mark raised.
const ATTEMPTS: u32 = 8;
/// Between two lines about clocks.
const TELL_EVERY: Duration = Duration::from_secs(60);

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
    /// Whether it is whole is not known: its verification ended before its time.
    #[error("the segment could not be verified: {0}")]
    Unverified(String),
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
            Self::Unverified(_) => "unverified",
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
    /// When far-off hours were told of last.
    told: Arc<Mutex<Option<Instant>>>,
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
        let metrics = StageMetrics::new(registry)?;
        Ok(Self { store, bucket, prefix, clock, metrics, told: Arc::default() })
    }

    /// Reads and checks a segment, away from the threads that serve. `place` is given up when that ends, also if nobody waits for it any more:
    /// the bytes are held until then.
    ///
    /// # Errors
    /// [`StageError::Invalid`] for anything but one sealed segment that speaks of what it may; [`StageError::Unverified`] if that was not found out.
    pub async fn verify(&self, file: Bytes, place: impl Send + 'static) -> Result<Segment, StageError> {
        let verified = tokio::task::spawn_blocking(move || {
            let _place = place;
            admitted(file)
        });
        let verified = match verified.await {
            Ok(verified) => verified.map_err(|reason| StageError::Invalid(format!("the segment: {reason}"))),
            Err(broken) => Err(StageError::Unverified(broken.to_string())),
        };
        verified.map_err(|error| self.count_failure(error))
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
                    Staged::New => {
                        self.metrics.staged(bytes, segment.footer.records);
                        self.tell_far_off(segment);
                    }
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
        let document = self.document(segment, file.len() as u64);
        let (document_key, mark_key) = (ledger::segment_key(id), ledger::mark_key(&id.edge_id, &id.epoch));
        let (mut stands, mut is_joined) = (false, false);
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
            if !is_joined {
                self.join(id, &mark.document).await?;
                is_joined = true;
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

    /// What the ledger will say of `segment`, whose object has so many bytes. Encoded hardly more than the footer, which is one frame: 1 MiB at
    /// most, and etcd takes one and a half.
    fn document(&self, segment: &Segment, bytes: u64) -> StagedSegment {
        let place = ledger::place(&*self.bucket, &self.prefix);
        ledger::staged(segment, bytes, self.clock.now_ms(), place)
    }

    /// Counts records whose hour says that a clock is wrong, and tells the operator now and then.
    fn tell_far_off(&self, segment: &Segment) {
        let now_ms = self.clock.now_ms();
        let Some(far) = admission::far_off(&segment.footer.index, now_ms) else { return };
        self.metrics.far_off.inc_by(far.records);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            let (first, last) = (stamp::hour(*far.hours.start()), stamp::hour(*far.hours.end()));
            let (records, here) = (far.records, stamp::hour(hour_of(now_ms)));
            tracing::warn!(segment = %segment.id, records, %first, %last, %here, "access records are of hours far from this control's: the edge's clock is wrong, or this one");
        }
    }
}

/// The segment in `file`, if it is whole and speaks only of what it may, however it came here.
pub(super) fn admitted(file: Bytes) -> Result<Segment, String> {
    let segment = Segment::verify(file).map_err(|e: SegmentError| e.to_string())?;
    admission::check(&segment.footer.index).map(|()| segment)
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
