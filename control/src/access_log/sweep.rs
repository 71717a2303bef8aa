//! What lies in staging and in no ledger.
//!
//! * A segment not above its epoch's mark was delivered and retired: it is deleted.
//! * One above the mark was put there by somebody who died (or is slow) before it was entered. The edge repeats itself, and it is entered then.
//!   After [`ADOPT_AFTER`] it is entered here: the edge may have died too. It is delivered unless a later segment of its epoch was delivered
//!   first, which cannot be while the edge lives. It must be what staging would have taken from an edge ([`stage::admitted`]): who can write
//!   into staging can do no more than who has an edge's token. Anything else is left alone, and said. (That its records go only where
//!   control had their distribution log to is asked when they are delivered, [`super::permission`], however they came.)
//! * A mark whose spool has been silent for long, see [`marks`]: it is deleted.
//! * A held file that its group names neither as held nor as pending was delivered, or given up: it is deleted.
//!
//! **Another store's.** A store that was made anew, or got a backup, over staging that has an older one's objects (see [`crate::backup`]) knows nothing
//! of them; that is no reason to delete them. Held files lie below the id of the store that held them, and only the store that has this id deletes
//! them. Segments below the first of their epoch that this store retired were staged for another: they are left alone. So that it
//! does not come to that, a replica that finds the ledger empty enters at once what lies in staging, before what edges ship is old enough to be
//! delivered; of these segments, what the older store had delivered comes a second time.
//!
//! One replica sweeps, by a lease; nothing is wrong if two do. What is deleted is asked for in the store right before, and in this order: first the
//! mark, then the document. (A segment could be entered, and one after it retired, between the two answers the other way round.)

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use proto::access_log::SegmentId;
use proto::v1::{LogGroup, LogMark, StagedSegment};
use tokio::time::Instant;

use super::bucket::BucketError;
use super::deliver::body::{HELD, name_of};
use super::deliver::segments::on_its_own_thread;
use super::ledger::{self, Known};
use super::merge::{Shared, lock};
use super::stage;
use crate::documents::{LOG_GROUPS, LOG_MARKS, LOG_SEGMENTS, LOG_SWEEPER};
use crate::store::{ConfigStore, StoreError, Transaction};

mod marks;

use marks::Watched;

/// How old an object that nobody entered must be before it is entered here.
const ADOPT_AFTER: Duration = Duration::from_secs(600);
/// Between two questions to a store that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Keys listed at a time.
const PAGE: usize = 500;
/// Orphans remembered between two sweeps; more are found later.
const ORPHANS_MAX: usize = 10_000;

/// Why a sweep broke off.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("staging: {0}")]
    Staging(#[from] BucketError),
}

/// Segments above the mark and in no ledger, and since when that is known.
pub(crate) type Orphans = HashMap<SegmentId, Instant>;

/// Sweeps for ever.
pub(crate) async fn run(shared: &Shared) {
    let every = shared.config.sweep_every;
    let (mut orphans, mut watched) = (Orphans::new(), Watched::default());
    let is_new = loop {
        match is_new(&*shared.store).await {
            Ok(is_new) => break is_new,
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    };
    let (mut wait, mut adopt_after) =
        if is_new { (Duration::ZERO, Duration::ZERO) } else { (shared.about(every, 0.5), ADOPT_AFTER) };
    loop {
        tokio::time::sleep(wait).await;
        match sweep(shared, &mut orphans, &mut watched, adopt_after).await {
            Ok(()) => adopt_after = ADOPT_AFTER,
            Err(error) => tracing::warn!(%error, "staging can't be swept now"),
        }
        wait = shared.about(every, 0.5);
    }
}

/// Whether the ledger knows of no segment and never did.
async fn is_new(store: &dyn ConfigStore) -> Result<bool, StoreError> {
    Ok(store.page(LOG_MARKS, "", 1).await?.is_empty() && store.page(LOG_SEGMENTS, "", 1).await?.is_empty())
}

/// Sweeps once, if no other replica is about it.
async fn sweep(
    shared: &Shared,
    orphans: &mut Orphans,
    watched: &mut Watched,
    adopt_after: Duration,
) -> Result<(), SweepError> {
    if !takes_turn(shared).await? {
        return Ok(());
    }
    let own_held = format!("{HELD}{}/", shared.store.head().await?.store_id);
    let mut found = Orphans::new();
    let mut after = String::new();
    loop {
        let page = shared.staging.list(&shared.prefix, &after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (key, _) in page {
            let Some(name) = key.strip_prefix(&shared.prefix) else { continue };
            if let Some(id) = segment_of(name) {
                if let Some(id) = look_at_segment(shared, &key, id, orphans, adopt_after).await?
                    && found.len() < ORPHANS_MAX
                {
                    let since = orphans.get(&id).copied().unwrap_or_else(Instant::now);
                    found.insert(id, since);
                }
            } else if let Some(name) = name.strip_prefix(&own_held) {
                look_at_held(shared, &key, name).await?;
            }
        }
    }
    *orphans = found;
    marks::forget(shared, orphans, watched).await?;
    Ok(())
}

/// Whether it is this replica that sweeps: the one that did last, or any after that is gone.
async fn takes_turn(shared: &Shared) -> Result<bool, StoreError> {
    let known = shared.store.get(LOG_SWEEPER).await?;
    if known.as_ref().is_some_and(|entry| entry.value != shared.holder.as_bytes()) {
        return Ok(false);
    }
    let turn = Transaction::default().when(LOG_SWEEPER, known.map_or(0, |entry| entry.modified)).put_for(
        LOG_SWEEPER,
        shared.holder.clone(),
        shared.config.sweep_every * 2,
    );
    match shared.store.commit(turn).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The id of the segment that `EDGE/EPOCH-NUMBER.seg` names.
pub(super) fn segment_of(name: &str) -> Option<SegmentId> {
    let (edge, rest) = name.split_once('/')?;
    let (epoch, number) = rest.strip_suffix(".seg")?.split_once('-')?;
    ledger::books::parse(&format!("{edge}/{epoch}/{number}"))
}

/// Deletes or enters the object of a segment if that is due; returns the id of one that may have to be entered later.
async fn look_at_segment(
    shared: &Shared,
    key: &str,
    id: SegmentId,
    orphans: &Orphans,
    adopt_after: Duration,
) -> Result<Option<SegmentId>, SweepError> {
    if lock(&shared.books).has_segment(&id) {
        return Ok(None);
    }
    let mark: Known<LogMark> =
        ledger::read(&*shared.store, &ledger::mark_key(&id.edge_id, &id.epoch)).await?;
    if shared.store.get(&ledger::segment_key(&id)).await?.is_some() {
        return Ok(None);
    }
    let known = orphans.get(&id);
    if id.number < mark.document.first {
        if known.is_none() {
            tracing::warn!(%key, "a segment in staging is from before what this store knows of its epoch: it is left alone");
        }
        return Ok(Some(id));
    }
    if id.number <= mark.document.number {
        shared.staging.delete(key).await?;
        shared.metrics.swept.inc();
        return Ok(None);
    }
    if known.map_or(Duration::ZERO, Instant::elapsed) < adopt_after {
        return Ok(Some(id));
    }
    let Some(file) = shared.staging.get(key).await? else { return Ok(None) };
    let document = match on_its_own_thread(file.len(), {
        let (id, now_ms, place) = (id.clone(), shared.clock.now_ms(), shared.place.clone());
        move || document_of(&id, file, now_ms, place)
    })
    .await
    {
        Ok(document) => document,
        Err(reason) => {
            shared.metrics.unreadable.inc();
            tracing::error!(%key, %reason, "an object in staging that nobody entered is no segment that an edge may ship: it is left alone");
            return Ok(Some(id));
        }
    };
    match shared.commit(ledger::enter(&id, &document, &mark)).await {
        Ok(_) => {
            shared.metrics.adopted.inc();
            tracing::warn!(segment = %id, "a segment that nobody entered was found in staging");
            Ok(None)
        }
        // It was entered meanwhile, or the mark rose.
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The document of the segment in `file`, found in `place`, as staging would have written it, and unless staging would have refused it.
pub(crate) fn document_of(
    id: &SegmentId,
    file: Bytes,
    staged_ms: u64,
    place: String,
) -> Result<StagedSegment, String> {
    let bytes = file.len() as u64;
    let segment = stage::admitted(file)?;
    if segment.id != *id {
        return Err(format!("it is segment {}", segment.id));
    }
    Ok(ledger::staged(&segment, bytes, staged_ms, place))
}

/// Deletes a held file of this store, `DISTRIBUTION/HOUR/TARGET/FILE`, that its group does not name.
async fn look_at_held(shared: &Shared, key: &str, name: &str) -> Result<(), SweepError> {
    let Some((group, file)) = name.rsplit_once('/') else { return Ok(()) };
    let known: Known<LogGroup> = ledger::read(&*shared.store, &format!("{LOG_GROUPS}{group}")).await?;
    let document = known.document;
    let names = document.held.iter().chain(&document.pending).any(|held| name_of(&held.key) == file);
    if !names {
        shared.staging.delete(key).await?;
        shared.metrics.swept.inc();
    }
    Ok(())
}
