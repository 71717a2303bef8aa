//! One GET of a run of blocks, from request to last byte.
//!
//! Bytes go from the network's pieces into the block being assembled: the one copy on this path. A block is handed out when
//! it is whole, long before the run is. A body that breaks, ends early, stalls or crawls is resumed from the next missing byte
//! with the same If-Match, a bounded number of times; what arrived stays. The blocks of a small object are held back until its MD5 is right
//! ([`verify`](super::verify)). An error before the body is final: the origin has
//! retried it already. All that is not whole at the end gets the error, also when the task panics or is cancelled.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use proto::object::ObjectVersion;
use proto::range::{BLOCK_BYTES, ByteRange};
use proto::v1::Priority;
use tokio::time::{Instant, timeout, timeout_at};

use super::coalesce::{Slot, Table};
use super::verify::{Check, Verdict};
use super::{FillError, Limits, bytes_of};
use crate::cache::Block;
use crate::client::handover::Owners;
use crate::metrics::Metrics;
use crate::origin::OriginError;
use crate::origin::table::Source;
use crate::stat::Stats;

/// A body gets this long before its rate is judged.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// Times a small object is fetched again because its MD5 is wrong.
const REREADS: u32 = 2;

/// Blocks that one GET brings. Dropping it answers whoever still waits.
pub(crate) struct Run {
    pub(crate) version: ObjectVersion,
    /// Slots not yet answered, in order of their blocks.
    pub(crate) slots: VecDeque<Arc<Slot>>,
    pub(crate) started: bool,
    pub(crate) table: Arc<Table>,
    pub(crate) source: Arc<Source>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) limits: Limits,
    pub(crate) verify_bytes: u64,
    pub(crate) metrics: Metrics,
    /// Other shields to ask before the origin, if any may have something.
    pub(crate) owners: Option<Arc<Owners>>,
    /// Shared with its slots: whether they are yet to be asked.
    pub(crate) asking: Arc<AtomicBool>,
}

/// What has arrived so far.
pub(super) struct Progress {
    /// The next byte to arrive.
    pub(super) at: u64,
    /// One past the last byte wanted; clipped once the object's size is known.
    pub(super) end: u64,
    /// The object's size and `Content-Type`, from the first response.
    pub(super) object: Option<(u64, Arc<str>)>,
    /// The block being assembled.
    block: BytesMut,
    /// The sum that this run, a whole object, must come to.
    check: Option<Check>,
    /// Blocks that wait for it.
    held: Vec<Block>,
}

/// How one GET ended badly.
enum Break {
    /// In the body: worth resuming.
    Resumable(OriginError),
    Final(OriginError),
}

impl Run {
    /// Fetches the run over connections of `priority`.
    pub(crate) async fn fetch(mut self, priority: Priority) {
        self.started = true;
        let (Some(first), Some(last)) = (self.slots.front(), self.slots.back()) else { return };
        let span = bytes_of(&(first.key.index..last.key.index + 1));
        let mut progress = Progress {
            at: span.start,
            end: span.end,
            object: None,
            block: BytesMut::new(),
            check: None,
            held: Vec::new(),
        };
        self.ask_owners(&mut progress, priority).await;
        let deadline = Instant::now() + self.limits.whole;
        let outcome = match timeout_at(deadline, self.resume_until_done(&mut progress, priority)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(OriginError::Timeout(format!("no end after {} ms", self.limits.whole.as_millis()))),
        };
        let fate = match outcome {
            Ok(()) => FillError::PastEnd(progress.at),
            Err(error) => {
                // The version was there when it was opened: who reads on must learn that it has gone, and its home must look again.
                let error = match error {
                    OriginError::NotFound(text) => OriginError::VersionRetired(text),
                    error => error,
                };
                self.metrics.origin_errors.with_label_values(&[error.kind()]).inc();
                if matches!(error, OriginError::VersionRetired(_) | OriginError::Forbidden(_)) {
                    self.stats.retire(&self.version);
                } else {
                    let key = &self.version.object;
                    tracing::warn!(object = %key, start = progress.at, end = progress.end, %error, "a fill failed");
                }
                FillError::Origin(error)
            }
        };
        self.metrics.fills.with_label_values(&[if self.slots.is_empty() { "ok" } else { fate.kind() }]).inc();
        self.fail(&fate);
    }

    fn fail(&mut self, fate: &FillError) {
        while let Some(slot) = self.slots.pop_front() {
            self.table.finish(&slot, Err(fate.clone()));
        }
    }

    async fn resume_until_done(
        &mut self,
        progress: &mut Progress,
        priority: Priority,
    ) -> Result<(), OriginError> {
        let (mut resumes, mut rereads) = (0, 0);
        if progress.object.is_some() && progress.at >= progress.end {
            // Other shields had all of it.
            return Ok(());
        }
        loop {
            match self.get(progress, priority).await {
                Ok(()) if self.hand_out(progress) => return Ok(()),
                Ok(()) => {
                    let error = OriginError::Corrupt("the MD5 of its bytes is not its ETag".into());
                    if rereads >= REREADS {
                        return Err(error);
                    }
                    tracing::warn!(object = %self.version.object, %error, "reading an object again");
                    self.metrics.origin_errors.with_label_values(&[error.kind()]).inc();
                    (progress.at, rereads) = (0, rereads + 1);
                    progress.held.clear();
                }
                Err(Break::Final(error)) => return Err(error),
                Err(Break::Resumable(error)) if resumes >= self.limits.resumes => return Err(error),
                Err(Break::Resumable(error)) => {
                    tracing::debug!(object = %self.version.object, at = progress.at, %error, "resuming a body");
                    self.metrics.origin_resumes.inc();
                    tokio::time::sleep(Duration::from_millis(25 << resumes.min(6))).await;
                    resumes += 1;
                }
            }
        }
    }

    /// Hands out blocks that were held back; false if they are wrong.
    fn hand_out(&mut self, progress: &mut Progress) -> bool {
        let Some(check) = &mut progress.check else { return true };
        match check.judge(&self.source.trust) {
            Verdict::Wrong => return false,
            Verdict::Right => {}
            Verdict::NoSum => {
                let endpoint = self.source.origin.endpoint();
                tracing::info!(endpoint, object = %self.version.object, "ETags of this origin are no MD5s");
            }
        }
        let mut slots: HashMap<u64, Arc<Slot>> =
            self.slots.drain(..).map(|slot| (slot.key.index, slot)).collect();
        let held: Vec<_> = (0..).zip(progress.held.drain(..)).collect();
        if let Some(slot) = slots.values().next() {
            let extra = held.iter().filter(|(index, _)| !slots.contains_key(index));
            self.table.keep(slot, extra.cloned());
        }
        for (index, block) in held {
            if let Some(slot) = slots.remove(&index) {
                self.table.finish(&slot, Ok(block));
            }
        }
        // Past the end: told so by whoever called.
        self.slots.extend(slots.into_values());
        true
    }

    /// One GET of what is still missing.
    async fn get(&mut self, progress: &mut Progress, priority: Priority) -> Result<(), Break> {
        let mut wanted = ByteRange::new(progress.at, progress.end);
        let name = if priority == Priority::Demand { "demand" } else { "read-ahead" };
        self.metrics.origin_gets.with_label_values(&[name]).inc();
        let (key, version) = (&self.version.object.key, &self.version.version);
        let mut body = self.source.origin.get(key, wanted, version, priority).await.map_err(Break::Final)?;
        let size = body.size_bytes;
        let summed = size <= self.verify_bytes && !self.source.trust.is_refuted();
        if let Some(md5) = body.md5.filter(|_| summed && progress.object.is_none()) {
            progress.check = Some(Check::new(md5));
            if body.range.len() < size {
                // A part of it has no sum. Who asked did not know how small it is, or had the rest evicted.
                wanted = ByteRange::new(0, size);
                progress.at = 0;
                self.metrics.origin_gets.with_label_values(&[name]).inc();
                body = self.source.origin.get(key, wanted, version, priority).await.map_err(Break::Final)?;
            }
        }
        let same = progress.object.as_ref().is_none_or(|(known, _)| *known == size);
        if body.range != wanted.clip(size) || !same {
            let text = format!("asked [{}, {}), got {:?} of {size}", wanted.start, wanted.end, body.range);
            return Err(Break::Final(OriginError::Protocol(text)));
        }
        progress.end = body.range.end;
        progress.object.get_or_insert_with(|| (size, body.content_type.clone()));
        let (begun, begun_at) = (Instant::now(), progress.at);
        while progress.at < progress.end {
            let piece = match timeout(self.limits.stall, body.stream.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => return Err(Break::Resumable(error)),
                Ok(None) => {
                    let text = format!("the body ended at byte {} of {}", progress.at, progress.end);
                    return Err(Break::Resumable(OriginError::Connection(text)));
                }
                Err(_) => {
                    let text = format!("no byte for {} ms at {}", self.limits.stall.as_millis(), progress.at);
                    return Err(Break::Resumable(OriginError::Timeout(text)));
                }
            };
            self.metrics.origin_bytes.inc_by(piece.len() as u64);
            if piece.len() as u64 > progress.end - progress.at {
                let text = format!("more than the {} bytes it announced", body.range.len());
                return Err(Break::Final(OriginError::Protocol(text)));
            }
            self.take(progress, piece);
            let age = begun.elapsed();
            let least = self.limits.minimum_rate_bytes_per_s.saturating_mul(age.as_secs());
            if age > RATE_GRACE && progress.at - begun_at < least && progress.at < progress.end {
                let text = format!("{} bytes in {} s", progress.at - begun_at, age.as_secs());
                return Err(Break::Resumable(OriginError::Timeout(text)));
            }
        }
        Ok(())
    }

    /// Adds a piece; answers the slot of each block it completes.
    pub(super) fn take(&mut self, progress: &mut Progress, mut piece: Bytes) {
        let Some((size_bytes, content_type)) = progress.object.clone() else { return };
        while !piece.is_empty() {
            let block_end = ((progress.at / BLOCK_BYTES + 1) * BLOCK_BYTES).min(size_bytes);
            if progress.block.is_empty() {
                // Exactly the block's size: the cache weighs what is really held.
                progress.block = BytesMut::with_capacity((block_end - progress.at) as usize);
            }
            let part = piece.split_to(piece.len().min((block_end - progress.at) as usize));
            progress.block.extend_from_slice(&part);
            progress.at += part.len() as u64;
            if let Some(check) = &mut progress.check {
                check.add(&part);
            }
            if progress.at < block_end {
                continue;
            }
            let data = std::mem::take(&mut progress.block).freeze();
            let block = Block { data, size_bytes, content_type: content_type.clone() };
            if progress.check.is_some() {
                progress.held.push(block);
            } else if let Some(slot) = self.slots.pop_front() {
                self.table.finish(&slot, Ok(block));
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A run that never started found its queue full; one that did was cut off by a panic or a shutdown.
        let fate = if self.started { FillError::Abandoned } else { FillError::Overloaded };
        if !self.slots.is_empty() {
            self.metrics.fills.with_label_values(&[fate.kind()]).inc();
        }
        self.fail(&fate);
    }
}
