//! Bringing blocks that are not cached: one fetch a block, however many ask.
//!
//! [`Fills::ask`] answers for a sequence of blocks. Under one lock it looks each up: cached, being filled, or missing
//! ([`coalesce`]). Neighbouring missing blocks become one GET ([`runs`]), which waits for a connection of its origin's
//! endpoint, demand before read-ahead ([`schedule`]). When its turn comes it runs in a task of its own ([`fetch`]): bytes are
//! copied once, into the block they belong to, and each block goes to the cache and its waiters as soon as it is whole. Small
//! objects are fetched whole and handed out once their MD5 is right ([`verify`]). After a change of the shield map other
//! shields are asked for what they have first ([`owners`]).
//!
//! A fill belongs to nobody: whoever asked first may hang up and the others still get their blocks. If a fill dies, by
//! error, panic or shutdown, the drop of its [`Run`] tells the waiters, so nobody waits for a fill that is gone.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proto::object::ObjectVersion;
use proto::range::{BLOCK_BYTES, ByteRange, SEGMENT_BYTES};
use proto::status::{Reason, RemoteError};
use proto::v1::Priority;

use crate::client::handover::Owners;
use crate::config::ShieldConfig;
use crate::metrics::Metrics;
use crate::origin::table::Source;
use crate::origin::{OriginError, md5_of};
use crate::stat::Stats;

pub(crate) mod coalesce;
pub(crate) mod fetch;
mod owners;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod verify;

use coalesce::{How, Pending, Seen, Table};
use fetch::Run;
use schedule::Job;

/// Why a block did not come.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FillError {
    /// The origin said so.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// Too many GETs wait for this origin already.
    #[error("too many fetches wait for this origin")]
    Overloaded,
    /// The fill's task ended without an answer.
    #[error("the fetch was abandoned")]
    Abandoned,
    /// The object has no such block.
    #[error("the object ends at byte {0}")]
    PastEnd(u64),
}

impl FillError {
    /// What an edge is told.
    pub(crate) fn to_remote(&self, what: &dyn std::fmt::Display) -> RemoteError {
        let reason = match self {
            FillError::Origin(error) => return error.to_remote(what),
            FillError::Overloaded => Reason::Overloaded,
            FillError::Abandoned => Reason::Internal,
            FillError::PastEnd(_) => Reason::Invalid,
        };
        RemoteError::new(reason, format!("{what}: {self}"))
    }

    /// Its name in metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            FillError::Origin(error) => error.kind(),
            FillError::Overloaded => "overloaded",
            FillError::Abandoned => "abandoned",
            FillError::PastEnd(_) => "past-end",
        }
    }
}

/// How long one GET may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) stall: Duration,
    pub(crate) whole: Duration,
    pub(crate) minimum_rate_bytes_per_s: u64,
    pub(crate) resumes: u32,
}

/// The fills of one shield.
pub(crate) struct Fills {
    table: Arc<Table>,
    stats: Arc<Stats>,
    metrics: Metrics,
    limits: Limits,
    run_blocks: u64,
    verify_bytes: u64,
    /// Other shields to ask first; none until the shield is told of them.
    pub(crate) owners: OnceLock<Arc<Owners>>,
}

impl Fills {
    pub(crate) fn new(config: &ShieldConfig, table: Arc<Table>, stats: Arc<Stats>, metrics: Metrics) -> Self {
        let limits = Limits {
            stall: Duration::from_millis(config.timeouts.body_stall_ms),
            whole: Duration::from_millis(config.timeouts.fill_ms),
            minimum_rate_bytes_per_s: config.timeouts.minimum_rate_bytes_per_s,
            resumes: config.timeouts.resumes,
        };
        Self {
            table,
            stats,
            metrics,
            limits,
            run_blocks: config.run_bytes / BLOCK_BYTES,
            owners: OnceLock::new(),
            verify_bytes: config.verify_bytes,
        }
    }

    /// All blocks of an object that is fetched in one piece.
    fn whole(&self, source: &Source, version: &ObjectVersion) -> Option<Range<u64>> {
        if self.verify_bytes == 0 || source.trust.is_refuted() || md5_of(&version.version).is_none() {
            return None;
        }
        let size = self.stats.size_of(version).filter(|size| *size <= self.verify_bytes)?;
        Some(ByteRange::new(0, size).blocks())
    }

    /// Every block of `blocks`, in order: here, on its way, or (only with `cache_only`) absent.
    pub(crate) fn ask(
        &self,
        source: &Arc<Source>,
        version: &ObjectVersion,
        blocks: Range<u64>,
        priority: Priority,
        cache_only: bool,
    ) -> Vec<Pending> {
        let owners = self.owners.get();
        let segment = |block: u64| block / (SEGMENT_BYTES / BLOCK_BYTES);
        let seen = match owners {
            _ if !cache_only => Seen::All,
            Some(owners) if !owners.is_home(&version.object, segment(blocks.start)) => Seen::NotAsking,
            _ => Seen::All,
        };
        let how = How { priority, cache_only, seen, asking: owners.is_some() };
        let whole = self.whole(source, version);
        let claim = self.table.claim(version, blocks, whole, self.run_blocks, how);
        for slots in claim.runs {
            let Some(first) = slots.front() else { continue };
            let (id, demanded, asking) = (first.run, first.demanded.clone(), first.asking.clone());
            // Mostly there is nobody to ask; then nobody need know that there might have been.
            let segment = segment(first.key.index);
            let owners = owners.filter(|owners| !owners.of(&version.object, segment).is_empty()).cloned();
            if owners.is_none() {
                asking.store(false, Ordering::Release);
            }
            let run = Run {
                version: version.clone(),
                slots,
                started: false,
                table: self.table.clone(),
                source: source.clone(),
                stats: self.stats.clone(),
                limits: self.limits,
                verify_bytes: self.verify_bytes,
                metrics: self.metrics.clone(),
                owners,
                asking,
            };
            // A job that finds no room is dropped, and its run tells the waiters.
            source.schedule.submit(Job { id, demanded, work: Box::new(move |p| Box::pin(run.fetch(p))) });
        }
        if priority == Priority::Demand {
            for (run, demanded) in &claim.joined {
                // Set first, looked at under the schedule's lock: a run not yet queued will see it, a queued one is moved.
                if !demanded.swap(true, Ordering::SeqCst) {
                    source.schedule.promote(*run);
                }
            }
        }
        claim.pending
    }
}

/// A run's sign that somebody waits for it.
pub(crate) type Demanded = Arc<AtomicBool>;

/// The bytes that a run of `blocks` covers, before clipping to the object.
pub(crate) fn bytes_of(blocks: &Range<u64>) -> ByteRange {
    ByteRange::new(blocks.start.saturating_mul(BLOCK_BYTES), blocks.end.saturating_mul(BLOCK_BYTES))
}

#[cfg(test)]
mod tests;
