//! Marks of spools that are no more.
//!
//! Each epoch of an edge leaves a mark, and an edge that loses its disk, or is replaced, begins another epoch; nobody ever says that the old
//! one is over. A mark that did not change for [`QUIET`], and whose epoch has neither a segment in the ledger nor an object in staging, is
//! deleted. If that edge comes back after all, what it ships is new; only a segment that it shipped before its silence, without having heard
//! the answer, would be delivered again.
//!
//! One clock that is a month ahead must not make all spools silent. So the time is counted too: whoever sweeps adds up, in the mark itself and every
//! [`STEP`], for how long it has seen it as it is, by elapsed time. It takes both, the date and a month of having looked; what
//! a sweeper saw since its last step is forgotten when it ends, which makes the month longer and never shorter.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use prost::Message;
use proto::v1::LogMark;
use tokio::time::Instant;

use super::{ORPHANS_MAX, Orphans, PAGE};
use crate::access_log::merge::Shared;
use crate::documents::{LOG_MARKS, LOG_SEGMENTS};
use crate::store::{Entry, StoreError, Transaction};

/// How long a mark must have been as it is.
pub(super) const QUIET: Duration = Duration::from_secs(30 * 86_400);

/// How often what was seen is added to the mark.
const STEP: Duration = Duration::from_secs(6 * 3600);

/// By the marks' keys: at which revision one was seen, and since when, or since when that is not added to it yet. As many as there are marks.
#[derive(Debug, Default)]
pub(super) struct Watched(HashMap<String, (u64, Instant)>);

impl Watched {
    /// For how long the mark has been seen as it is, beside what it says itself.
    fn seen(&mut self, entry: &Entry) -> Duration {
        let now = (entry.modified, Instant::now());
        let known = self.0.entry(entry.key.clone()).or_insert(now);
        if known.0 != entry.modified {
            *known = now;
        }
        known.1.elapsed()
    }

    /// What was seen so far stands in the mark, at that revision.
    fn added(&mut self, key: &str, modified: u64) {
        self.0.insert(key.to_owned(), (modified, Instant::now()));
    }
}

/// Deletes such marks. `orphans` are the segments that this sweep, over all of staging, left there.
pub(super) async fn forget(
    shared: &Shared,
    orphans: &Orphans,
    watched: &mut Watched,
) -> Result<(), StoreError> {
    if orphans.len() >= ORPHANS_MAX {
        // Not all are known: any mark may still be what keeps an object from being entered again.
        return Ok(());
    }
    let kept: BTreeSet<(&str, &str)> =
        orphans.keys().map(|id| (id.edge_id.as_str(), id.epoch.as_str())).collect();
    let mut after = String::new();
    let mut there = HashSet::new();
    loop {
        let page = shared.store.page(LOG_MARKS, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.key);
        for entry in page {
            let Some(epoch) = entry.key.strip_prefix(LOG_MARKS) else { continue };
            let Ok(mut mark) = LogMark::decode(entry.value.clone()) else { continue };
            let seen = watched.seen(&entry);
            there.insert(entry.key.clone());
            let since_ms = shared.clock.now_ms().saturating_sub(mark.changed_ms);
            mark.quiet_ms = mark.quiet_ms.saturating_add(seen.as_millis() as u64);
            let is_quiet = u128::from(since_ms.min(mark.quiet_ms)) >= QUIET.as_millis();
            if !is_quiet {
                if seen >= STEP {
                    let step = Transaction::default().when(&entry.key, entry.modified);
                    match shared.store.commit(step.put(&entry.key, mark.encode_to_vec())).await {
                        Ok(modified) => watched.added(&entry.key, modified),
                        // It rose: the edge ships.
                        Err(StoreError::Conflict { .. }) => (),
                        Err(error) => return Err(error),
                    }
                }
                continue;
            }
            if epoch.split_once('/').is_none_or(|epoch| kept.contains(&epoch)) {
                continue;
            }
            if !shared.store.page(&format!("{LOG_SEGMENTS}{epoch}/"), "", 1).await?.is_empty() {
                continue;
            }
            let forget = Transaction::default().when(&entry.key, entry.modified).delete(&entry.key);
            match shared.store.commit(forget).await {
                Ok(_) => tracing::info!(epoch, "the mark of a spool that is silent was forgotten"),
                // The edge is back.
                Err(StoreError::Conflict { .. }) => (),
                Err(error) => return Err(error),
            }
        }
    }
    watched.0.retain(|key, _| there.contains(key));
    Ok(())
}
