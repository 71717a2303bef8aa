//! Marks of spools that are no more.
//!
//! Each epoch of an edge leaves a mark, and an edge that loses its disk, or is replaced, begins another epoch; nobody ever says that the old
//! one is over. A mark that did not change for [`QUIET`], and whose epoch has neither a segment in the ledger nor an object in staging, is
//! deleted. If that edge comes back after all, what it ships is new; only a segment that it shipped before its silence, without having heard
//! the answer, would be delivered again.

use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message;
use proto::v1::LogMark;

use super::{ORPHANS_MAX, Orphans, PAGE};
use crate::access_log::merge::Shared;
use crate::documents::{LOG_MARKS, LOG_SEGMENTS};
use crate::store::{StoreError, Transaction};

/// How long a mark must have been as it is.
pub(super) const QUIET: Duration = Duration::from_secs(30 * 86_400);

/// Deletes such marks. `orphans` are the segments that this sweep, over all of staging, left there.
pub(super) async fn forget(shared: &Shared, orphans: &Orphans) -> Result<(), StoreError> {
    if orphans.len() >= ORPHANS_MAX {
        // Not all are known: any mark may still be what keeps an object from being entered again.
        return Ok(());
    }
    let kept: BTreeSet<(&str, &str)> =
        orphans.keys().map(|id| (id.edge_id.as_str(), id.epoch.as_str())).collect();
    let mut after = String::new();
    loop {
        let page = shared.store.page(LOG_MARKS, &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.key);
        for entry in page {
            let Some(epoch) = entry.key.strip_prefix(LOG_MARKS) else { continue };
            let is_quiet = LogMark::decode(entry.value.clone()).is_ok_and(|mark| {
                let quiet_ms = shared.clock.now_ms().saturating_sub(mark.changed_ms);
                u128::from(quiet_ms) >= QUIET.as_millis()
            });
            if !is_quiet || epoch.split_once('/').is_none_or(|epoch| kept.contains(&epoch)) {
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
}
