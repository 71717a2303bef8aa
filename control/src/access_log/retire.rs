//! Segments that every group has are forgotten: their documents first, with the epoch's mark raised over them, then their objects.
//!
//! In this order, a process that dies in between leaves an object that no document names and that is not above the mark: the sweeper deletes it.
//! Documents of groups go when no segment concerns them any more; their marks then say nothing that the epochs' marks don't.
//!
//! Any replica does this from its books, however old: that a group has a segment stays true while the segment's document stands, and the
//! transaction fails if it does not.

use std::time::Duration;

use futures::StreamExt;
use proto::access_log::SegmentId;
use proto::v1::LogMark;

use super::ledger::{self, Known, TOGETHER};
use super::merge::{Shared, lock};
use crate::store::{StoreError, Transaction};

/// How often a replica looks; a part of it by chance, so that replicas rarely try the same.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_LEAST: Duration = Duration::from_millis(20);
/// Objects deleted at a time.
const DELETES: usize = 8;

/// Retires for ever.
pub(crate) async fn run(shared: &Shared) {
    let mut news = shared.news.subscribe();
    loop {
        let _ = tokio::time::timeout(LOOK_EVERY, news.changed()).await;
        loop {
            match retire(shared).await {
                Ok(true) => (),
                Ok(false) | Err(StoreError::Conflict { .. }) => break,
                Err(error) => {
                    tracing::debug!(%error, "delivered segments can't be retired now");
                    break;
                }
            }
        }
        let most = if shared.is_flushing() { LOOK_LEAST } else { LOOK_EVERY };
        tokio::time::sleep(shared.about(most, 0.2)).await;
    }
}

/// Forgets what is done with now, as much as one transaction an epoch takes. Returns whether that may not have been all.
async fn retire(shared: &Shared) -> Result<bool, StoreError> {
    let epochs = lock(&shared.books).retirable(TOGETHER);
    let mut is_more = epochs.iter().any(|segments| segments.len() == TOGETHER);
    for segments in epochs {
        match retire_of_epoch(shared, &segments).await {
            // Somebody else does it.
            Ok(()) | Err(StoreError::Conflict { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    let finished = lock(&shared.books).finished(TOGETHER);
    is_more |= finished.len() == TOGETHER;
    if !finished.is_empty() {
        let forget = |t: Transaction, (key, modified): &(String, u64)| t.when(key, *modified).delete(key);
        let revision = shared.commit(finished.iter().fold(Transaction::default(), forget)).await?;
        lock(&shared.books).forget(&finished, revision);
    }
    Ok(is_more)
}

async fn retire_of_epoch(shared: &Shared, segments: &[(SegmentId, u64)]) -> Result<(), StoreError> {
    let Some((first, _)) = segments.first() else { return Ok(()) };
    let mark: Known<LogMark> =
        ledger::read(&*shared.store, &ledger::mark_key(&first.edge_id, &first.epoch)).await?;
    shared.commit(ledger::retire(segments, &mark, shared.clock.now_ms())).await?;
    lock(&shared.books).retire(segments);
    shared.metrics.retired.inc_by(segments.len() as u64);
    let mut objects = Vec::with_capacity(segments.len());
    for (id, _) in segments {
        objects.push(delete_object(shared, id));
    }
    futures::stream::iter(objects).buffer_unordered(DELETES).collect::<()>().await;
    Ok(())
}

async fn delete_object(shared: &Shared, id: &SegmentId) {
    shared.segments.forget(id).await;
    let key = ledger::object_key(&shared.prefix, id);
    if let Err(error) = shared.staging.delete(&key).await {
        tracing::debug!(%key, %error, "left to the sweeper");
    }
}
